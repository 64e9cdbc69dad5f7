"""An event as evaluation makes and moves it, and how it tells of itself."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self

from alerting.catalogue import RuleSpec
from alerting.conditions import EXTERNAL, find_condition
from alerting.intake import url_or_nothing
from alerting.models import Event, EventState, Origin, Severity
from alerting.signals import Signal
from alerting.wording import value_words

SUMMARY_MAX = 300
#: A sender's time this far back is believed as the trigger; what is older counts from its arrival, so that the
#: latency of deliveries tells of us and not of what senders held back.
BELIEVED = timedelta(seconds=60)
#: What stands for a rule where an alert from outside came that no rule is about.
NO_RULE = RuleSpec(
    id=0, name="No rule", metric=EXTERNAL, comparison="gte", threshold=1.0, severity=Severity.WARNING, for_seconds=0,
    labels={}, channel_ids=(), notify_resolved=False, trips_breaker=False, owner="", runbook_url="",
)  # fmt: skip


@dataclass(slots=True)
class Happening:
    """One event. `rule_id` is None where no rule is about it; `standing` False once it is resolved."""

    key: str
    event_id: uuid.UUID
    started_at: datetime
    rule_id: int | None
    alert_id: str
    severity: int
    metric: str
    labels: Mapping[str, str]
    origin: str = Origin.OBSERVATION
    firing: bool = False
    #: Resolved within the batch that began it.
    over: bool = False
    state: str = EventState.PENDING
    rule_name: str = ""
    fingerprint: str = ""
    comparison: str = "gte"
    threshold: float = 1.0
    value: float | None = None
    summary: str = ""
    annotations: dict[str, str] = field(default_factory=dict)
    owner: str = ""
    runbook_url: str = ""
    generator_url: str = ""
    due_at: datetime | None = None
    #: From when a pending one waits, where that is not its start: see `waits_from`.
    waits_from: datetime | None = None
    expires_at: datetime | None = None
    triggered_at: datetime | None = None
    muted_by: str = ""
    notified_at: datetime | None = None
    resolved_at: datetime | None = None

    @classmethod
    def of(cls, event: Event) -> Self:
        """An event's row as the outbox reads it: to tell of it, not to move it."""
        return cls(
            key="",
            event_id=event.pk,
            started_at=event.started_at,
            rule_id=event.rule_id,
            alert_id=event.alert_id,
            severity=event.severity,
            metric=event.metric,
            labels=event.labels,
            triggered_at=event.triggered_at,
        )

    @property
    def muted(self) -> bool:
        """Whether it fires and its messages are held back."""
        return bool(self.muted_by)

    @property
    def named_by_sender(self) -> bool:
        """Whether its alert id is the sender's own, so that another event may bear the same (AD-3)."""
        return self.alert_id != str(self.event_id)

    def fire(self, at: datetime, now: datetime, value: float | None) -> None:
        """It fires. `at` is when, by the sender's clock."""
        self.firing, self.state, self.value = True, EventState.FIRING, value
        self.triggered_at = trigger_time(at, now, self.origin)

    def resolve(self, now: datetime, value: float | None = None) -> None:
        """It is over."""
        self.over, self.state, self.resolved_at = True, EventState.RESOLVED, now


def trigger_time(at: datetime, now: datetime, origin: str) -> datetime:
    """From when latency and the hour bucket count: the sender's own word of a direct trigger (AD-3), else `at`.

    Where `at` lies too far back, or ahead of our clock, it is `now`.
    """
    if origin == Origin.DIRECT:
        return at
    return at if now - BELIEVED <= at <= now else now


def waits_from(signal: Signal, now: datetime) -> datetime | None:
    """From when time alone counts towards `for` if that is not `signal.at`: from the arrival, `now`, of what came late.

    What a service held back tells of then; only what is told at once is known to hold until something else is told.
    Prometheus and its like watch for themselves: whatever the start that they tell, it holds now.
    """
    held_back = signal.origin in (Origin.OBSERVATION, Origin.DIRECT) and signal.at < now - BELIEVED
    return now if held_back else None


def begun(rule: RuleSpec, signal: Signal, key: str, fingerprint: str) -> Happening:
    """A new event of this rule, pending."""
    number = uuid.uuid4()
    shown = signal.value if signal.shown_value is None else signal.shown_value
    directed = signal.rule_id is not None and signal.shown_value is None
    value = None if directed else shown
    return Happening(
        key=key,
        event_id=number,
        started_at=signal.at,
        rule_id=rule.id or None,
        alert_id=signal.alert_id or str(number),
        severity=rule.severity if signal.severity is None else signal.severity,
        metric=rule.metric,
        labels=signal.labels,
        origin=signal.origin,
        rule_name=rule.name,
        fingerprint=fingerprint,
        comparison=rule.comparison,
        threshold=rule.threshold,
        value=value,
        summary=signal.summary[:SUMMARY_MAX] or summary_of(rule, value, signal.labels),
        annotations=dict(signal.annotations),
        owner=rule.owner,
        runbook_url=rule.runbook_url or url_or_nothing(signal.annotations.get("runbook_url", "")),
        generator_url=signal.generator_url,
        expires_at=signal.expires_at,
    )


def summary_of(rule: RuleSpec, value: float | None, labels: Mapping[str, str]) -> str:
    """`Drawdown 6.2 % (limit 5 %) · strategy=momentum`; an alert from outside is called by its name."""
    condition = find_condition(rule.metric)
    title = condition.title if condition else rule.metric
    rest = dict(labels)
    if rule.metric == EXTERNAL or value is None:
        parts = [rest.pop("alertname", "") or rule.name]
    elif condition is not None and condition.unit == "0 or 1":
        parts = [title]
    else:
        parts = [f"{title} {_rounded(rule.metric, value)} (limit {value_words(rule.metric, rule.threshold)})"]
    parts += [f"{name}={text}" for name, text in sorted(rest.items())]
    return " · ".join(parts)[:SUMMARY_MAX]


def _rounded(metric: str, value: float) -> str:
    """Five digits are enough for a line."""
    return value_words(metric, float(f"{value:.5g}"))
