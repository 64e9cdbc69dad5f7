"""Rules in words (AL-1, AC-1)."""

from __future__ import annotations

import pytest

from alerting.wording import condition_words, digits, duration_words, threshold_text, value_words


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.05, "0.05"), (1000.0, "1,000"), (1e9, "1,000,000,000"), (100.0, "100"), (-2.5, "-2.5"), (0.0, "0"), (1e-7, "0.0000001")],
)  # fmt: skip
def test_digits__any_number__has_no_exponent(number: float, text: str) -> None:
    """AC-1: as people write it."""
    assert digits(number) == text


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [("drawdown", 0.05, "5 %"), ("drawdown", 0.07, "7 %"), ("position_limit", 1.0, "100 %"), ("drawdown", 0.125, "12.5 %"),
     ("latency", 500.0, "500 ms"), ("service_down", 1.0, "1"), ("gone", 3.0, "3")],
)  # fmt: skip
def test_value_words__metric__has_its_unit(metric: str, value: float, text: str) -> None:
    """AC-1: percentages where people read them."""
    assert value_words(metric, value) == text


@pytest.mark.parametrize(
    ("metric", "typed"), [("drawdown", "5"), ("drawdown", "7"), ("drawdown", "0.1"), ("latency", "1500"), ("latency", "0.5")]
)  # fmt: skip
def test_threshold_text__typed_and_read_again__is_the_same(metric: str, typed: str) -> None:
    """AC-1: saving a form untouched changes nothing."""
    kept = float(typed) / 100 if metric == "drawdown" else float(typed)
    assert threshold_text(metric, kept) == typed


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (90, "90 s"), (120, "2 min"), (3600, "1 h"), (86_400, "24 h"), (3_660, "61 min")]
)
def test_duration_words__seconds__take_the_longest_whole_unit(seconds: int, text: str) -> None:
    """AL-1: nothing is rounded."""
    assert duration_words(seconds) == text


def test_condition_words__all_parts__read_as_a_sentence() -> None:
    """AL-1: metric, comparison, threshold, duration, labels."""
    words = condition_words("drawdown", "gte", 0.05, 300, {"strategy": "momentum", "desk": "eu"})
    assert words == "Drawdown at or above 5 % for 5 min, where desk=eu, strategy=momentum"
    assert condition_words("gone", "about", 1.0) == "gone about 1"


@pytest.mark.parametrize(
    ("comparison", "threshold", "words"),
    [("gte", 1.0, "Service down for 15 s"), ("gt", 0.0, "Service down for 15 s"), ("eq", 1.0, "Service down for 15 s"),
     ("lt", 1.0, "Service down below 1 for 15 s"), ("gt", 1.0, "Service down above 1 for 15 s")],
)  # fmt: skip
def test_condition_words__so_or_not__says_no_number(comparison: str, threshold: float, words: str) -> None:
    """AL-1: unless the number makes a difference."""
    assert condition_words("service_down", comparison, threshold, 15) == words
