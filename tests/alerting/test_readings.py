"""What the portal reads of itself, and the rules that a fresh portal has for it (AL-2, AK-8, HM-12)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from alerting import readings
from alerting.models import Channel, Delivery, Event, Rule, Severity
from alerting.ticking import Ticker
from apikeys import services as key_services
from apikeys.models import ApiKey
from circuit import services as breaker
from circuit.models import Source
from circuit.selectors import forget_readings
from health.models import Service, Status
from health.queues import forget_queues
from health.selectors import forget_grid
from opsportal.observability.redis_client import redis_client
from tests.alerting.outgoing import queue
from tests.alerting.ruling import hook
from tests.desk import DESK
from tests.health.desk import Desk

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh() -> None:
    forget_grid()
    forget_queues()


@pytest.fixture
def desk(db: None) -> Desk:
    """A platform whose breaker is open."""
    breaker.init_breaker(by=DESK)
    return Desk()


def values(metric: str) -> dict[str, float]:
    """What is read now, by the labels' values."""
    return {
        "/".join(signal.labels.values()): signal.value
        for signal in readings.read(timezone.now()).signals
        if signal.metric == metric
    }


def told_everywhere() -> Channel:
    """Every rule tells one channel."""
    channel = hook()
    for rule in Rule.objects.all():
        rule.channels.set([channel])
    return channel


def open_events() -> set[tuple[str, int]]:
    return set(Event.objects.exclude(state="resolved").values_list("rule_name", "severity"))


def test_first_rules__fresh_portal__knows_what_to_watch(db: None) -> None:
    """AL-2: enabled, without channels."""
    rules = Rule.objects.in_bulk(field_name="id").values()
    found = {
        (rule.name, rule.metric, rule.comparison, rule.threshold, rule.severity, rule.for_seconds) for rule in rules
    }
    assert found == {
        ("Circuit breaker not open", "circuit_tripped", "gte", 1, Severity.CRITICAL, 0),
        ("Service down", "service_down", "gte", 1, Severity.CRITICAL, 15),
        ("PostgreSQL or Redis down", "component_down", "gte", 1, Severity.CRITICAL, 10),
        ("Poison queue above 10", "poison_queue", "gt", 10, Severity.CRITICAL, 0),
        ("API key expires within 14 days", "api_key_expiry", "lte", 14, Severity.INFO, 0),
        ("API key expires within 3 days", "api_key_expiry", "lte", 3, Severity.WARNING, 0),
        ("API key expires within 1 day", "api_key_expiry", "lte", 1, Severity.CRITICAL, 0),
        ("Alert from outside", "external_alert", "gte", 1, Severity.WARNING, 0),
        ("Drawdown limit", "drawdown", "gte", 0.05, Severity.CRITICAL, 0),
        ("Position limit reached", "position_limit", "gte", 1, Severity.CRITICAL, 0),
    }
    assert all(rule.enabled and rule.description for rule in rules)


def test_services__every_status__as_flap_control_recorded_it(desk: Desk) -> None:
    """HM-10: what waits for confirmation, is stale or unknown has no value."""
    for name, status in (("up", Status.HEALTHY), ("slow", Status.DEGRADED), ("ill", Status.UNHEALTHY),
                         ("odd", Status.VIOLATION), ("gone", Status.UNREACHABLE)):  # fmt: skip
        desk.has(name, status)
    desk.has("maybe", Status.HEALTHY, unconfirmed=Status.UNHEALTHY, seen=1, needed=2)
    desk.has("old", Status.HEALTHY, reply_age=60_000)
    desk.has("new", Status.UNKNOWN, reply_age=None)
    desk.tell()
    assert values("service_down") == {"up": 0, "slow": 0, "ill": 1, "odd": 1, "gone": 1}
    assert values("service_degraded") == {"up": 0, "slow": 1}


def test_service__down_for_15_seconds__is_an_alert_and_ends_with_it(desk: Desk) -> None:
    """AL-2, HM-12: with its status and its own runbook; a parent's failure explains it."""
    told_everywhere()
    orders = desk.has("orders", Status.UNREACHABLE)
    Service.objects.filter(pk=orders.pk).update(runbook_url="https://wiki.example.com/orders")
    desk.tell()
    ticker, now = Ticker(), timezone.now()
    ticker.tick(now)
    event = Event.objects.get(metric="service_down")
    assert (event.state, event.labels, event.origin) == ("pending", {"service": "orders"}, "portal")
    assert event.summary == "orders: unreachable. The connection was refused."
    assert event.annotations["status"] == "unreachable" and event.runbook_url == "https://wiki.example.com/orders"
    ticker.tick(now + timedelta(seconds=16))
    assert Delivery.objects.filter(event_id=event.id).count() == 1
    desk.records[orders.pk].reply_age = 1_000
    desk.becomes(orders, Status.HEALTHY)
    ticker.tick(now + timedelta(seconds=17))
    event.refresh_from_db()
    assert event.state == "resolved" and Delivery.objects.filter(event_id=event.id).count() == 2


def test_service__removed_while_it_is_down__its_alert_ends(desk: Desk) -> None:
    """AL-2: with the next full comparison."""
    orders = desk.has("orders", Status.UNREACHABLE)
    desk.tell()
    Ticker().tick(timezone.now())
    orders.delete()
    desk.tell()
    Ticker().tick(timezone.now())
    assert Event.objects.get(metric="service_down").resolved_by == "it is not watched any more"


def test_sweep__stands_still__is_a_component_down(desk: Desk) -> None:
    """HM-4: when nobody checks, nothing is down and nothing is up; without services there is nothing to check."""
    assert values("component_down")["health sweep"] == 0
    orders = desk.has("orders")
    desk.tell()
    assert values("component_down")["health sweep"] == 0
    from health import store

    redis_client().hdel(store.SNAPSHOT_KEY, store.SWEEPER)
    forget_grid()
    assert values("component_down")["health sweep"] == 1
    orders.delete()
    desk.tell()
    redis_client().hdel(store.SNAPSHOT_KEY, store.SWEEPER)
    forget_grid()
    assert values("component_down")["health sweep"] == 0


def test_breaker__tripped__is_an_alert_with_the_reason(desk: Desk) -> None:
    """AL-2: and its reset ends it."""
    assert values("circuit_tripped") == {"": 0}
    breaker.trip_breaker(by=DESK, reason="Prices look wrong", category="manual", source=Source.PORTAL)
    forget_readings()
    Ticker().tick(timezone.now())
    event = Event.objects.get(metric="circuit_tripped")
    assert (event.summary, event.state) == ("Circuit breaker TRIPPED: Prices look wrong", "firing")


@pytest.mark.parametrize(("state", "value"), [("OPEN", 0), ("QUIET_PERIOD", 0), ("TRIPPED", 1), ("nonsense", 1)])
def test_breaker__state__counts_as_not_open_only_when_halted(redis: Any, db: None, state: str, value: int) -> None:
    """CB-2, CB-3: what nobody understands counts as halted; a quiet period is the platform's own."""
    redis.set("circuit_breaker:state", f'{{"state": "{state}"}}' if state == "QUIET_PERIOD" else state)
    assert values("circuit_tripped") == {"": value}


def test_queues__streams_and_deliveries__have_depths(desk: Desk, redis: Any, settings: Any) -> None:
    """HM-5: what a group has not finished; a queue of Celery; our own deliveries."""
    settings.HEALTH_STREAMS = ["ticks"]
    redis.xgroup_create("ticks", "risk", mkstream=True)
    for number in range(5):
        redis.xadd("ticks", {"n": number})
    redis.xreadgroup("risk", "one", {"ticks": ">"}, count=2)
    redis.rpush("celery", "task")
    queue(hook(), ["https://a.example.com/1", "https://a.example.com/2"])
    assert values("queue_depth") == {"ticks/risk": 5, "celery": 1, "health": 0, "alerts": 0, "alert deliveries": 2}


def test_poison__more_than_ten__pages(desk: Desk) -> None:
    """AD-10: the on-call is paged above 10."""
    rows = queue(hook(), [f"https://a.example.com/{number}" for number in range(11)], status="poison")
    Ticker().tick(timezone.now())
    assert ("Poison queue above 10", Severity.CRITICAL) in open_events()
    Delivery.objects.filter(pk=rows[0].pk).update(settled_at=timezone.now())
    Ticker().tick(timezone.now())
    assert ("Poison queue above 10", Severity.CRITICAL) not in open_events()


def test_redis__stopped__is_an_alert_all_the_same(postgres_server: Any, redis_server: Any) -> None:
    """Q-4: evaluation needs PostgreSQL alone; nothing else is said to be down for it."""
    now = timezone.now()
    with redis_server.stopped():
        assert values("component_down")["redis"] == 1
        assert values("service_down") == values("circuit_tripped") == {}
        Ticker().tick(now)
        Ticker().tick(now + timedelta(seconds=11))
        assert [event.labels for event in Event.objects.filter(state="firing")] == [{"component": "redis"}]
    forget_readings()
    Ticker().tick(now + timedelta(seconds=12))
    assert Event.objects.get(labels__component="redis").state == "resolved"


def made_key(users: Any, days: float, name: str = "machine") -> ApiKey:
    key, _ = key_services.create_key(by=DESK, owner=users.operator, name=name, scopes=["read:circuit"])
    ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now() + timedelta(days=days))
    key.refresh_from_db()
    return key


@pytest.mark.parametrize(
    ("days", "severities"),
    [(14.5, []), (13.9, [2]), (3.5, [2]), (2.9, [1, 2]), (1.2, [1, 2]), (0.9, [0, 1, 2]), (-0.1, [0, 1, 2]), (-2, [])],
)
def test_key__that_ends__warns_at_14_3_and_1_days(users: Any, desk: Desk, days: float, severities: list[int]) -> None:
    """AK-8: as alerts, each more urgent than the one before; the key is named by its prefix and nothing more."""
    key = made_key(users, days)
    Ticker().tick(timezone.now())
    events = Event.objects.filter(metric="api_key_expiry")
    assert sorted(event.severity for event in events) == severities
    for event in events:
        assert event.labels == {"prefix": key.prefix} and key.salt not in str(event.__dict__)


@pytest.mark.parametrize("ended", ["revoked", "rotated"])
def test_key__revoked_or_replaced__its_warnings_end(users: Any, desk: Desk, ended: str) -> None:
    """AK-8: who has seen to it is not warned any more."""
    key = made_key(users, 0.5)
    Ticker().tick(timezone.now())
    assert len(open_events()) == 3
    if ended == "revoked":
        key_services.revoke_key(key, by=DESK, reason="It was replaced by another one.")
    else:
        key_services.rotate_key(key, by=DESK)
    Ticker().tick(timezone.now())
    assert not Event.objects.filter(labels__prefix=key.prefix).exclude(state="resolved").exists()


def test_key__lapsed_unnoticed__its_warnings_stay_true_and_end_without_an_all_clear(users: Any, desk: Desk) -> None:
    """AK-8, AL-3: nobody saw to it, so nobody is told that it is well."""
    channel = told_everywhere()
    key, now = made_key(users, 0.5), timezone.now()
    for hours in (0, 13, 36, 37):
        ticker = Ticker()
        ticker.tick(now + timedelta(hours=hours))
        texts = {event.summary for event in Event.objects.exclude(state="resolved")}
        assert all(f"is valid until {key.expires_at:%Y-%m-%d %H:%M} UTC" in text for text in texts)
        assert len(texts) == (1 if hours < 36 else 0)
    over = Event.objects.filter(labels__prefix=key.prefix)
    assert {event.resolved_by for event in over} == {"the key has ended"}
    assert set(Delivery.objects.filter(channel_id=channel.pk).values_list("notice", flat=True)) == {"firing"}


def test_readings__one_that_fails__the_others_go_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """STYLE 8: and is counted."""

    def fail(_now: Any) -> Any:
        raise ValueError("a broken reading")

    monkeypatch.setattr(readings, "_queues", fail)
    assert values("circuit_tripped") == {"": 0} and values("queue_depth") == {"alert deliveries": 0}


def test_readings__same_values__are_kept_once_a_minute(desk: Desk) -> None:
    """AL-8: enough to replay a rule on, and no row a second."""
    from django.db import connection

    ticker, now = Ticker(), timezone.now()
    for seconds in (0, 1, 2, 30, 61):
        ticker._all_at = float("-inf")
        ticker.tick(now + timedelta(seconds=seconds))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM alerting_observation o JOIN alerting_series s ON s.id = o.series_id "
            "WHERE s.metric = 'poison_queue'"
        )
        assert cursor.fetchone()[0] == 2


def test_evaluate__a_tick_is_under_way__another_process_leaves_it_alone(desk: Desk) -> None:
    """AL-3: one at a time over all processes."""
    from alerting import ticking
    from opsportal.observability.postgres import connect_apart

    with connect_apart(application_name="another ticker") as other:
        other.execute("SELECT pg_advisory_lock(%s)", [ticking.LOCK])
        assert Ticker().tick(timezone.now()) is False
        # Not by closing alone: the server lets go of it a moment after.
        other.execute("SELECT pg_advisory_unlock(%s)", [ticking.LOCK])
    assert Ticker().tick(timezone.now()) is True


@pytest.mark.parametrize("reason", ["broker\x00gone", "bad \ud800 half"], ids=["nul", "half a character"])
def test_breaker__tripped_for_a_reason_that_cannot_be_stored__is_an_alert(desk: Desk, reason: str) -> None:
    """AL-2, Q-5: whoever writes the breaker's keys, that trading stands is told."""
    tripped = {"state": "TRIPPED", "trip_reason": reason, "tripped_at": timezone.now().isoformat()}
    redis_client().set("circuit_breaker:state", json.dumps(tripped))
    forget_readings()
    Ticker().tick(timezone.now())
    event = Event.objects.get(metric="circuit_tripped")
    assert event.state == "firing" and event.summary.startswith("Circuit breaker TRIPPED: b")


def test_breaker__not_readable_although_redis_answers__counts_as_halted(desk: Desk) -> None:
    """CB-3: what nobody can read counts as unknown; that Redis is down is no excuse here."""
    redis_client().set("circuit_breaker:last_trip_reason", b"caf\xe9 broker")
    forget_readings()
    Ticker().tick(timezone.now())
    event = Event.objects.get(metric="circuit_tripped")
    assert event.state == "firing" and "cannot be read" in event.summary


def test_service__says_what_cannot_be_stored__is_an_alert_all_the_same(desk: Desk) -> None:
    """AL-2, Q-5: and so are the others of that tick."""
    desk.has("orders", Status.VIOLATION, sentence="It calls itself \x00x.")
    desk.has("pricing", Status.UNREACHABLE)
    desk.tell()
    ticker, now = Ticker(), timezone.now()
    ticker.tick(now)
    ticker.tick(now + timedelta(seconds=16))
    found = Event.objects.filter(metric="service_down").values_list("labels__service", "state")
    assert sorted(found) == [("orders", "firing"), ("pricing", "firing")]


def test_queue__whose_group_has_a_name_that_cannot_be_stored__stops_nothing(desk: Desk, settings: Any) -> None:
    """AL-2, Q-5: its depth is watched under a name that can be, for as long as it is there."""
    settings.HEALTH_STREAMS = ["ticks"]
    redis_client().xgroup_create("ticks", "bad\x00group", mkstream=True)
    Rule.objects.create(name="Deep", metric="queue_depth", comparison="gte", threshold=1, severity=Severity.WARNING)
    redis_client().xadd("ticks", {"n": 1})
    breaker.trip_breaker(by=DESK, reason="Prices look wrong", category="manual", source=Source.PORTAL)
    forget_readings()
    now = timezone.now()
    for ticker in (Ticker(), Ticker()):
        ticker.tick(now)
    assert Event.objects.get(metric="circuit_tripped").state == "firing"
    event = Event.objects.get(metric="queue_depth")
    assert (event.state, event.labels) == ("firing", {"queue": "ticks", "group": "bad\ufffdgroup"})
