"""The sections: defaults, ranges, and every wrong value in plain words."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks

from sysconf.errors import InvalidValues
from sysconf.sections import all_sections, find_section
from sysconf.selectors import validated
from tests.sysconf.desk import DEFAULTS, HOURS, LIMITS

PROMISED = {
    HOURS: {
        "market_open": "09:30",
        "market_close": "16:00",
        "timezone": "America/New_York",
        "pre_market_enabled": False,
        "after_hours_enabled": False,
        "holidays": [],
    },
    LIMITS: {"max_position_per_symbol": 1000, "max_notional_total": 100_000, "max_open_orders": 10},
    DEFAULTS: {"dry_run": True, "circuit_breaker_enabled": True, "drawdown_threshold": 0.05},
}


def judge(key: str, **changed: Any) -> dict[str, Any]:
    section = find_section(key)
    assert section
    return validated(section, {**section.defaults(), **changed}).to_values()


def errors(key: str, **changed: Any) -> dict[str, list[str]]:
    with pytest.raises(InvalidValues) as refusal:
        judge(key, **changed)
    return refusal.value.errors


def test_sections__defaults__are_as_promised() -> None:
    """CF-1: three sections with these defaults, each valid by itself."""
    assert {section.key: section.defaults() for section in all_sections()} == PROMISED
    assert [message for message in run_checks() if message.id and message.id.startswith("sysconfig")] == []


@pytest.mark.parametrize(
    ("key", "name", "low", "high"),
    [
        (LIMITS, "max_position_per_symbol", 1, 100_000),
        (LIMITS, "max_notional_total", 1_000, 10_000_000),
        (LIMITS, "max_open_orders", 1, 1_000),
        (DEFAULTS, "drawdown_threshold", 0.01, 0.5),
    ],
)
def test_number__range__is_as_promised(key: str, name: str, low: float, high: float) -> None:
    """CF-1: the ends belong to it, what lies beyond is refused with the bound named."""
    step = 0.001 if isinstance(low, float) else 1
    assert judge(key, **{name: low})[name] == low
    assert judge(key, **{name: high})[name] == high
    assert errors(key, **{name: low - step}) == {name: [f"Must be {low:,} or more."]}
    assert errors(key, **{name: high + step}) == {name: [f"Must be {high:,} or less."]}


@pytest.mark.parametrize("close", ["09:30", "09:29", "00:00"])
def test_trading_hours__close_not_after_open__is_refused_at_the_close(close: str) -> None:
    """CF-1: the rule over two fields is shown beside the one to correct."""
    assert errors(HOURS, market_close=close) == {"market_close": ["The market must close later than it opens (09:30)."]}


def test_holidays__repeated_and_unsorted__are_kept_once_in_order() -> None:
    """CF-1: so that a diff shows what really changed."""
    days = judge(HOURS, holidays=["2026-12-25", "2026-07-03", "2026-12-25"])["holidays"]
    assert days == ["2026-07-03", "2026-12-25"]


@pytest.mark.parametrize(
    ("key", "name", "value", "said"),
    [
        (DEFAULTS, "dry_run", "yes", "on or off"),
        (DEFAULTS, "dry_run", 1, "on or off"),
        (DEFAULTS, "dry_run", None, "on or off"),
        (DEFAULTS, "drawdown_threshold", float("nan"), "finite"),
        (DEFAULTS, "drawdown_threshold", float("inf"), "finite"),
        (DEFAULTS, "drawdown_threshold", "0.05", "number"),
        (DEFAULTS, "drawdown_threshold", True, "number"),
        (LIMITS, "max_open_orders", "١٢", "whole number"),
        (LIMITS, "max_open_orders", 10.5, "whole number"),
        (LIMITS, "max_open_orders", True, "whole number"),
        (LIMITS, "max_open_orders", 10**400, "1,000 or less"),
        (HOURS, "market_open", "quarter past nine", "such as 09:30"),
        (HOURS, "market_open", 34_200, "such as 09:30"),
        (HOURS, "market_open", "09:30:00Z", "without a zone"),
        (HOURS, "market_open", "09:30:15", "hours and minutes"),
        (HOURS, "timezone", "Mars/Olympus", "no such time zone"),
        (HOURS, "timezone", "America/New_York\x00", "no such time zone"),
        (HOURS, "holidays", "2026-12-25", "list"),
        (HOURS, "holidays", ["2026-12-25", "tomorrow"], "Entry 2: must be a date"),
        (HOURS, "holidays", ["2026-01-01"] * 501, "At most 500"),
        (HOURS, "nothing", 1, "no such setting"),
    ],
)
def test_value__wrong__is_a_plain_sentence_at_its_field(key: str, name: str, value: Any, said: str) -> None:
    """CF-1, Q-5: whatever comes, the field and a sentence; never a failure."""
    found = errors(key, **{name: value})
    assert list(found) == [name]
    assert said in found[name][0] and found[name][0].endswith(".")


@pytest.mark.parametrize("value", [10**5000, object(), "\ud800", {1, 2}], ids=["huge", "object", "surrogate", "set"])
def test_value__no_json__is_refused(value: Any) -> None:
    """Q-5: what cannot even be written down."""
    assert errors(LIMITS, max_open_orders=value)


@pytest.mark.parametrize("values", [[], "x", 1, None, {"max_open_orders": []}])
def test_values__of_another_shape__are_refused(values: Any) -> None:
    """Q-5."""
    section = find_section(LIMITS)
    assert section
    with pytest.raises(InvalidValues):
        validated(section, values)
