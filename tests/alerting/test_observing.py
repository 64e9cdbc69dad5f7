"""Values on their way through the rules to events and deliveries (AL-2, AL-3, AD-3)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from alerting import keys, observing, series
from alerting.errors import InvalidInput
from alerting.models import Delivery, Episode, Event, Origin, Rule, Series
from tests.alerting.outgoing import make_channel, make_webhook
from tests.alerting.ruling import (
    a_rule,
    ago,
    alert,
    an_external_rule,
    hook,
    notices,
    states,
    take,
    the_event,
    value,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_first_rules(db: None) -> None:
    Rule.objects.all().delete()


def observations() -> list[float]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT value FROM alerting_observation ORDER BY at")
        return [row[0] for row in cursor.fetchall()]


def test_value__beyond_the_threshold__fires_once() -> None:
    """AL-2, AL-3: a value that stays bad makes no second event; the first good one resolves and tells."""
    a_rule(hook())
    first = take(value(0.062, ago(30)))
    again = take(value(0.07, ago(20)))
    assert (first.fired, again.fired, first.events) == (1, 0, again.events)
    event = the_event()
    assert (event.state, event.value, event.summary) == (
        "firing",
        0.062,
        "Drawdown 6.2 % (limit 5 %) · strategy=momentum",
    )
    assert (event.comparison, event.threshold, event.rule_name) == ("gte", 0.05, "Rule 0")
    over = take(value(0.01, ago(10)))
    assert (over.resolved, over.events) == (1, ((),))
    assert the_event().state == "resolved" and the_event().resolved_at and not Episode.objects.exists()
    assert notices() == [("firing", "webhook"), ("resolved", "webhook")]
    assert observations() == [0.062, 0.07, 0.01]


def test_value__other_labels__is_another_episode() -> None:
    """AL-3: one event a label set; a rule about one label leaves the others alone."""
    a_rule(hook(), labels={"strategy": "momentum"})
    taken = take(value(0.1), value(0.1, strategy="carry"), value(0.1, strategy="momentum", symbol="AAPL"))
    assert [len(events) for events in taken.events] == [1, 0, 1]
    assert Event.objects.count() == 2


def test_rule__that_waits__fires_when_the_condition_has_held() -> None:
    """AL-3: pending first; the event tells the value that made it fire, and when it began."""
    a_rule(hook(), for_seconds=60)
    began = ago(100)
    take(value(0.06, began))
    assert (states(), notices()) == (["pending"], [])
    take(value(0.07, began + timedelta(seconds=59)))
    assert states() == ["pending"]
    take(value(0.08, began + timedelta(seconds=60)))
    event = the_event()
    assert (event.state, event.started_at, event.value) == ("firing", began, 0.08)
    assert "8 %" in event.summary and notices() == [("firing", "webhook")]


def test_rule__that_waits__recovery_before_it_fired_tells_nobody() -> None:
    """AL-3: resolved without having fired."""
    a_rule(hook(), for_seconds=60)
    take(value(0.06, ago(50)), value(0.01, ago(40)))
    event = the_event()
    assert (event.state, event.triggered_at, notices()) == ("resolved", None, [])


def test_values__whole_episodes_in_one_batch__each_is_told() -> None:
    """AL-3: what a service held back and sends at once is as if it had come one by one."""
    a_rule(hook())
    taken = take(value(0.06, ago(50)), value(0.01, ago(40)), value(0.07, ago(30)))
    assert states() == ["resolved", "firing"] and taken.resolved == 1
    assert sorted(notices()) == [("firing", "webhook"), ("firing", "webhook"), ("resolved", "webhook")]
    assert taken.events[0] == taken.events[2] and len(taken.events[2]) == 1


def test_values__open_episode_ends_and_another_begins_in_one_batch__two_events() -> None:
    """AL-3: the first is resolved, the second fires, though both have one name."""
    a_rule(hook())
    take(value(0.06, ago(50)))
    take(value(0.01, ago(40)), value(0.07, ago(30)))
    assert states() == ["resolved", "firing"] and Episode.objects.count() == 1


def test_value__older_than_the_newest__is_kept_and_changes_nothing() -> None:
    """AL-2: what comes late tells of the past."""
    a_rule(hook())
    take(value(0.01, ago(10)))
    assert take(value(0.2, ago(20))).events == ((),)
    assert observations() == [0.2, 0.01] and not Event.objects.exists()
    take(value(0.2, ago(5)))
    take(value(0.01, ago(8)))
    assert states() == ["firing"]


def test_value__told_again_with_its_time__counts_once() -> None:
    """AL-2: a sender that tries again does no harm."""
    a_rule(hook())
    told = value(0.06, ago(10))
    take(told)
    take(told)
    assert observations() == [0.06] and states() == ["firing"]


def test_resolved_rule_that_does_not_tell__no_recovery_notice() -> None:
    """AL-3: "if the rule says so"."""
    a_rule(hook(), notify_resolved=False)
    take(value(0.06, ago(10)))
    take(value(0.01, ago(5)))
    assert notices() == [("firing", "webhook")]


def test_deliveries__two_channels_to_one_recipient__one_message() -> None:
    """AD-3: over one kind of channel nobody is told twice of the same."""
    a_rule(make_webhook("https://a.example.com/x", "one"), make_webhook("https://a.example.com/x", "two"), hook(3))
    take(value(0.06))
    assert Delivery.objects.count() == 2


def test_delivery__key__is_alert_channel_recipient_hour() -> None:
    """AD-3: the hour is the trigger's; nothing of the recipient but its hash."""
    a_rule(make_webhook("https://a.example.com/x", "one"))
    take(value(0.06))
    event, delivery = the_event(), Delivery.objects.get()
    assert event.triggered_at is not None
    hashed = keys.recipient_hash("webhook", "https://a.example.com/x")
    assert delivery.dedup_key == f"{event.id}:webhook:{hashed}:{event.triggered_at:%Y-%m-%dT%H}:00:00Z"
    assert delivery.hour_bucket == event.triggered_at.replace(minute=0, second=0, microsecond=0)
    assert "example" not in delivery.dedup_key + delivery.recipient_sealed


def test_recovery__key__is_of_an_alert_of_its_own() -> None:
    """AD-3: made in SQL, as `keys.dedup_key` has it."""
    a_rule(hook())
    take(value(0.06, ago(10)))
    take(value(0.01, ago(5)))
    event, told = the_event(), Delivery.objects.get(notice="resolved")
    assert event.resolved_at is not None
    assert told.dedup_key == keys.dedup_key(
        event.alert_id, "webhook", told.recipient_hash, event.resolved_at, resolved=True
    )
    assert (told.triggered_at, told.priority, told.status) == (event.resolved_at, 1, "pending")


def test_alert__senders_own_id__within_the_hour_nobody_is_told_twice() -> None:
    """AD-3: a new event, which says why it was told to nobody; the next hour is another matter."""
    an_external_rule(hook())
    noon = timezone.now().replace(minute=0, second=0, microsecond=0)
    for firing in (True, False, True, False):
        take(alert(alert_id="disk-7", at=noon, firing=firing), now=noon)
    assert states() == ["resolved", "resolved"] and notices() == [("firing", "webhook"), ("resolved", "webhook")]
    second = Event.objects.get(notified_at=None)
    assert "same hour" in second.annotations["not sent"]
    later = noon + timedelta(hours=1)
    take(alert(alert_id="disk-7", at=later), now=later)
    assert len(notices()) == 3


def test_alert__recipient_told_under_the_secret_before__is_not_told_again(settings: Any) -> None:
    """AD-9: a rotation of the secret within the hour."""
    channel = hook()
    an_external_rule(channel)
    noon = timezone.now().replace(minute=0, second=0, microsecond=0)
    for firing in (True, False):
        take(alert(alert_id="disk-7", at=noon, firing=firing), now=noon)
    settings.ALERT_RECIPIENT_HASH_SECRET_PREVIOUS = settings.ALERT_RECIPIENT_HASH_SECRET
    settings.ALERT_RECIPIENT_HASH_SECRET = "another secret of the recipients' hash, long enough"
    channel.save()  # a new process reads the channels anew
    take(alert(alert_id="disk-7", at=noon), now=noon)
    assert [notice for notice in notices() if notice[0] == "firing"] == [("firing", "webhook")]


def test_rule__that_trips__makes_an_action_before_everything_else() -> None:
    """AL-5: a delivery like the others, with the highest priority; only for the firing."""
    a_rule(hook(), trips_breaker=True)
    take(value(0.06, ago(10)))
    take(value(0.01, ago(5)))
    assert sorted(notices()) == [("firing", "breaker"), ("firing", "webhook"), ("resolved", "webhook")]
    action = Delivery.objects.get(kind="breaker")
    assert (action.priority, action.channel_id, action.recipient_shown) == (0, 0, "circuit breaker")


def test_rule__that_trips_without_channels__is_an_action_alone() -> None:
    """AL-5: protection needs no recipients; nobody was notified."""
    a_rule(trips_breaker=True)
    take(value(0.06))
    assert notices() == [("firing", "breaker")] and the_event().notified_at is None


def test_rule__that_trips_twice_within_the_hour__trips_twice() -> None:
    """AL-5, AD-3: the sender's own id keeps people from being told twice, not the breaker from being tripped."""
    an_external_rule(hook(), trips_breaker=True)
    noon = timezone.now().replace(minute=0, second=0, microsecond=0)
    for firing in (True, False, True):
        take(alert(alert_id="disk-7", at=noon, firing=firing), now=noon)
    assert notices(kind="breaker") == [("firing", "breaker")] * 2


def test_channel__that_cannot_be_used__leaves_a_poisoned_row_and_the_others_are_told() -> None:
    """AD-7, Q-4: nothing silent."""
    broken = hook(1)
    broken.sealed = "not sealed by anybody"
    broken.save(update_fields=["sealed"])
    a_rule(broken, hook(2))
    take(value(0.06, ago(10)))
    poison = Delivery.objects.get(status="poison")
    assert poison.channel_id == broken.pk and poison.outcome.endswith(".") and poison.finished_at
    assert Delivery.objects.filter(status="pending").count() == 1
    take(value(0.01, ago(5)))
    assert Delivery.objects.filter(notice="resolved").count() == 1


def test_channel__switched_off__is_told_nothing() -> None:
    """AC-2: on purpose, so that nothing is poisoned."""
    a_rule(make_webhook("https://a.example.com/x", "one", enabled=False))
    take(value(0.06))
    assert notices() == [] and the_event().notified_at is None


def test_rule__changed__holds_for_the_next_value() -> None:
    """AL-2: processes remember rules only for their revision."""
    rule = a_rule(hook())
    take(value(0.04, ago(10)))
    rule.threshold = 0.03
    rule.save(update_fields=["threshold"])
    take(value(0.04, ago(5)))
    assert states() == ["firing"]


def test_alert__no_rule_is_about_it__is_kept_and_told_to_nobody() -> None:
    """AL-4, AD-12: what somebody sent is not lost because nobody made a rule; a rule made since takes it over."""
    take(alert())
    event = the_event()
    assert (event.rule_id, event.rule_name, event.state, notices()) == (None, "No rule", "firing", [])
    an_external_rule(hook())
    take(alert())
    assert sorted(states()) == ["firing", "resolved"] and notices() == [("firing", "webhook")]
    take(alert(firing=False))
    assert states() == ["resolved", "resolved"]


def test_alert__senders_severity__is_the_events() -> None:
    """AL-4: and its priority."""
    an_external_rule(hook())
    take(alert(severity=2))
    assert (the_event().severity, Delivery.objects.get().priority) == (2, 3)


def test_alert__for_one_rule__fires_it_whatever_its_condition() -> None:
    """AL-2: a direct trigger of a rule on another metric."""
    rule = a_rule(hook())
    an_external_rule(hook(1))
    take(alert(rule_id=rule.pk, shown_value=0.2))
    event = the_event()
    assert (event.rule_id, event.metric, event.value, event.state) == (rule.pk, "drawdown", 0.2, "firing")
    take(alert(rule_id=rule.pk, firing=False))
    assert states() == ["resolved"]


def test_alert__on_a_rule_that_waits__is_pending() -> None:
    """AL-3: `for` holds for alerts from outside as well."""
    an_external_rule(hook(), for_seconds=60)
    take(alert())
    assert states() == ["pending"]


def test_trigger__old_time_of_a_value__counts_from_its_arrival() -> None:
    """AD-11: latency tells of us, not of what a sender held back."""
    a_rule(hook())
    now = timezone.now()
    take(value(0.06, now - timedelta(minutes=30)), now=now)
    assert (the_event().triggered_at, the_event().started_at) == (now, now - timedelta(minutes=30))


def test_trigger__of_a_direct_alert__is_the_senders_word() -> None:
    """AD-3: so that a repeat within the hour has the same key, however late it comes."""
    an_external_rule(hook())
    at = ago(1_800)
    take(alert(at=at))
    delivery = Delivery.objects.get()
    assert (the_event().triggered_at, delivery.triggered_at, delivery.hour_bucket) == (at, at, keys.hour_bucket(at))


def test_one_bad_rule__the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    """STYLE 8: it is set aside, loudly."""
    a_rule(hook())
    bad = a_rule(hook(1), labels=["as no form would let it be"])
    take(value(0.06))
    assert states() == ["firing"]
    assert [record.row_id for record in caplog.records if record.msg == "alert_row_set_aside"] == [bad.pk]  # type: ignore[attr-defined]


def test_one_event_that_cannot_be_written__the_others_are(caplog: pytest.LogCaptureFixture) -> None:
    """STYLE 8: a row that the database refuses is set aside, alone."""
    an_external_rule(hook())
    taken = take(alert("fine"), alert("not fine", alert_id="x" * 101), alert("fine, too"))
    assert [len(events) for events in taken.events] == [1, 0, 1]
    assert Event.objects.count() == 2 and Delivery.objects.count() == 2
    assert any(record.msg == "alert_event_set_aside" for record in caplog.records)


def test_series__too_many_of_a_metric__are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Q-5: a label with an order's number in it must not fill the database; known series go on."""
    monkeypatch.setattr(series, "MOST_SERIES", 2)
    take(value(0.01, strategy="a"), value(0.01, strategy="b"))
    with pytest.raises(InvalidInput, match="different label sets"):
        take(value(0.01, strategy="c"))
    take(value(0.02, strategy="a"))
    assert Series.objects.count() == 2 and len(observations()) == 3


def test_nothing__is_taken_as_nothing() -> None:
    """An empty batch touches nothing."""
    assert observing.take([]) == observing.Taken((), 0, 0)


def test_channel__of_an_unknown_kind__is_set_aside() -> None:
    """AD-1: rows of another version."""
    from pydantic import SecretStr

    from alerting.channels.webhook import WebhookSettings

    odd = make_channel("webhook", WebhookSettings(url=SecretStr("https://a.example.com/x")), "odd")
    odd.kind = "telegraph"
    odd.save(update_fields=["kind"])
    a_rule(odd)
    take(value(0.06))
    assert Delivery.objects.get().status == "poison"


def test_fired__on_a_host_whose_clock_runs_ahead__is_due_at_once() -> None:
    """AD-2: deliveries are claimed by PostgreSQL's clock, so a host's wrong one must not hold them back."""
    a_rule(hook())
    ahead = timezone.now() + timedelta(hours=3)
    take(value(0.062, ago(30)), now=ahead)
    take(value(0.01, ago(10)), now=ahead)
    assert len(notices()) == 2
    assert all(due_at <= timezone.now() for due_at in Delivery.objects.values_list("due_at", flat=True))


def test_value__after_the_clock_was_set_back__is_judged() -> None:
    """AL-2: what was kept in a future that is none any more hides nothing."""
    a_rule(hook())
    ahead = timezone.now() + timedelta(hours=24)
    take(value(0.01, ahead), now=ahead)
    assert take(value(0.5)).fired == 1
    assert Series.objects.get().last_value == 0.5


def test_own_value__after_the_clock_was_set_back__is_kept() -> None:
    """AL-2: one a minute, by the clock as it is now."""
    ahead, now = timezone.now() + timedelta(hours=24), timezone.now()
    for at in (ahead, now, now + timedelta(seconds=5)):
        observing.take([replace(value(0.01, at), origin=Origin.PORTAL)], now=at)
    assert len(observations()) == 2


def test_series__whose_labels_cannot_be_kept__is_left_out_alone(caplog: pytest.LogCaptureFixture) -> None:
    """STYLE 8: the other values of the batch are kept and judged."""
    a_rule(hook())
    taken = take(value(0.5, strategy="bad\x00name"), value(0.5), value(0.01, strategy="carry"))
    assert [len(events) for events in taken.events] == [0, 1, 0]
    assert Series.objects.count() == 2
    assert any(record.msg == "alert_series_set_aside" for record in caplog.records)


def test_pending__that_cannot_be_written_when_it_fires__the_others_fire(caplog: pytest.LogCaptureFixture) -> None:
    """STYLE 8: promotions are set aside one by one as well, with a value and with time."""
    a_rule(hook(), for_seconds=10)
    take(value(0.5, ago(60), strategy="a"), value(0.5, ago(60), strategy="b"))
    bad = replace(value(0.6, strategy="a"), summary="not \x00 this")
    assert take(bad, value(0.6, strategy="b")).fired == 1
    assert Event.objects.get(labels__strategy="b").state == "firing"
    assert any(record.msg == "alert_event_set_aside" for record in caplog.records)
