"""Decides what a value means for a rule: comparison, labels, and the life of an episode (AL-3). Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from operator import eq, ge, gt, le, lt

from alerting.catalogue import RuleSpec

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {"gt": gt, "gte": ge, "lt": lt, "lte": le, "eq": eq}


class Move(Enum):
    """What happens to an episode."""

    BEGIN = "begin"
    FIRE = "fire"
    RESOLVE = "resolve"


@dataclass(frozen=True, slots=True)
class Standing:
    """An open episode: since when the condition holds, and whether it fires already or waits for `for_seconds`."""

    since: datetime
    firing: bool


def breaks(rule: RuleSpec, value: float) -> bool:
    """Whether the value is what the rule is about. `value` is finite."""
    return _COMPARISONS[rule.comparison](value, rule.threshold)


def matches(wanted: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether the labels carry all that is wanted; nothing wanted matches everything."""
    return all(labels.get(name) == text for name, text in wanted.items())


def judge(
    standing: Standing | None, *, bad: bool, at: datetime, for_seconds: int
) -> tuple[Standing | None, tuple[Move, ...]]:
    """What one value makes of an episode, and the moves that lead there. Values come in the order of their time.

    It begins with the first bad value, fires once the condition has held for `for_seconds` by the values' own clock,
    and resolves with the first good one, be it before it fired or after.
    """
    if not bad:
        return None, (() if standing is None else (Move.RESOLVE,))
    if standing is None:
        fires = for_seconds == 0
        return Standing(at, fires), ((Move.BEGIN, Move.FIRE) if fires else (Move.BEGIN,))
    if not standing.firing and at >= due_at(standing.since, for_seconds):
        return Standing(standing.since, firing=True), (Move.FIRE,)
    return standing, ()


def due_at(since: datetime, for_seconds: int) -> datetime:
    """When a condition that holds since then has held long enough."""
    return since + timedelta(seconds=for_seconds)
