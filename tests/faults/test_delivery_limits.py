"""Limits and the full queue over several real processes: exact, and the same from each of them (AD-6, AD-8)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from ipaddress import ip_network
from typing import Any

import pytest
from django.db import connection

from alerting.models import Delivery, Event, Rule, Status
from alerting.nudging import nudge
from alerting.pressure import BELIEVED_SECONDS
from bench.receiver import Receiver, running_receiver
from tests.alerting.outgoing import make_webhook, queue
from tests.alerting.sending_out import away_from_the_edge
from tests.api.conftest import key_of
from tests.faults.fleet import Fleet, Member, ask, fleet, pause, until_served
from tests.waiting import until

DISPATCHERS = 4
GLOBAL, EACH = 37, 5


@pytest.fixture
def receiver(transactional_db: None, settings: Any) -> Iterator[Receiver]:
    settings.ALERT_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
    with running_receiver(0.02) as running:
        yield running


@pytest.fixture
def dispatchers(receiver: Receiver) -> Iterator[Fleet]:
    """Four workers of the queue `alerts`."""
    with fleet(ALERT_LIMIT_GLOBAL=str(GLOBAL), ALERT_LIMIT_RECIPIENT_WEBHOOK=str(EACH)) as crew:
        for _ in range(DISPATCHERS):
            crew.add("alerts")
        until(lambda: all("alert_dispatcher_started" in one.said() for one in crew.members), seconds=60)
        yield crew


@pytest.mark.parametrize(
    "redis_runs", [True, pytest.param(False, marks=pytest.mark.soak)], ids=["redis", "without redis"]
)
def test_limits__four_dispatchers__are_exact(
    dispatchers: Fleet, receiver: Receiver, redis_server: Any, redis_runs: bool
) -> None:
    """AD-6, AD-14, Q-4: of 120 messages to ten addresses the minute lets 37 through, five to an address at most; all
    others wait. With Redis stopped it is PostgreSQL that counts, just as exactly."""
    channel = make_webhook(receiver.url)
    addresses = [f"{receiver.url}/{place}" for place in range(10)]
    away_from_the_edge(seconds=15)
    with nullcontext() if redis_runs else redis_server.stopped():
        rows = queue(channel, addresses * 12)
        nudge()
        until(lambda: not Delivery.objects.filter(status=Status.PENDING, waits=0).exists(), seconds=14)
    came = receiver.report()
    assert len(came) == GLOBAL == Delivery.objects.filter(status=Status.DELIVERED).count()
    to = {row.dedup_key: row.recipient_hash for row in rows}
    assert max(Counter(to[each.key] for each in came).values()) <= EACH
    assert set(Delivery.objects.filter(status=Status.PENDING).order_by().values_list("attempts", "lease")) == {
        (0, None)
    }


# ---------------------------------------------------------------- the full queue
FULL, RESUME = 10_000, 8_000


@pytest.fixture
def web(transactional_db: None) -> Iterator[Member]:
    """The web processes, and no dispatcher."""
    with fleet() as crew:
        member = crew.add("web")
        until_served(member)
        yield member


def test_queue_full__every_process_refuses__until_it_is_shallow_again(web: Member, users: Any, settings: Any) -> None:
    """AD-8: at 10,000 waiting deliveries 503 with `Retry-After: 60`, also after a restart; accepted again below 8,000."""
    settings.ALERT_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
    channel = make_webhook("http://127.0.0.1:9/hook")
    Rule.objects.all().delete()
    rule = Rule.objects.create(name="any", metric="external_alert", comparison="gte", threshold=1, severity=1)
    rule.channels.set([channel])
    key = {"Authorization": f"Bearer {key_of(users.operator, ['write:alerts'])}"}

    def post(number: int) -> tuple[int, dict[str, str], str]:
        return ask(web.port, "POST", "/api/v1/alerts", {"name": f"alert {number}"}, key)

    assert post(1)[0] == 202
    (first,) = Delivery.objects.all()
    assert first.status == Status.PENDING
    _fill(first.pk, FULL - 1)
    pause(BELIEVED_SECONDS)  # so long a process may believe what it has just seen: an almost empty queue
    refusals = [post(number) for number in range(2, 22)]
    assert {status for status, _, _ in refusals} == {503}
    assert {headers["retry-after"] for _, headers, _ in refusals} == {"60"}
    assert "Nothing of this request was kept" in refusals[0][2]
    web.kill()
    web.start()
    until_served(web)
    assert post(30)[0] == 503
    _finish_down_to(RESUME)
    assert {post(number)[0] for number in range(31, 41)} == {503}
    assert Event.objects.count() == 1 and Delivery.objects.count() == FULL
    _finish_down_to(RESUME - 1)
    assert {post(number)[0] for number in range(41, 51)} == {202}
    assert _depth() == RESUME - 1 + 10


def _fill(like: int, number: int) -> None:
    """Copies of a waiting delivery."""
    names = [f.attname for f in Delivery._meta.concrete_fields if f.attname not in ("id", "dedup_key")]
    columns = ", ".join(names)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO alerting_delivery (dedup_key, {columns}) SELECT dedup_key || n, {columns} "
            "FROM alerting_delivery, generate_series(1, %s) AS n WHERE id = %s",
            [number, like],
        )


def _finish_down_to(number: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE alerting_delivery SET status = 'delivered' WHERE id IN "
            "(SELECT id FROM alerting_delivery WHERE status = 'pending' ORDER BY id LIMIT %s)",
            [_depth() - number],
        )


def _depth() -> int:
    return Delivery.objects.filter(status=Status.PENDING).count()
