"""kill -9 of everything that has a hand in a delivery, at random: none is lost, and each duplicate is explained (AD-2).

The long version is `make soak`.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

import pytest
from django.db import connection, connections
from django.db.models.functions import Now

from alerting.models import Attempt, Delivery, Event, Rule, Status
from bench.receiver import Came, Receiver, running_receiver
from tests.alerting.outgoing import make_webhook
from tests.api.conftest import key_of
from tests.faults.fleet import Fleet, Member, ask, fleet, pause, until_served
from tests.waiting import until

RECIPIENTS = 2
BATCH = 10
#: A dead worker's claims are free after 30 s; a failed attempt is repeated within 5 s.
SETTLED_SECONDS = 150


@dataclass
class Poster:
    """A service that sends its alerts in order, each batch until it is taken."""

    web: Member
    key: str
    number: int
    pace: float
    refused: Counter[int] = field(default_factory=Counter)
    taken: int = 0

    def run(self) -> None:
        """Send all of them."""
        for first in range(0, self.number, BATCH):
            alerts = [alert(number) for number in range(first, min(first + BATCH, self.number))]
            while True:
                status, _, body = ask(
                    self.web.port, "POST", "/api/v1/alerts", {"alerts": alerts}, {"Authorization": f"Bearer {self.key}"}
                )
                if status == 202:
                    self.taken += 1
                    break
                assert status in (0, 401, 500, 502, 503), (status, body)
                self.refused[status] += 1
                pause(0.2)
            pause(self.pace)


def alert(number: int) -> dict[str, Any]:
    """An alert that no other one is; under its own name, so that sending it again makes nothing twice."""
    name = f"bench-1-{number}"
    return {"name": name, "alert_id": name, "severity": "warning", "labels": {"job": "soak"}}


def rule_to(urls: list[str]) -> None:
    """One rule, with a channel to each address."""
    Rule.objects.all().delete()
    rule = Rule.objects.create(
        name="soak", metric="external_alert", comparison="gte", threshold=1, severity=1, labels={"job": "soak"}
    )
    rule.channels.set([make_webhook(url, name=f"hook {place}") for place, url in enumerate(urls)])


def chaos(
    crew: Fleet, redis_server: Any, chance: random.Random, poster: Poster, posting: threading.Thread
) -> Counter[str]:
    """Kill one after the other, at random, and start it again a moment later.

    On a busy machine a process takes long to start: none is killed before something was taken again, so that it ends.
    """
    killed: Counter[str] = Counter()
    while posting.is_alive():
        victim = chance.choice([*crew.members, redis_server])
        killed[getattr(victim, "label", "redis")] += 1
        taken = poster.taken
        victim.kill()
        pause(chance.uniform(0.05, 0.6))
        victim.start()
        pause(chance.uniform(0.2, 2.0))
        until(lambda: poster.taken > taken or not posting.is_alive(), seconds=120, what="alerts to be taken again")  # noqa: B023
    return killed


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    settings.ALERT_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
    # Slow, so that there is always something under way when somebody dies.
    with running_receiver(0.7) as running:
        yield running


@pytest.mark.parametrize(
    ("deliveries", "pace"), [(400, 0.6), pytest.param(2_000, 0.9, marks=pytest.mark.soak)], ids=["short", "long"]
)
def test_deliveries__everything_is_killed_at_random__none_is_lost_and_duplicates_are_explained(
    transactional_db: None,
    users: Any,
    redis_server: Any,
    receiver: Receiver,
    request: pytest.FixtureRequest,
    deliveries: int,
    pace: float,
) -> None:
    """AD-2, AD-3, Q-4: from the answer 202 on, every delivery arrives. More often than once only where a worker died
    between the provider's answer and our commit, or the provider refused: each such case is in our own rows."""
    seed = request.config.option.order_seed
    print(f"seed {seed} (--order-seed {seed} repeats it)")
    chance = random.Random(seed)
    number = deliveries // RECIPIENTS
    rule_to([f"{receiver.url}/{place}" for place in range(RECIPIENTS)])
    key = key_of(users.operator, ["write:alerts"])
    with fleet(ALERT_MAX_ATTEMPTS="10") as crew:
        web = crew.add("web")
        crew.add("beat")
        crew.add("alerts")
        crew.add("alerts")
        until_served(web)
        poster = Poster(web, key, number, pace)
        posting = threading.Thread(target=poster.run, daemon=True)
        posting.start()
        receiver.refuse(deliveries // 20)
        killed = chaos(crew, redis_server, chance, poster, posting)
        killed += _killed_at_work(crew)
        until(lambda: _finished() == deliveries, seconds=SETTLED_SECONDS, what="all deliveries to be finished")
        for member in crew.members:
            member.stop()
    came = receiver.report()
    print(_told(killed, poster, came, deliveries))
    _none_is_lost(came, deliveries)
    _duplicates_are_explained(came)


def _killed_at_work(crew: Fleet) -> Counter[str]:
    """Whatever chance had hit before: all dispatchers, while they surely have something under way."""
    killed: Counter[str] = Counter()
    until(lambda: Delivery.objects.filter(lease__isnull=False, due_at__gt=Now()).exists() or _finished_all())
    for member in crew.members:
        if member.label.startswith("alerts"):
            member.kill()
            member.start()
            killed[member.label] += 1
    return killed


def _finished_all() -> bool:
    return not Delivery.objects.exclude(status=Status.DELIVERED).exists()


def _finished() -> int:
    try:
        return Delivery.objects.filter(status=Status.DELIVERED).count()
    finally:
        connection.close()


def _none_is_lost(came: list[Came], deliveries: int) -> None:
    assert Delivery.objects.count() == deliveries
    assert Event.objects.filter(labels__job="soak").count() == deliveries // RECIPIENTS
    assert set(Delivery.objects.values_list("dedup_key", flat=True)) == {each.key for each in came}


def _duplicates_are_explained(came: list[Came]) -> None:
    """What came is at most what we know of: the attempts that were written, and the claims that were taken over."""
    times = Counter(each.key for each in came)
    attempts = Counter(Attempt.objects.values_list("delivery_id", flat=True))
    for row in Delivery.objects.all():
        assert times[row.dedup_key] <= attempts[row.pk] + row.taken_over, (row.dedup_key, times[row.dedup_key])
        known = Attempt.objects.filter(delivery_id=row.pk, outcome="delivered").count()
        assert known >= 1
    connections.close_all()


def _told(killed: Counter[str], poster: Poster, came: list[Came], deliveries: int) -> str:
    twice = len(came) - len({each.key for each in came})
    taken_over = sum(Delivery.objects.values_list("taken_over", flat=True))
    late = Attempt.objects.filter(late=True).count()
    refused = Attempt.objects.filter(outcome="transient").count()
    return (
        f"{deliveries} deliveries, {len(came)} messages came ({refused} refused by the provider, {twice - refused} duplicates), {killed.total()} kills "
        f"({dict(killed)}); {taken_over} claims taken over, {late} late results; "
        f"posts not taken at first: {dict(poster.refused)}"
    )
