"""Messages out of rows: what every channel is given to send.

Labels, annotations and summaries come from outside. Here they lose what is invisible and get a length; each channel
escapes what its own markup gives a meaning.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from alerting import links
from alerting.channels.base import Item, Message
from alerting.claiming import Told
from alerting.conditions import EXTERNAL, find_condition
from alerting.models import Comparison, Delivery, Event, Notice, Severity
from alerting.wording import metric_title, value_words

LABELS_MAX = 30
ANNOTATIONS_MAX = 10
NAME_MAX = 100
LABEL_MAX = 200
ANNOTATION_MAX = 500
_YES_NO = "0 or 1"


def build_message(told: Told) -> Message:
    """The message that tells this; of a digest the items are in order of time."""
    items = tuple(item_of(part, event) for part, event in told.pairs)
    return Message(told.key, items, more=told.more, request_id=str(told.delivery.request_id))


def item_of(delivery: Delivery, event: Event) -> Item:
    """One event as the message of this delivery tells it."""
    test = delivery.notice == Notice.TEST
    summary = one_line(event.summary, 300) or one_line(event.rule_name, 100)
    if test and "test" not in summary.lower():
        summary = f"This is a test: {summary}"[:300]
    return Item(
        event_id=str(event.id),
        notice=str(delivery.notice),
        rule_name=one_line(event.rule_name, NAME_MAX),
        severity=Severity(event.severity).word,
        summary=summary,
        labels=_plain(event.labels, LABELS_MAX, LABEL_MAX),
        value=value_text(event.metric, event.value),
        condition=condition_text(event.metric, event.comparison, event.threshold),
        started_at=event.started_at,
        triggered_at=event.triggered_at or delivery.triggered_at,
        resolved_at=None if test else event.resolved_at,
        ended_by="" if test else event.resolved_by,
        annotations=_plain(event.annotations, ANNOTATIONS_MAX, ANNOTATION_MAX),
        owner=one_line(event.owner, NAME_MAX),
        runbook_url=_web_address(event.runbook_url),
        event_url=links.event_url(event.id, event.started_at),
        ack_url=_acknowledgement(delivery),
        metric=event.metric,
        alert_id=event.alert_id,
    )


def condition_text(metric: str, comparison: str, threshold: float) -> str:
    """`Drawdown ≥ 5 %`; of what is only so or not, the name alone: `Service down`."""
    condition = find_condition(metric)
    if metric == EXTERNAL or (condition and condition.unit == _YES_NO):
        return metric_title(metric)
    sign = Comparison(comparison).label if comparison in Comparison.values else comparison
    return f"{metric_title(metric)} {sign} {value_words(metric, threshold)}"


def value_text(metric: str, value: float | None) -> str:
    """`5.2 %`, `812 ms`: four digits are enough for people. Empty where there is no value to tell."""
    condition = find_condition(metric)
    if value is None or metric == EXTERNAL or (condition and condition.unit == _YES_NO):
        return ""
    rounded = float(f"{value:.4g}") if abs(value) < 10_000 else float(round(value))
    return value_words(metric, rounded)


def one_line(text: object, limit: int) -> str:
    """Text from outside: on one line, without what is invisible or turns the direction of writing, at most so long."""
    window = str(text)[: limit * 4]
    clean = "".join(" " if unicodedata.category(c) in _INVISIBLE else c for c in window)
    clean = " ".join(clean.split())
    return clean if len(clean) <= limit else clean[: limit - 1].rstrip() + "…"


_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def _plain(values: Any, count: int, limit: int) -> Mapping[str, str]:
    """At most `count` names and texts, in the order of the names."""
    if not isinstance(values, Mapping):
        return {}
    names = sorted(values, key=str)[:count]
    return {one_line(name, NAME_MAX): one_line(values[name], limit) for name in names}


def _web_address(text: str) -> str:
    """Only what a browser opens as a page; anything else is no link."""
    url = text.strip()
    fine = url.lower().startswith(("https://", "http://")) and not any(c.isspace() or ord(c) < 33 for c in url)
    return url if fine and not set(url) & set("<>\"'|\\") else ""


def _acknowledgement(delivery: Delivery) -> str:
    if delivery.notice != Notice.FIRING:
        return ""
    return links.acknowledgement_url(delivery.id, delivery.hour_bucket)
