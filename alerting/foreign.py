"""What other alerting systems send: Prometheus' own posts, and the webhook of Alertmanager and Grafana (AL-4).

These senders do not correct what they are told is wrong. So what can be kept is kept: long texts are cut, and one
alert that cannot be read does not stop the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any

from alerting import intake, keys
from alerting.conditions import EXTERNAL
from alerting.errors import InvalidInput
from alerting.intake import place
from alerting.models import Origin, Severity
from alerting.signals import Signal

MOST_LABELS = 64
#: An alert without an end resolves by itself when it was not told again for so long, as in Alertmanager.
RESOLVE_AFTER = timedelta(minutes=5)
_SEVERITIES = {
    **dict.fromkeys(("critical", "crit", "page", "fatal", "emergency", "alert", "error", "high"), Severity.CRITICAL),
    **dict.fromkeys(("warning", "warn", "major", "minor", "medium"), Severity.WARNING),
    **dict.fromkeys(("info", "information", "informational", "notice", "low", "none", "debug"), Severity.INFO),
}
_SUMMARIES = ("summary", "title", "message", "description")


@dataclass
class Read:
    """The alerts that could be read, and an objection for each that could not."""

    signals: list[Signal] = field(default_factory=list)
    refused: list[InvalidInput] = field(default_factory=list)


def prometheus(body: Any, now: datetime) -> Read:
    """Alertmanager's API v2 as Prometheus speaks it: a bare list of alerts. Raises `InvalidInput` for anything else."""
    if not isinstance(body, list):
        raise InvalidInput("alerts", "Send a list of alerts, as Prometheus does.")
    return _read(body, "", lambda item, where: _posted(item, where, now))


def webhook(body: Any, now: datetime, origin: Origin) -> Read:
    """The webhook of Alertmanager (version 4) and of Grafana. Raises `InvalidInput` for anything else."""
    if not isinstance(body, dict) or not isinstance(body.get("alerts"), list):
        raise InvalidInput("alerts", "Send what Alertmanager's or Grafana's webhook sends: an object with “alerts”.")
    overall = body.get("status")
    return _read(body["alerts"], "alerts", lambda item, where: _notified(item, where, overall, origin, now))


def _read(items: list[Any], name: str, read: Callable[[Mapping[str, Any], str], Signal]) -> Read:
    if len(items) > intake.MOST_ITEMS:
        raise InvalidInput(
            name or "alerts", f"There are {len(items):,} alerts; send at most {intake.MOST_ITEMS:,} in one request."
        )
    found = Read()
    last: dict[str, Signal] = {}
    for number, item in enumerate(items):
        where = f"{name}[{number}]"
        try:
            if not isinstance(item, dict):
                raise InvalidInput(where, "This must be an object.")
            signal = read(item, where)
        except InvalidInput as objection:
            found.refused.append(objection)
        else:
            last[signal.mark] = signal  # told twice: the later word counts
    found.signals = list(last.values())
    return found


def _posted(item: Mapping[str, Any], where: str, now: datetime) -> Signal:
    ends_at = _time(item.get("endsAt"), place(where, "endsAt"))
    over = ends_at is not None and ends_at <= now
    expires_at = None if over else ends_at or now + RESOLVE_AFTER
    at = ends_at if over and ends_at is not None else _started_at(item, where, now) or now
    return _signal(item, where, at, Origin.PROMETHEUS, firing=not over, expires_at=expires_at)


def _notified(item: Mapping[str, Any], where: str, overall: Any, origin: Origin, now: datetime) -> Signal:
    status = item.get("status", overall)
    if status not in ("firing", "resolved"):
        raise InvalidInput(place(where, "status"), "This must be “firing” or “resolved”.")
    firing = status == "firing"
    at = _started_at(item, where, now)
    if at is not None and not firing:  # by the clock by which it began: else it might seem to end before
        at = _time(item.get("endsAt"), place(where, "endsAt"))
    at = now if at is None or at > now else at
    return _signal(item, where, at, origin, firing=firing, shown_value=_only_value(item.get("values")))


def _started_at(item: Mapping[str, Any], where: str, now: datetime) -> datetime | None:
    """The start that is told, unless it lies too far back or is not yet."""
    starts_at = _time(item.get("startsAt"), place(where, "startsAt"))
    return starts_at if starts_at is not None and now - intake.OLDEST <= starts_at <= now else None


def _signal(item: Mapping[str, Any], where: str, at: datetime, origin: Origin, *, firing: bool, **more: Any) -> Signal:
    labels = _texts(item.get("labels"), place(where, "labels"), longest=intake.LABEL_VALUE_MAX)
    if not labels:
        raise InvalidInput(place(where, "labels"), "An alert has at least one label.")
    notes = _texts(item.get("annotations"), place(where, "annotations"), longest=intake.ANNOTATION_MAX)
    summary = next((notes[name] for name in _SUMMARIES if notes.get(name)), "")
    notes["runbook_url"] = intake.url_or_nothing(notes.get("runbook_url"))
    return Signal(
        metric=EXTERNAL,
        labels=labels,
        value=1.0 if firing else 0.0,
        at=at,
        origin=origin,
        summary=" ".join(summary.split())[: intake.SUMMARY_MAX],
        annotations={name: text for name, text in notes.items() if text},
        generator_url=_link(item.get("generatorURL", ""), place(where, "generatorURL")),
        severity=_SEVERITIES.get(labels.get("severity", "").lower()),
        fingerprint=keys.masked_fingerprint(item["labels"], labels),
        **more,
    )


def _texts(value: Any, where: str, *, longest: int) -> dict[str, str]:
    """Names and texts, masked as all text is that people will see."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidInput(where, "This must be an object of names and texts.")
    if len(value) > MOST_LABELS:
        raise InvalidInput(where, f"There are {len(value):,} of them; at most {MOST_LABELS} are kept.")
    found = {}
    for name, text in value.items():
        if not intake.is_label_name(name):
            raise InvalidInput(where, "A name is 1 to 100 characters long, all of which can be shown.")
        if not isinstance(text, str):
            raise InvalidInput(place(where, intake.masked_name(name)), "This must be text.")
        if text:
            found[intake.masked_name(name)] = intake.masked(text.replace("\x00", "")[:longest])[:longest]
    return found


def _link(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput(where, "This must be text.")
    return intake.url_or_nothing(value)


def _time(value: Any, where: str) -> datetime | None:
    """The time; None for none, which both say as the year 1."""
    if value is None or value == "":
        return None
    try:
        found = intake.instant(value, where)
    except InvalidInput:
        if isinstance(value, str) and value.startswith("0001-01-01"):
            return None
        raise
    return None if found <= datetime(1, 1, 3, tzinfo=UTC) else found


def _only_value(values: Any) -> float | None:
    """Grafana tells the values of all its expressions; a single one is the alert's."""
    if not isinstance(values, dict) or len(values) != 1:
        return None
    (value,) = values.values()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if isfinite(value) else None
    except OverflowError:
        return None
