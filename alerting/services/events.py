"""What people do to an event: take it up, or say that it is over (AL-3, AL-6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from alerting import metrics, outbox
from alerting.errors import InvalidInput, WrongState
from alerting.links import Link
from alerting.models import Delivery, Episode, Event, EventState, Notice, Rule, Severity
from alerting.nudging import nudge
from opsportal.accounts.actors import Actor
from opsportal.accounts.stepup import clean_reason
from opsportal.audit import recorder

ACTIVE = (EventState.FIRING, EventState.ACKNOWLEDGED)
#: What one page of the history holds, twice over.
MOST_AT_ONCE = 100
LINK_IS_USED = "This link was used already: it is good for one acknowledgement. Sign in to the portal to see the alert."
LINK_LEADS_NOWHERE = "The message that this link came with is not kept any more. Sign in to the portal to see alerts."


def acknowledge_event(event: Event, *, by: Actor, note: str = "") -> Event:
    """Take a firing event up: it stays open, and everybody sees who looks after it.

    Raises `PermissionRefused`, `InvalidInput` (the note) and `WrongState`, which says who was first.
    """
    by.require("alerting.acknowledge_event")
    text = _note(note)
    with transaction.atomic():
        _acknowledge(event.pk, event.started_at, by=by, note=text)
    return _as_now(event.pk, event.started_at)


def acknowledge_events(ids: Iterable[UUID], *, by: Actor, note: str = "") -> int:
    """Take up those of these events that fire, all with one note, in one step; how many that were.

    Raises `PermissionRefused`, `InvalidInput` (the note, too many or none) and `WrongState` (none of them fires).
    """
    by.require("alerting.acknowledge_event")
    text = _note(note)
    wanted = sorted(set(ids))
    if not wanted:
        raise InvalidInput("event", "Tick at least one alert that fires.")
    if len(wanted) > MOST_AT_ONCE:
        raise InvalidInput("event", f"These are {len(wanted):,} alerts; at most {MOST_AT_ONCE} at a time.")
    with transaction.atomic():
        # In the order of the evaluation, which may resolve several of them at this moment: no deadlock.
        list(Episode.objects.select_for_update().filter(event_id__in=wanted).order_by("key").values_list("key"))
        firing = Event.objects.select_for_update().filter(id__in=wanted, state=EventState.FIRING).order_by("id")
        found = list(firing.values_list("id", "started_at"))
        if not found:
            raise WrongState("None of these fires any more, or somebody has taken them up. Nothing was changed.")
        for event_id, started_at in found:
            _acknowledge(event_id, started_at, by=by, note=text)
    return len(found)


def acknowledge_by_link(link: Link, *, note: str = "") -> Event:
    """Take up the event that a message told of, in the name of whoever got the message. The link is used then.

    Raises `InvalidInput` (the note) and `WrongState` (the link is used, the event is not firing any more).
    """
    text = _note(note)
    with transaction.atomic():
        of_link = Delivery.objects.filter(id=link.delivery_id, hour_bucket=link.hour_bucket, notice=Notice.FIRING)
        if not of_link.filter(link_used_at__isnull=True).update(link_used_at=timezone.now()):
            raise WrongState(LINK_IS_USED if of_link.exists() else LINK_LEADS_NOWHERE)
        delivery = of_link.defer("recipient_sealed").get()
        holder = Actor.system(f"link sent to {delivery.recipient_shown} ({delivery.kind})")
        details = {"delivery": delivery.pk, "channel": delivery.channel_id, "recipient": delivery.recipient_hash}
        _acknowledge(delivery.event_id, delivery.event_started_at, by=holder, note=text, source="link", details=details)
    return _as_now(delivery.event_id, delivery.event_started_at)


def resolve_event(event: Event, *, by: Actor, note: str) -> Event:
    """Say that it is over. If the value is still bad when it is next seen, a new event begins.

    Whoever was told that it fires is told that it is over, if the rule says so.
    Raises `PermissionRefused`, `InvalidInput` (the note) and `WrongState`.
    """
    by.require("alerting.acknowledge_event")
    text = clean_reason(note, field="note")
    with transaction.atomic():
        # In the order of the evaluation: first the episode, then its event.
        episode = Episode.objects.select_for_update().filter(event_id=event.pk).first()
        now = timezone.now()
        done = _row(event.pk, event.started_at).filter(state__in=ACTIVE).update(
            state=EventState.RESOLVED, resolved_at=now, resolved_by=by.label[:200], resolved_note=text
        )  # fmt: skip
        if not done:
            raise _wrong_state(event.pk, event.started_at)
        if episode is not None:
            episode.delete()
        row: Event = _row(event.pk, event.started_at).get()
        _tell_recovery(row, now)
        _audit("alert_resolve", row, by=by, note=text)
        _count(row, EventState.RESOLVED)
        transaction.on_commit(nudge)
    return row


def _tell_recovery(event: Event, now: datetime) -> None:
    """To whom was told that it fires, unless its rule says that nobody wants to know."""
    rule = Rule.objects.filter(pk=event.rule_id or 0).only("notify_resolved").first()
    if rule is None or rule.notify_resolved:
        outbox.insert_recoveries([(event.pk, event.started_at)], now)


def _acknowledge(
    event_id: Any, started_at: datetime, *, by: Actor, note: str, source: str = "",
    details: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    done = _row(event_id, started_at).filter(state=EventState.FIRING).update(
        state=EventState.ACKNOWLEDGED,
        acknowledged_at=timezone.now(),
        acknowledged_by=by.label[:200],
        acknowledgment_note=note,
    )  # fmt: skip
    if not done:
        raise _wrong_state(event_id, started_at)
    row = _row(event_id, started_at).get()
    _audit("alert_acknowledge", row, by=by, note=note, source=source, details=details)
    _count(row, EventState.ACKNOWLEDGED)


def _row(event_id: Any, started_at: datetime) -> Any:
    return Event.objects.filter(id=event_id, started_at=started_at)


def _as_now(event_id: Any, started_at: datetime) -> Event:
    row: Event = _row(event_id, started_at).get()
    return row


def _note(note: str) -> str:
    """A note may be missing: at three in the morning taking it up counts more."""
    return clean_reason(note, field="note") if note.strip() else ""


def _wrong_state(event_id: Any, started_at: datetime) -> WrongState:
    event: Event | None = _row(event_id, started_at).first()
    if event is None:
        return WrongState("There is no such alert any more. Nothing was changed.")
    if event.state == EventState.ACKNOWLEDGED and event.acknowledged_at:
        return WrongState(
            f"Already acknowledged by {event.acknowledged_by} at {_at(event.acknowledged_at)}. Nothing was changed."
        )
    if event.state == EventState.RESOLVED and event.resolved_at:
        how = f"resolved by {event.resolved_by}" if event.resolved_by else "over: it recovered"
        return WrongState(f"It is {how} at {_at(event.resolved_at)}. Nothing was changed.")
    return WrongState("It has not fired yet, so there is nothing to take up. Nothing was changed.")


def _at(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _count(event: Event, state: EventState) -> None:
    word = Severity(event.severity).word
    transaction.on_commit(lambda: metrics.EVENTS.labels(word, state.value).inc())


def _audit(
    action: str, event: Event, *, by: Actor, note: str, source: str = "", details: Mapping[str, Any] | None = None
) -> None:
    recorder.record(
        action,
        actor=by.user,
        actor_label=by.label[:200],
        resource_type="alert",
        resource_id=str(event.pk),
        details={
            "rule": event.rule_name,
            "severity": Severity(event.severity).word,
            "summary": event.summary,
            **(details or {}),
        },
        reason=note,
        source=source,
    )
