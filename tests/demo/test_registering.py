"""The demo's services in the portal's registry, and `manage.py demo_platform` from end to end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis as redis_client
from django.core.management import CommandError, call_command

from health.models import Service
from opsportal.demo.addresses import Addresses
from opsportal.demo.registering import register
from opsportal.demo.roster import BY_NAME, LISTENERS
from opsportal.embedded import EmbeddedPostgres, processes
from tests.demo.conftest import Demo
from tests.servers import ROOT
from tests.waiting import until


def _parents(name: str) -> set[str]:
    return set(Service.objects.get(name=name).depends_on.values_list("name", flat=True))


def test_register__first_time__eight_services_with_owner_and_dependencies(
    transactional_db: None, tmp_path: Path
) -> None:
    """RUN-3, HM-1, HM-12: positions is registered by its own name, whatever it calls itself."""
    addresses = Addresses(tmp_path / "demo.json")
    addresses.choose(LISTENERS)
    assert register(addresses)
    rows = {row.name: row for row in Service.objects.all()}
    assert set(rows) == set(BY_NAME)
    assert all(row.base_url == addresses.url(name) and row.owner for name, row in rows.items())
    assert _parents("orders") == {"broker-gateway", "risk"} and _parents("signals") == {"market-data"}


def test_register__again__follows_addresses_and_keeps_what_people_changed(
    transactional_db: None, tmp_path: Path
) -> None:
    """RUN-3, HM-1: a moved service's row moves with it; interval, owner and the switch stay as they were set."""
    addresses = Addresses(tmp_path / "demo.json")
    addresses.choose(LISTENERS)
    register(addresses)
    Service.objects.filter(name="risk").update(interval=30, owner="Night shift", enabled=False)
    addresses.choose_another("risk")
    assert register(addresses)
    risk = Service.objects.get(name="risk")
    assert risk.base_url == addresses.url("risk")
    assert (risk.interval, risk.owner, risk.enabled) == (30, "Night shift", False)


def test_register__postgresql_away__says_so(postgres_server: EmbeddedPostgres, tmp_path: Path) -> None:
    """RUN-3: the platform starts all the same and tries again."""
    path = tmp_path / "demo.json"
    with pytest.raises(CommandError, match="does not hold the demo's addresses"):
        call_command("demo_register", "--addresses", path)
    Addresses(path).choose(LISTENERS)
    with postgres_server.stopped():
        with pytest.raises(CommandError, match="PostgreSQL does not answer"):
            call_command("demo_register", "--addresses", path)
    call_command("demo_register", "--addresses", path)
    assert Service.objects.count() == 8


def test_demo__port_taken_while_a_service_is_dead__it_moves_and_row_and_dependants_follow(
    transactional_db: None, demo: Demo
) -> None:
    """RUN-3: a stranger on its port; the registry and those who depend on it learn where it is now."""
    demo.start("--pace=0")
    register(Addresses(demo.addresses))
    before = demo.ports["risk"]
    demo.ask("kill", "risk")
    with socket.create_server(("127.0.0.1", before)):
        demo.ask("start", "risk")
        until(lambda: demo.ports["risk"] != before and demo.status("risk") == "healthy")
        assert demo.status("orders") == "healthy"
        until(lambda: Service.objects.get(name="risk").base_url == f"http://127.0.0.1:{demo.ports['risk']}")


def test_demo_platform__command__registers_and_becomes_the_platform(
    transactional_db: None, redis: redis_client.Redis, tmp_path: Path
) -> None:
    """RUN-3, RUN-4: what the Procfile starts; SIGTERM ends all of it."""
    path = tmp_path / "demo.json"
    process = subprocess.Popen(
        [sys.executable, "manage.py", "demo_platform", "--no-mishaps", "--trip-every=0", f"--addresses={path}"],
        cwd=ROOT,
        env=os.environ,
    )
    try:
        until(lambda: path.exists() and len(psutil.Process(process.pid).children()) == 9)
        children = psutil.Process(process.pid).children()
        running = Demo(path, redis)
        until(lambda: all(running.status(name) != "down" for name in BY_NAME))
        assert Service.objects.count() == 8
        assert "--pace=0" in processes.arguments(psutil.Process(process.pid))
        assert not any("redis://" in word for word in processes.arguments(psutil.Process(process.pid)))
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert processes.wait_until_gone(children, seconds=1) == []


def test_demo_platform__production__is_refused(settings: Any, tmp_path: Path) -> None:
    """RUN-3: the demo never starts in production; neither do its other commands."""
    settings.IS_DEVELOPMENT = False
    for command in (("demo_platform",), ("demo", "list"), ("demo_register", "--addresses", tmp_path / "demo.json")):
        with pytest.raises(CommandError, match="development only"):
            call_command(*command)


def test_demo_platform__pace_of_nothing__is_refused() -> None:
    """RUN-3: no mishaps is a flag, not a speed."""
    with pytest.raises(CommandError, match="--no-mishaps"):
        call_command("demo_platform", "--pace=0")
