"""The sweep against real services, Redis and PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.utils import timezone

from health import store
from health.leading import decide
from health.models import Maintenance, Service, ServiceState, Status, Transition
from health.selectors import Cell, health_grid, service_cell
from health.sweeping import Sweeper
from opsportal.embedded import EmbeddedPostgres, EmbeddedRedis
from tests.health.platform import Platform
from tests.waiting import until

Register = Callable[..., Service]


@pytest.fixture
def sweeper(transactional_db: None) -> Iterator[Sweeper]:
    """A sweeper of this process; it is started by the test."""
    made = Sweeper()
    yield made
    made.stop()


def shown(name: str) -> Status:
    cell = service_cell(name)
    return cell.status if cell else Status.UNKNOWN


def cell_of(name: str) -> Cell:
    cell = service_cell(name)
    assert cell is not None
    return cell


def samples(service: Service) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM health_sample WHERE service_id = %s", [service.pk])
        return int(cursor.fetchone()[0])


def changes(service: Service) -> list[tuple[int, int]]:
    return list(
        Transition.objects.filter(service_id=service.pk).order_by("at", "id").values_list("from_status", "to_status")
    )


def test_sweep__services_of_every_kind__are_shown_as_they_are(
    sweeper: Sweeper, platform: Platform, register: Register
) -> None:
    """HM-2, HM-3, HM-4: each of its own status, with latency, reply time and reason."""
    for name, says in (("a", "healthy"), ("b", "degraded"), ("c", "unhealthy"), ("d", "ok")):
        service = platform.add(name)
        service.says = says
        register(service)
    positions = platform.add("positions")
    positions.calls_itself = "portfolio"
    register(positions)
    gone = platform.add("gone")
    gone.kill()
    register(gone)
    sweeper.start()
    until(lambda: shown("gone") == Status.UNREACHABLE)
    assert [shown(name) for name in "abcd"] == [
        Status.HEALTHY,
        Status.DEGRADED,
        Status.UNHEALTHY,
        Status.VIOLATION,
    ]
    assert (cell_of("d").field, cell_of("positions").field) == ("status", "service")
    assert "portfolio" in cell_of("positions").sentence
    healthy = cell_of("a")
    assert healthy.latency_us and 0 < healthy.latency_us < 1_000_000
    assert healthy.replied_at and abs((timezone.now() - healthy.replied_at).total_seconds()) < 5
    assert cell_of("gone").replied_at is None


def test_sweep__service_dies_and_returns__both_are_recorded_once(
    sweeper: Sweeper, platform: Platform, register: Register
) -> None:
    """HM-4, HM-8, HM-10: unreachable within two intervals, back with the first reply, and each change is in the history."""
    orders = platform.add("orders")
    row = register(orders, interval=2)
    sweeper.start()
    until(lambda: shown("orders") == Status.HEALTHY)
    until(lambda: changes(row) == [(Status.UNKNOWN, Status.HEALTHY)])
    killed = time.monotonic()
    orders.kill()
    until(lambda: shown("orders") == Status.UNREACHABLE)
    took = time.monotonic() - killed
    orders.start()
    until(lambda: shown("orders") == Status.HEALTHY)
    until(lambda: len(changes(row)) == 3)
    assert changes(row)[1:] == [(Status.HEALTHY, Status.UNREACHABLE), (Status.UNREACHABLE, Status.HEALTHY)]
    change = Transition.objects.filter(service_id=row.pk).order_by("at")[1]
    assert change.cause == "refused" and change.began_at <= change.at
    assert took < 2 * 2 + 2, "two intervals, and what a busy machine adds"


def test_sweep__one_service_hangs__the_others_are_probed_on_time(
    sweeper: Sweeper, platform: Platform, register: Register
) -> None:
    """HM-2: one slow service delays no other."""
    slow, quick = platform.add("slow"), platform.add("quick")
    slow.takes = 30.0
    register(slow, timeout=20.0)
    register(quick)
    sweeper.start()
    until(lambda: slow.asked == 1)
    asked = quick.asked
    until(lambda: quick.asked >= asked + 3)
    assert shown("quick") == Status.HEALTHY
    assert slow.asked == 1


def test_sweep__parent_dies__its_dependants_are_shown_and_recorded_as_caused_by_it(
    sweeper: Sweeper, platform: Platform, register: Register
) -> None:
    """HM-12: the child fails first and the parent is found later; still there is one cause."""
    gateway, orders = platform.add("gateway"), platform.add("orders")
    parent = register(gateway, interval=2)
    child = register(orders, parent)
    sweeper.start()
    until(lambda: shown("gateway") == shown("orders") == Status.HEALTHY)
    orders.says = "unhealthy"
    until(lambda: changes(child)[-1:] == [(Status.HEALTHY, Status.UNHEALTHY)])
    gateway.kill()
    until(lambda: cell_of("orders").caused_by == "gateway")
    until(lambda: Transition.objects.filter(service_id=child.pk, caused_by_id=parent.pk).exists())
    assert not Transition.objects.filter(service_id=parent.pk, caused_by_id__isnull=False).exists()


def test_sweep__maintenance__is_shown_and_marked_in_the_history(
    sweeper: Sweeper, platform: Platform, register: Register
) -> None:
    """HM-11: planned work is on the grid, and what happens meanwhile is marked as planned."""
    orders = platform.add("orders")
    row = register(orders)
    window = Maintenance.objects.create(
        starts_at=timezone.now() - timedelta(minutes=1), ends_at=timezone.now() + timedelta(hours=1), reason="Upgrade"
    )
    window.services.add(row)
    store.publish_registry()
    sweeper.start()
    until(lambda: shown("orders") == Status.HEALTHY)
    orders.kill()
    until(lambda: shown("orders") == Status.UNREACHABLE)
    assert cell_of("orders").maintenance == "Upgrade" and not cell_of("orders").is_trouble
    until(lambda: Transition.objects.filter(service_id=row.pk, to_status=Status.UNREACHABLE, planned=True).exists())


def test_sweep__registry_changes__are_followed_within_seconds(
    sweeper: Sweeper, platform: Platform, register: Register
) -> None:
    """HM-1: a new service is probed, a disabled one no longer, without a restart."""
    orders, risk = platform.add("orders"), platform.add("risk")
    row = register(orders)
    sweeper.start()
    until(lambda: shown("orders") == Status.HEALTHY)
    register(risk)
    until(lambda: shown("risk") == Status.HEALTHY)
    Service.objects.filter(pk=row.pk).update(enabled=False)
    store.publish_registry()
    until(lambda: service_cell("orders") is None)
    asked = orders.asked
    seen = risk.asked
    until(lambda: risk.asked > seen + 2)
    assert orders.asked <= asked + 1


def test_sweep__stops__nothing_stays_green(sweeper: Sweeper, platform: Platform, register: Register) -> None:
    """HM-4: with the sweep gone, two intervals later no cell is green, and the page says why."""
    register(platform.add("orders"))
    sweeper.start()
    until(lambda: shown("orders") == Status.HEALTHY)
    sweeper.stop()
    until(lambda: shown("orders") == Status.STALE)
    until(lambda: any("has not reported" in notice for notice in health_grid().notices))
    assert cell_of("orders").reply_status == Status.HEALTHY


def test_sweep__restarted__goes_on_from_the_recorded_status(
    sweeper: Sweeper, platform: Platform, register: Register
) -> None:
    """HM-8: a restart of the worker is no change of a service."""
    orders = platform.add("orders")
    row = register(orders)
    sweeper.start()
    until(lambda: changes(row) == [(Status.UNKNOWN, Status.HEALTHY)])
    since = cell_of("orders").since
    sweeper.stop()
    successor = Sweeper()
    successor.start()
    asked = orders.asked
    until(lambda: orders.asked > asked + 2)
    assert changes(row) == [(Status.UNKNOWN, Status.HEALTHY)]
    later = cell_of("orders").since
    assert since and later and abs((later - since).total_seconds()) < 1.0
    successor.stop()


def test_sweep__two_sweepers__one_sweeps_and_the_other_takes_over(
    sweeper: Sweeper, platform: Platform, register: Register
) -> None:
    """RUN-8, HM-2: twice the workers do not probe twice, and one that goes is replaced."""
    orders = platform.add("orders")
    row = register(orders)
    other = Sweeper()
    sweeper.start()
    until(lambda: sweeper.leads)
    other.start()
    before = orders.asked
    until(lambda: orders.asked >= before + 4)
    assert not other.leads
    assert samples(row) <= orders.asked
    sweeper.stop()
    until(lambda: other.leads)
    before = orders.asked
    until(lambda: orders.asked >= before + 2)
    assert changes(row) == [(Status.UNKNOWN, Status.HEALTHY)]
    other.stop()


def test_sweep__redis_down__goes_on_and_pages_read_postgresql(
    sweeper: Sweeper, platform: Platform, register: Register, redis_server: EmbeddedRedis
) -> None:
    """HM-4, Q-4: Redis stopped: history has no hole, the grid is true, and says where it comes from."""
    orders = platform.add("orders")
    row = register(orders)
    sweeper.start()
    until(lambda: samples(row) >= 2)
    with redis_server.stopped():
        had = samples(row)
        until(lambda: samples(row) >= had + 3)
        grid = health_grid()
        assert (grid.source, shown("orders")) == ("postgresql", Status.HEALTHY)
        assert "Redis does not answer" in grid.notices[0]
        orders.kill()
        until(lambda: shown("orders") == Status.UNREACHABLE)
    until(lambda: health_grid().source == "redis" and shown("orders") == Status.UNREACHABLE)


def test_sweep__postgresql_down__measures_on_and_writes_what_waited(
    sweeper: Sweeper, platform: Platform, register: Register, postgres_server: EmbeddedPostgres
) -> None:
    """HM-9, Q-4: PostgreSQL stopped: the grid stays live, and every sample and change is written when it is back."""
    orders = platform.add("orders")
    row = register(orders)
    sweeper.start()
    until(lambda: samples(row) >= 1)
    with postgres_server.stopped():
        connections.close_all()
        before = orders.asked
        until(lambda: orders.asked >= before + 4)
        orders.kill()
        until(lambda: shown("orders") == Status.UNREACHABLE)
        until(lambda: any("wait for it" in notice for notice in health_grid().notices))
        orders.start()
        until(lambda: shown("orders") == Status.HEALTHY)
    until(lambda: changes(row)[-2:] == [(Status.HEALTHY, Status.UNREACHABLE), (Status.UNREACHABLE, Status.HEALTHY)])
    sweeper.stop()
    assert samples(row) >= orders.asked - 1  # the last may have been cut off by the stop


def test_sweep__loop_held_up__throws_the_measurement_away(
    sweeper: Sweeper, platform: Platform, register: Register
) -> None:
    """HM-2, HM-6: a worker that was stopped and goes on must not take its own pause for an outage."""
    orders = platform.add("orders")
    row = register(orders, timeout=0.5)
    sweeper.start()
    until(lambda: shown("orders") == Status.HEALTHY)
    held = threading.Event()

    def hold_up() -> None:
        held.set()
        time.sleep(3.0)  # noqa: what is tested is a loop that does not run

    orders.takes = 0.3
    asked = orders.asked
    until(lambda: orders.asked > asked)
    assert sweeper.loop is not None
    sweeper.loop.call_soon_threadsafe(hold_up)
    held.wait(5)
    had = orders.asked
    until(lambda: orders.asked >= had + 3)
    until(lambda: shown("orders") == Status.HEALTHY)
    assert changes(row) == [(Status.UNKNOWN, Status.HEALTHY)]
    with connection.cursor() as cursor:
        cursor.execute("SELECT max(latency_us), count(*) FILTER (WHERE status = 5) FROM health_sample")
        assert cursor.fetchone()[0] < 2_000_000


def test_sweep__state_in_postgresql__is_what_a_successor_without_redis_reads(
    sweeper: Sweeper, platform: Platform, register: Register, redis: Any
) -> None:
    """HM-8, Q-4: Redis lost its data: the recorded status comes from PostgreSQL."""
    orders = platform.add("orders")
    row = register(orders)
    sweeper.start()
    until(lambda: ServiceState.objects.filter(service=row, status=Status.HEALTHY).exists())
    sweeper.stop()
    redis.flushall()
    successor = Sweeper()
    successor.start()
    asked = orders.asked
    until(lambda: orders.asked > asked + 1)
    successor.stop()
    assert changes(row) == [(Status.UNKNOWN, Status.HEALTHY)]


@pytest.mark.parametrize(
    ("lock", "lease", "leading", "leads"),
    [
        (True, True, False, True),
        (True, False, False, False),
        (False, None, True, False),
        (True, None, False, True),
        (None, True, False, True),
        (None, False, True, False),
        (None, None, True, True),
        (None, None, False, False),
    ],
)
def test_decide__lock_and_lease__whoever_answers_must_agree(
    lock: bool | None, lease: bool | None, leading: bool, leads: bool
) -> None:
    """RUN-8: one sweeps, whichever of PostgreSQL and Redis is away."""
    assert decide(lock, lease, leading=leading) == leads
