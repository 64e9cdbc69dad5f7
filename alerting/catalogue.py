"""Rules, channels and silences as evaluation needs them: read once for each revision, kept in the process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class RuleSpec:
    """An enabled rule."""

    id: int
    name: str
    metric: str
    comparison: str
    threshold: float
    severity: int
    for_seconds: int
    labels: Mapping[str, str]
    channel_ids: tuple[int, ...]
    notify_resolved: bool
    trips_breaker: bool
    owner: str
    runbook_url: str


@dataclass(frozen=True, slots=True)
class Target:
    """One recipient of a channel, as a delivery row holds it."""

    channel_id: int
    kind: str
    hash: str
    sealed: str
    shown: str
    #: Hashes under the secret before the present one: a delivery made under it counts as the same (AD-9).
    earlier_hashes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SilenceSpec:
    """A silence that has not ended when the catalogue was read."""

    id: int
    rule_id: int | None
    service: str
    labels: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All of it at one revision. A channel that is disabled or cannot be used has no targets, and is in `unusable`."""

    revision: int
    rules: Mapping[int, RuleSpec]
    by_metric: Mapping[str, tuple[RuleSpec, ...]]
    targets: Mapping[int, tuple[Target, ...]]
    silences: tuple[SilenceSpec, ...]
    unusable: Mapping[int, str]


def current() -> Catalogue:
    """The catalogue of the revision that the current transaction sees. Raises `django.db.Error`."""
    raise NotImplementedError
