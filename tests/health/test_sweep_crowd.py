"""A sweep that has fallen behind, with every service due at once."""

from __future__ import annotations

import time
from typing import Any

from aiohttp import ClientSession
from django.db import connection

from health import store
from health.models import Service
from health.probes.base import ProbeResult, Target
from health.probes.http import probe
from health.sweeping import Sweeper
from tests.health.platform import Platform
from tests.waiting import until

SERVICES = 400
COST_SECONDS = 0.002


async def probe_on_a_slow_machine(session: ClientSession, target: Target) -> ProbeResult:
    """The probe, where beginning one costs what beginning ten does elsewhere."""
    begun = time.perf_counter()
    while time.perf_counter() - begun < COST_SECONDS:
        pass
    return await probe(session, target)


def measured_since(moment: Any) -> int:
    """Services with a sample of later than `moment`."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT service_id) FROM health_sample WHERE at > %s", [moment])
        return int(cursor.fetchone()[0])


def database_time() -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]


def test_sweep__everything_due_at_once__is_measured(transactional_db: None, platform: Platform) -> None:
    """HM-2, HM-9: beginning many probes in one go must not itself look like the pause that voids them, for ever."""
    url = platform.add("orders").url
    Service.objects.bulk_create(Service(name=f"orders-{n}", base_url=url, interval=2) for n in range(SERVICES))
    store.publish_registry()
    sweeper = Sweeper(probe_on_a_slow_machine)
    sweeper.start()
    try:
        beginning = database_time()
        until(lambda: measured_since(beginning) == SERVICES, seconds=30)
        assert sweeper.loop is not None
        sweeper.loop.call_soon_threadsafe(time.sleep, 3.0)  # longer than the interval: now all are due
        held_up = database_time()
        until(lambda: measured_since(held_up) == SERVICES, seconds=30)
    finally:
        sweeper.stop()
