"""Limits: exact, all-or-nothing, the same whoever counts; what is over one waits, and is told later (AD-6, AD-7)."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Any

import pytest
import redis as redis_client
from django.utils import timezone

from alerting import claiming, limits
from alerting.channels.opening import forget_channels
from alerting.limits import Asked, NotCounting, Used
from alerting.metrics import THROTTLED
from alerting.models import Delivery, Event, Notice, Priority, Status
from alerting.nudging import nudge
from tests.alerting.outgoing import a_delivery, an_event, hour_of, queue
from tests.alerting.providers import steps
from tests.alerting.sending_out import Hook, all_are, away_from_the_edge, dispatching
from tests.waiting import until

AT = 1_766_066_707.0  # 2025-12-18 14:05:07 UTC


@pytest.fixture(autouse=True)
def _fresh() -> None:
    forget_channels()


@pytest.fixture
def hook(transactional_db: None, providers: Any) -> Hook:
    return Hook(providers.webhook)


def asked(kind: str = "email", recipient: str = "a", channel: int = 3, each: int = 2, at: float = AT) -> Asked:
    return Asked(kind, recipient, channel, each, at)


def throttled(limit: str) -> float:
    return float(THROTTLED.labels("webhook", limit)._value.get())


# ---------------------------------------------------------------- the script
def test_script__counters_are_gone__takes_nothing_and_says_so(redis: redis_client.Redis) -> None:
    """AD-6: a Redis that lost its data must not give the window's limits a second time."""
    with pytest.raises(NotCounting):
        limits.take([asked()])
    assert not redis.keys("ratelimit:*")


def test_script__keys_and_expiry__are_as_specified(redis: redis_client.Redis, settings: Any) -> None:
    """AD-6: `ratelimit:{channel}:{minute}`, `ratelimit:recipient:{hash}:{hour}`, `ratelimit:global:{minute}`, by UTC."""
    redis.set(limits.MARK, "1")
    assert limits.take([asked(recipient="e6276c486755af55")]) == [""]
    keys = {
        "ratelimit:email:202512181405": 60,
        "ratelimit:global:202512181405": 60,
        "ratelimit:recipient:e6276c486755af55:2025121814": 3600,
    }
    for key, least in keys.items():
        assert redis.get(key) == "1"
        assert least < int(redis.ttl(key)) <= 2 * least  # type: ignore[arg-type]


def test_script__over_one_limit__takes_from_none(redis: redis_client.Redis, settings: Any) -> None:
    """AD-6: all or nothing; the recipient's limit is told first, for it lasts longest."""
    settings.ALERT_GLOBAL_LIMIT = 4
    redis.set(limits.MARK, "1")
    batch = [asked(recipient=name) for name in ("a", "a", "a", "b", "c")] + [asked("slack", "d"), asked("slack", "e")]
    assert limits.take(batch) == ["", "", "recipient", "", "channel", "", "global"]
    assert redis.get("ratelimit:email:202512181405") == "3"
    assert redis.get("ratelimit:slack:202512181405") == "1"
    assert redis.get("ratelimit:global:202512181405") == "4"
    assert redis.get("ratelimit:recipient:a:2025121814") == "2"
    assert not redis.exists("ratelimit:recipient:c:2025121814", "ratelimit:recipient:e:2025121814")


def test_script__recipient_has_another_name__what_was_sent_under_it_counts(
    redis: redis_client.Redis, settings: Any
) -> None:
    """AD-6, AD-9: a new secret of the hash gives nobody a second hour's worth; who counts makes no difference."""
    redis.set(limits.MARK, "1")
    used = Used()
    old, new = asked(recipient="old", channel=0), Asked("email", "new", 0, 2, AT, other_hash="old")
    back = Asked("email", "old", 0, 2, AT, other_hash="new")
    batches = [[old], [new, new, back], [new]]
    assert [limits.take(batch) for batch in batches] == [[""], ["", "recipient", "recipient"], ["recipient"]]
    assert [limits.take_counted(used, batch) for batch in batches] == [
        [""],
        ["", "recipient", "recipient"],
        ["recipient"],
    ]
    assert redis.get(limits.recipient_key("old", AT)) == redis.get(limits.recipient_key("new", AT)) == "1"


@pytest.mark.parametrize("counter", ["redis", "postgresql"])
def test_recipient__secret_of_the_hash_is_new__has_one_limit_still(
    hook: Hook, settings: Any, redis: redis_client.Redis, redis_server: Any, counter: str
) -> None:
    """AD-6, AD-9: as long as the previous secret is set, what went out under it counts."""
    settings.ALERT_RECIPIENT_LIMITS = {"webhook": 3}
    away_from_the_edge(seconds=20, of=3600)
    with ExitStack() as stack:
        if counter == "postgresql":
            stack.enter_context(redis_server.stopped())
        queue(hook.channel, hook.recipients(1) * 2)
        with dispatching():
            until(all_are(Status.DELIVERED))
            settings.ALERT_RECIPIENT_HASH_SECRET_PREVIOUS = settings.ALERT_RECIPIENT_HASH_SECRET
            settings.ALERT_RECIPIENT_HASH_SECRET = "n" * 40
            queue(hook.channel, hook.recipients(1) * 4)
            nudge()
            until(lambda: Delivery.objects.filter(waits_for="recipient").count() == 3)
    assert len(hook.sent()) == 3


def test_script__and_the_count_by_postgresql__decide_alike(redis: redis_client.Redis, settings: Any) -> None:
    """AD-6: whoever counts, the same batch gets the same answers; 40 random ones, one after the other."""
    settings.ALERT_GLOBAL_LIMIT = 60
    redis.set(limits.MARK, "1")
    chance = random.Random(7)
    used = Used()
    for _ in range(40):
        batch = [
            asked(kind, f"{kind}{chance.randrange(12)}", {"email": 20, "sms": 5, "webhook": 0, "breaker": 0}[kind], 4)
            for kind in chance.choices(("email", "sms", "webhook", "breaker"), k=chance.randrange(1, 8))
        ]
        assert limits.take(batch) == limits.take_counted(used, batch)


def test_script__somebody_spoilt_a_counter__is_not_counting(redis: redis_client.Redis) -> None:
    """AD-6, Q-4: PostgreSQL counts then; nothing stops."""
    redis.set(limits.MARK, "1")
    redis.lpush("ratelimit:global:202512181405", "x")
    with pytest.raises(NotCounting):
        limits.take([asked()])


# ---------------------------------------------------------------- over a channel's or the global limit
@pytest.mark.parametrize("limit", ["channel", "global"])
def test_delivery__over_the_minute__waits_for_the_next_and_is_no_attempt(
    hook: Hook, settings: Any, limit: str, redis: redis_client.Redis
) -> None:
    """AD-5, AD-6, AD-7: exactly the limit goes out; every other one is put off, counted, and has made no attempt.
    In the next window the critical ones go first."""
    if limit == "channel":
        settings.ALERT_CHANNEL_LIMITS = {"webhook": 5}
    else:
        settings.ALERT_GLOBAL_LIMIT = 5
    away_from_the_edge()
    before = throttled(limit)
    rows = queue(hook.channel, hook.recipients(20))
    Delivery.objects.filter(pk__in=[row.pk for row in rows[10:]]).update(priority=Priority.CRITICAL)
    with dispatching():
        until(lambda: Delivery.objects.filter(waits_for=limit).count() == 15)
    # Stopped, so whatever went out has come.
    assert len(hook.sent()) == 5
    edge = (timezone.now() + timedelta(minutes=1)).replace(second=0, microsecond=0)
    for row in Delivery.objects.filter(status=Status.PENDING):
        assert (row.waits, row.attempts, row.lease) == (1, 0, None)
        assert row.due_at == edge + timedelta(seconds=0.05 * row.priority)
    assert throttled(limit) - before == 15
    # The next window begins.
    redis.delete(*redis.keys("ratelimit:*:2*"))  # type: ignore[misc]
    Delivery.objects.filter(status=Status.PENDING).update(due_at=timezone.now())
    with dispatching(threads=1):
        until(lambda: len(hook.sent()) == 10)
    critical = {row.dedup_key for row in rows[10:]}
    assert set(hook.sent()) == critical


def test_delivery__of_the_breaker__has_no_limits(hook: Hook, settings: Any) -> None:
    """AL-5: a protection never waits for messages."""
    settings.ALERT_GLOBAL_LIMIT = 0
    assert limits.ask("breaker", "x", "webhook", AT).limited is False
    assert limits.take([limits.ask("breaker", "x", "webhook", AT)]) == [""]


# ---------------------------------------------------------------- over a recipient's limit
def _later() -> datetime:
    return timezone.now() + timedelta(minutes=9)


def _hour_ends(redis: redis_client.Redis) -> None:
    redis.delete(*redis.keys("ratelimit:recipient:*"))  # type: ignore[misc]
    Delivery.objects.filter(waits_for="recipient").update(due_at=timezone.now())


def test_recipient__over_the_hour__is_told_the_rest_in_one_digest(
    hook: Hook, settings: Any, redis: redis_client.Redis
) -> None:
    """AD-7: held until the hour ends, then one message that tells of all; when it is delivered, all are."""
    settings.ALERT_RECIPIENT_LIMITS = {"webhook": 2}
    away_from_the_edge(seconds=15, of=3600)
    rows = queue(hook.channel, hook.recipients(1) * 7)
    Delivery.objects.filter(pk=rows[6].pk).update(priority=Priority.CRITICAL)
    with dispatching():
        until(lambda: Delivery.objects.filter(waits_for="recipient").count() == 5)
        until(lambda: len(hook.sent()) == 2)
        held = Delivery.objects.filter(waits_for="recipient").first()
        assert held is not None
        assert held.due_at == timezone.now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        _hour_ends(redis)
        nudge()
        until(all_are(Status.DELIVERED))
    assert len(hook.sent()) == 3
    told = [item["rule"] for item in hook.provider.received[-1].json["events"]]
    assert len(told) == 5
    leader = Delivery.objects.get(dedup_key=hook.sent()[-1].partition(":digest:")[0])
    assert Delivery.objects.filter(merged_into=leader.pk).count() == 4
    assert leader.merged_into is None and leader.attempts == 1


def test_recipient__digest_is_refused__all_are_poison(hook: Hook, redis: redis_client.Redis) -> None:
    """AD-7: nothing that was merged is lost with its leader."""
    hook.provider.always(steps.says(410))
    queue(hook.channel, hook.recipients(1) * 3, waits_for="recipient", waits=1)
    with dispatching():
        until(all_are(Status.POISON))
    assert len(hook.sent()) == 1
    assert Delivery.objects.order_by().values_list("outcome").distinct().count() == 1


def test_recipient__several_dispatchers_at_the_hours_end__one_digest(hook: Hook) -> None:
    """AD-7: of two that merge at once, one finds nothing left."""
    for _ in range(5):
        queue(hook.channel, hook.recipients(6) * 5, waits_for="recipient", waits=1)
        with dispatching(), dispatching(), dispatching():
            until(all_are(Status.DELIVERED))
        assert len(hook.sent()) == 6
        hook.provider.received.clear()
        Delivery.objects.update(status=Status.DELIVERED)


def test_recipient__recovery_of_what_is_held__is_in_the_same_digest(hook: Hook) -> None:
    """AD-7, AL-3: one message says that it fired and that it is over."""
    event = an_event()
    event.save(force_insert=True)
    (recipient,) = hook.recipients(1)
    Delivery.objects.bulk_create(
        [
            a_delivery(event, hook.channel, recipient, waits_for="recipient", waits=1),
            a_delivery(event, hook.channel, recipient, notice=Notice.RESOLVED),
        ]
    )
    with dispatching():
        until(all_are(Status.DELIVERED))
    (request,) = hook.provider.received
    assert len(request.json["events"]) == 2


def test_recipient__digest_is_over_the_limit_again__joins_the_next_one(
    hook: Hook, settings: Any, redis: redis_client.Redis
) -> None:
    """AD-7: a digest that waits is told within the next, with all that it carries."""
    settings.ALERT_RECIPIENT_LIMITS = {"webhook": 1}
    away_from_the_edge(seconds=15, of=3600)
    (recipient,) = hook.recipients(1)
    queue(hook.channel, [recipient] * 3, waits_for="recipient", waits=1, due_at=_later())
    sent = queue(hook.channel, [recipient])
    with dispatching():
        until(lambda: hook.sent() == [sent[0].dedup_key])
        Delivery.objects.filter(waits_for="recipient").update(due_at=timezone.now())
        until(lambda: Delivery.objects.filter(waits=2).count() == 1)
        assert Delivery.objects.filter(merged_into__isnull=False).count() == 2
        # More urgent, so it leads, and what the old digest carries moves over.
        queue(hook.channel, [recipient], severity=0, waits_for="recipient", waits=1, due_at=_later())
        _hour_ends(redis)
        until(all_are(Status.DELIVERED))
    assert len(hook.sent()) == 2
    assert len(hook.provider.received[-1].json["events"]) == 4
    assert Delivery.objects.filter(merged_into__isnull=False).order_by().values("merged_into").distinct().count() == 1


def test_recipient__message_surely_did_not_arrive__has_not_used_the_limit(
    hook: Hook, settings: Any, redis: redis_client.Redis
) -> None:
    """AD-6: a mail server that refuses must not cost people their messages of the hour."""
    settings.ALERT_RECIPIENT_LIMITS = {"webhook": 1}
    away_from_the_edge(seconds=15, of=3600)
    hook.provider.script(steps.says(500))
    (row,) = queue(hook.channel, hook.recipients(1))
    with dispatching():
        until(all_are(Status.DELIVERED))
    assert redis.get(f"ratelimit:recipient:{row.recipient_hash}:{hour_of(timezone.now())}") == "1"
    row.refresh_from_db()
    assert (row.attempts, row.waits) == (2, 0)


# ---------------------------------------------------------------- Redis is away
def test_limits__redis_stopped__postgresql_counts_the_same(hook: Hook, settings: Any, redis_server: Any) -> None:
    """AD-2, AD-6, Q-4: nothing stops, nothing exceeds; when Redis is back it knows what was given meanwhile."""
    settings.ALERT_CHANNEL_LIMITS = {"webhook": 9}
    settings.ALERT_RECIPIENT_LIMITS = {"webhook": 2}
    away_from_the_edge(seconds=25)
    recipients = hook.recipients(4)
    with dispatching(), dispatching():
        queue(hook.channel, recipients[:3])
        nudge()
        until(lambda: len(hook.sent()) == 3)
        with redis_server.stopped():
            queue(hook.channel, recipients * 3)
            until(lambda: not Delivery.objects.filter(status=Status.PENDING, waits=0).exists())
            # Three had one already: 2 for each of four recipients, and so eight of the nine of the channel.
            until(lambda: len(hook.sent()) == 8)
            assert Delivery.objects.filter(waits_for="recipient").count() == 7
        queue(hook.channel, [f"{hook.provider.url}?new{n}" for n in range(3)])
        until(lambda: Delivery.objects.filter(waits_for="channel").count() == 2)
        until(lambda: len(hook.sent()) == 9)


def test_limits__redis_hangs__eight_dispatchers_delay_nothing(hook: Hook, redis_server: Any) -> None:
    """AD-2, AD-14, Q-4: one that accepts and says nothing is waited for once, not by each after the other."""
    with ExitStack() as crew:
        for _ in range(8):
            crew.enter_context(dispatching(2))
        with redis_server.paused():
            for place in range(8):
                began = time.monotonic()
                queue(hook.channel, hook.recipients(place + 1)[place:], severity=0)
                nudge()
                until(all_are(Status.DELIVERED), seconds=20)
                assert time.monotonic() - began < 1.2


def test_limits__redis_lost_its_data__gives_nothing_twice(hook: Hook, settings: Any, redis: redis_client.Redis) -> None:
    """AD-6: the counters are completed from PostgreSQL before they are believed."""
    settings.ALERT_CHANNEL_LIMITS = {"webhook": 4}
    away_from_the_edge(seconds=15)
    with dispatching():
        queue(hook.channel, hook.recipients(3))
        until(all_are(Status.DELIVERED))
        redis.flushall()
        queue(hook.channel, [f"{hook.provider.url}?more{n}" for n in range(5)])
        nudge()
        until(lambda: Delivery.objects.filter(waits_for="channel").count() == 4)
    assert len(hook.sent()) == 4
    assert redis.get(f"ratelimit:webhook:{timezone.now():%Y%m%d%H%M}") == "4"


def test_claim__of_deliveries_put_off__leaves_them_alone(hook: Hook) -> None:
    """AD-7: what waits for a recipient is not claimed by itself."""
    queue(hook.channel, hook.recipients(2), waits_for="recipient")
    connection = claiming.connect()
    try:
        assert claiming.claim(connection, 10) == []
    finally:
        connection.close()
    assert Event.objects.count() == 2
