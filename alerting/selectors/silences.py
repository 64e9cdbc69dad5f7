"""Silences as people look at them: running, coming, past; what each holds back now, and what it held back."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet

from alerting.models import Event, EventState, Silence
from alerting.muting import BY_SILENCE, held_back_name
from alerting.selectors.paging import TooSlow, limited
from alerting.wording import label_words


@dataclass(frozen=True)
class SilenceRow:
    """A silence as the list shows it. `matches`: how many open alerts it fits now."""

    silence: Silence
    state: str
    what: str
    matches: int

    @property
    def tone(self) -> str:
        """Its family of colours."""
        return {"running": "warn", "coming": "info"}.get(self.state, "unknown")

    @property
    def may_change(self) -> bool:
        """Whether it has not ended."""
        return self.state != "past"


def shown_silences() -> QuerySet[Silence]:
    """Every silence with its rule."""
    return Silence.objects.select_related("rule")


def unfinished(now: datetime) -> list[Silence]:
    """Those that run, then those to come, each by when they end or begin."""
    found = shown_silences().filter(ends_at__gt=now, ended_at__isnull=True)
    return sorted(found, key=lambda silence: (silence.starts_at > now, silence.ends_at, silence.pk))


def finished(now: datetime) -> QuerySet[Silence]:
    """Those that have ended, newest first."""
    return shown_silences().filter(Q(ends_at__lte=now) | Q(ended_at__isnull=False)).order_by("-starts_at", "-pk")


def state_of(silence: Silence, now: datetime) -> str:
    """`running`, `coming` or `past`."""
    if silence.ended_at is not None or silence.ends_at <= now:
        return "past"
    return "running" if silence.starts_at <= now else "coming"


def silence_row(silence: Silence, now: datetime) -> SilenceRow:
    """One row. One that is past fits nothing."""
    state = state_of(silence, now)
    return SilenceRow(silence, state, what_words(silence), 0 if state == "past" else count_open(silence))


def what_words(silence: Silence) -> str:
    """`rule “Orders are slow”, service orders, symbol=AAPL`: all of it must fit."""
    parts = []
    if silence.rule_id is not None:
        parts = [f"rule “{silence.rule.name}”" if silence.rule else _deleted_rule(silence.rule_name)]
    parts += [f"service {silence.service}"] if silence.service else []
    parts += [label_words(silence.labels)] if silence.labels else []
    return ", ".join(parts)


def _deleted_rule(name: str) -> str:
    return f"rule “{name}” (deleted)" if name else "a rule that was deleted"


def count_open(silence: Silence) -> int:
    """How many alerts that fire now it fits."""
    found = Event.objects.filter(state__in=(EventState.FIRING, EventState.ACKNOWLEDGED))
    if silence.rule_id is not None:
        found = found.filter(rule_id=silence.rule_id)
    if silence.service:
        found = found.filter(labels__contains={"service": silence.service})
    if silence.labels:
        found = found.filter(labels__contains=silence.labels)
    return found.count()


def held_back(silence: Silence, *, newest: int = 100) -> list[Event]:
    """The newest alerts whose messages it holds or held back, those too that were told when it ended."""
    muted_by = f"{BY_SILENCE}{silence.pk}"
    found = Event.objects.filter(muted_by=muted_by).exclude(muted_by="").order_by("-started_at", "-id")
    events = list(found[:newest])
    # No index finds the others. As many as were counted are looked for, backwards from its end: that is near by.
    missing = min(silence.suppressed, newest) - len(events)
    if missing > 0:
        until = silence.ended_at or silence.ends_at
        later = Event.objects.filter(annotations__has_key=held_back_name(muted_by), started_at__lte=until)
        with suppress(TooSlow), limited():
            events += later.exclude(muted_by=muted_by).order_by("-started_at", "-id")[:missing]
    return sorted(events, key=lambda event: (event.started_at, event.pk), reverse=True)
