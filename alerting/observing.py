"""The one way in for every value: kept, evaluated, and what follows from it written, in one transaction (AL-2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from alerting.signals import Signal


@dataclass(frozen=True)
class Taken:
    """What came of a batch. `events`: per signal, the ids of the open events that it belongs to now."""

    events: tuple[tuple[UUID, ...], ...]
    fired: int
    resolved: int


def take(signals: Sequence[Signal]) -> Taken:
    """Keep the values, evaluate them, write events and deliveries, commit, nudge.

    Raises `QueueFull` (nothing is kept) and `django.db.Error`.
    """
    raise NotImplementedError
