"""Rules in words: numbers with their units, durations, conditions. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from alerting.conditions import find_condition
from alerting.models.rules import Comparison

#: Seconds of the units in which people give durations, the longest first.
UNITS = (("h", 3600, "hours"), ("min", 60, "minutes"), ("s", 1, "seconds"))
#: What `Event.resolved_by` says where nobody resolved it and nothing is known to have recovered.
NOT_TOLD_AGAIN = "not told again"
RULE_DELETED = "the rule was deleted"
RULE_DISABLED = "the rule was switched off"
RULE_CHANGED = "the rule was changed"
NOT_WATCHED = "it is not watched any more"
LAPSED = "the key has ended"
#: Of these what was wrong may still be so.
UNWATCHED = frozenset({RULE_DELETED, RULE_DISABLED, RULE_CHANGED, NOT_WATCHED, LAPSED})
ENDINGS = {
    NOT_TOLD_AGAIN: "Its sender has not told of it again, so it counts as over.",
    NOT_WATCHED: "What it was about is not watched any more. Nobody knows whether it has recovered.",
    LAPSED: "The key ended more than a day ago and was neither rotated nor revoked. Whoever uses it is refused.",
    **{
        why: f"Nobody watches it any more, for {why}. The value may still be bad."
        for why in (RULE_DELETED, RULE_DISABLED, RULE_CHANGED)
    },
}
_SIGN_WORDS = {
    Comparison.GT: "above",
    Comparison.GTE: "at or above",
    Comparison.LT: "below",
    Comparison.LTE: "at or below",
    Comparison.EQ: "exactly",
}


def digits(number: float) -> str:
    """A number in plain digits, with thousands separators and without an exponent: `1,000`, `0.05`."""
    text = f"{Decimal(repr(float(number))):,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def as_percentage(fraction: float) -> str:
    """The digits of a fraction as a percentage: 0.05 is `5`."""
    return f"{(Decimal(repr(float(fraction))) * 100).normalize():f}"


def value_words(metric: str, value: float) -> str:
    """A value of a metric with its unit: `5 %`, `500 ms`."""
    condition = find_condition(metric)
    if condition is None:
        return digits(value)
    if condition.percent:
        return f"{as_percentage(value)} %"
    # "0 or 1" says what values there are, not what they count.
    return digits(value) if condition.unit == "0 or 1" else f"{digits(value)} {condition.unit}"


def duration_words(seconds: int) -> str:
    """`90 s` stays seconds, `120` is `2 min`, `7200` is `2 h`: the longest unit that divides it."""
    for unit, size, _ in UNITS:
        if seconds and seconds % size == 0:
            return f"{seconds // size:,} {unit}"
    return "0 s"


def label_words(labels: Mapping[str, str]) -> str:
    """`service=orders, symbol=AAPL`; empty for none."""
    return ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))


def metric_title(metric: str) -> str:
    """The metric's name for people; its own name if it is registered no more."""
    condition = find_condition(metric)
    return condition.title if condition else metric


def _is_plainly_so(metric: str, comparison: str, threshold: float) -> bool:
    """Whether the condition holds for 1 and not for 0, of a metric that knows no other values."""
    condition = find_condition(metric)
    if condition is None or condition.unit != "0 or 1":
        return False
    return (
        (comparison == Comparison.GTE and 0 < threshold <= 1)
        or (comparison == Comparison.GT and 0 <= threshold < 1)
        or (comparison == Comparison.EQ and threshold == 1)
    )


def condition_words(
    metric: str, comparison: str, threshold: float, for_seconds: int = 0, labels: Mapping[str, str] | None = None
) -> str:
    """`Latency above 500 ms for 2 min, where service=orders`; of what is only so or not, `Service down for 15 s`."""
    text = metric_title(metric)
    if not _is_plainly_so(metric, comparison, threshold):
        sign = _SIGN_WORDS[Comparison(comparison)] if comparison in Comparison.values else comparison
        text += f" {sign} {value_words(metric, threshold)}"
    if for_seconds:
        text += f" for {duration_words(for_seconds)}"
    if labels:
        text += f", where {label_words(labels)}"
    return text


def threshold_text(metric: str, threshold: float) -> str:
    """The threshold as a form holds it: a percentage where people read one."""
    condition = find_condition(metric)
    return as_percentage(threshold) if condition and condition.percent else digits(threshold).replace(",", "")
