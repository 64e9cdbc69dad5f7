"""The demo's services as real processes, and what happens to them."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import psutil
import pytest
import redis as redis_client

from health.contract import Broken, parse_reply
from opsportal.demo.platform import ORDERS, STATE
from opsportal.demo.roster import BY_NAME, LISTENERS
from opsportal.embedded import processes
from opsportal.embedded.ports import free_port
from tests.demo.conftest import Demo, fetch
from tests.servers import ROOT
from tests.waiting import until


def _family(demo: Demo) -> list[psutil.Process]:
    assert demo.process is not None
    leader = psutil.Process(demo.process.pid)
    return [leader, *leader.children()]


def test_demo__running__eight_processes_answer_as_the_roster_says(quiet_demo: Demo) -> None:
    """RUN-3, HM-3: over real HTTP; one breaks the contract, one calls itself another, one is slow."""
    assert len(quiet_demo.family) == 10  # the platform, its services, and the world outside
    for name, port in ((name, quiet_demo.ports[name]) for name in BY_NAME):
        found = fetch(port)
        assert found is not None
        if name == "pricing":
            with pytest.raises(Broken, match="status"):
                parse_reply(found[1])
        else:
            assert found[0] == 200 and parse_reply(found[1]).status == "healthy", name
    assert quiet_demo.reply("positions")[1]["service"] == "portfolio"  # type: ignore[index]


def test_demo__memory__is_light(quiet_demo: Demo) -> None:
    """RUN-3: `make run` must not cost the machine; megabytes as the kernel counts them, shared ones each time."""
    resident = [process.memory_info().rss / 1e6 for process in quiet_demo.family]
    assert sum(resident) < 240, resident


def test_service__kept_alive_connection__is_answered_again(quiet_demo: Demo) -> None:
    """HM-2: the sweep keeps its connections; other paths and methods are refused in HTTP."""
    connection = http.client.HTTPConnection("127.0.0.1", quiet_demo.ports["orders"], timeout=5)
    answers = []
    for method, path in (("GET", "/health"), ("GET", "/nothing"), ("POST", "/health"), ("GET", "/health?x=1")):
        connection.request(method, path)
        reply = connection.getresponse()
        answers.append((reply.status, bool(reply.read())))
    connection.close()
    assert answers == [(200, True), (404, True), (405, True), (200, True)]


def test_kill__service__stays_dead_with_its_dependants_in_trouble_until_start(quiet_demo: Demo) -> None:
    """RUN-3, HM-12: a real SIGKILL; orders is told by its own calls; `start` brings it back on the same port."""
    ports = quiet_demo.ports
    [victim] = [process for process in quiet_demo.family if "broker-gateway" in processes.arguments(process)]
    answer = quiet_demo.ask("kill", "broker-gateway")
    assert answer.ok and str(victim.pid) in answer.lines[0]
    assert processes.wait_until_gone([victim], seconds=5) == []
    assert quiet_demo.status("broker-gateway") == "down"
    code, said = quiet_demo.reply("orders") or (0, {})
    assert code == 503 and said["details"]["reason"] == "broker-gateway does not answer"
    assert any("dead until `start`" in line for line in quiet_demo.ask("list").lines)
    assert not quiet_demo.ask("slow", "broker-gateway").ok
    assert quiet_demo.ask("start", "broker-gateway").ok
    until(lambda: quiet_demo.status("broker-gateway") == "healthy")
    assert quiet_demo.status("orders") == "healthy" and quiet_demo.ports == ports
    assert "already" in quiet_demo.ask("start", "broker-gateway").lines[0]


def test_modes__asked_for__change_the_running_service_until_heal(quiet_demo: Demo) -> None:
    """RUN-3: degrade, break and heal reach the process, and what depends on it."""
    assert quiet_demo.ask("degrade", "market-data").ok
    until(lambda: quiet_demo.status("market-data") == "degraded")
    assert quiet_demo.status("signals") == "degraded"
    assert quiet_demo.ask("break", "market-data").ok
    until(lambda: quiet_demo.status("market-data") == "ok")
    assert any("break, degrade" in line for line in quiet_demo.ask("list").lines)
    assert quiet_demo.ask("heal", "market-data").ok
    until(lambda: quiet_demo.status("market-data") == "healthy")


def test_slow__service__takes_seconds_and_its_dependant_notices(quiet_demo: Demo) -> None:
    """RUN-3: the one who depends on it does not wait for it."""
    assert quiet_demo.ask("slow", "market-data").ok
    until(lambda: quiet_demo.status("signals") == "degraded")
    assert quiet_demo.status("market-data") == "healthy"


def test_orders__breaker_tripped__is_told_and_sends_none(quiet_demo: Demo, redis: redis_client.Redis) -> None:
    """RUN-3, CB-2: the running platform stops at a trip and goes on after the reset."""

    def trading() -> str:
        found = quiet_demo.reply("orders")
        return str(found[1]["details"].get("trading", "on")) if found else "down"

    redis.set(STATE, "OPEN")
    until(lambda: trading() == "on")
    redis.set(STATE, "TRIPPED")
    until(lambda: trading() == "halted")
    sent = redis.xlen(ORDERS)
    redis.set(STATE, "OPEN")
    until(lambda: trading() == "on" and redis.xlen(ORDERS) > sent)


def test_broker_gateway__mishaps__dies_and_returns_by_itself(demo: Demo) -> None:
    """RUN-3: at 100 times the pace it dies after about 4 s and is back after about 0.4 s, as another process."""
    demo.start("--pace=100", "--seed=7")

    def pid() -> int:
        assert demo.process is not None
        found = [
            process.pid
            for process in psutil.Process(demo.process.pid).children()
            if "broker-gateway" in processes.arguments(process) and processes.is_alive(process)
        ]
        return found[0] if found else 0

    first = until(pid)
    until(lambda: pid() != first, what="it dies")
    until(lambda: pid() not in (0, first), what="it is back")
    until(lambda: demo.status("broker-gateway") == "healthy")
    demo.family = _family(demo)


def test_process__killed_by_hand__is_down_long_enough_to_be_seen_and_returns(demo: Demo) -> None:
    """RUN-3: not held by anybody, so it comes back by itself."""
    demo.start("--pace=8")  # some seconds, within which a busy machine can ask as well
    [victim] = [process for process in demo.family if "risk" in processes.arguments(process)]
    victim.kill()
    processes.wait_until_gone([victim], seconds=5)
    until(lambda: any("returns in" in line for line in demo.ask("list").lines if line.startswith("risk")))
    assert demo.status("risk") == "down"
    until(lambda: demo.status("risk") == "healthy")
    demo.family = _family(demo)


def test_demo__sigterm__ends_all_in_good_order(quiet_demo: Demo, listening: Callable[[], int]) -> None:
    """RUN-4: nothing is left, and nobody listens for requests any more."""
    assert quiet_demo.end(signal.SIGTERM) == 0
    assert processes.wait_until_gone(quiet_demo.family, seconds=1) == []
    until(lambda: listening() == 0)


def test_demo__kill_9__leaves_no_service(quiet_demo: Demo) -> None:
    """RUN-4: the services die with it, whatever ended it."""
    assert quiet_demo.end(signal.SIGKILL) == -signal.SIGKILL
    assert processes.wait_until_gone(quiet_demo.family, seconds=5) == []


def test_demo__second_start__keeps_the_ports__but_one_that_is_taken(quiet_demo: Demo) -> None:
    """RUN-1, RUN-3: charts and rows stay with the same address; a stranger on a port is stepped round."""
    before = quiet_demo.ports
    quiet_demo.end()
    with socket.create_server(("127.0.0.1", before["risk"])):
        quiet_demo.start("--pace=0")
        after = quiet_demo.ports
    assert after["risk"] != before["risk"]
    assert {**after, "risk": 0} == {**before, "risk": 0}
    assert quiet_demo.addresses.stat().st_mode & 0o777 == 0o600


def test_service__its_starter_gone__ends(redis: redis_client.Redis) -> None:
    """RUN-4: where the kernel does not see to it, the closing of its standard input does. Nonsense is passed over."""
    port = free_port()
    command = [sys.executable, "-m", "opsportal.demo.service", "risk", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, text=True)
    try:
        until(lambda: fetch(port) is not None)
        assert process.stdin is not None
        process.stdin.write('nonsense\n{"modes": 7}\n[]\n')
        process.stdin.flush()
        assert fetch(port) is not None and process.poll() is None
        process.stdin.close()
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.wait(5)


def test_service__environment__has_no_secret_of_the_portal(quiet_demo: Demo) -> None:
    """RUN-3: a service of the platform gets neither database nor Redis password."""
    services = [process for process in quiet_demo.family if "opsportal.demo.service" in process.cmdline()]
    assert len(services) == 8
    for process in services:
        names = set(process.environ())
        assert names.isdisjoint({"DATABASE_URL", "REDIS_URL", "SECRET_KEY", "AUDIT_CHAIN_KEY"})
    assert "REDIS_URL" in os.environ


def test_redis__away__services_live_on_and_requests_are_heard_again(
    demo: Demo, redis_server: Any, listening: Callable[[], int]
) -> None:
    """RUN-3, CB-10: Redis may come and go."""
    demo.start("--pace=0")
    with redis_server.stopped():
        assert demo.status("risk") == "healthy"
    until(lambda: listening() == 1, what="it listens again")
    assert demo.ask("degrade", "risk").ok
    assert set(demo.ports) == set(LISTENERS)
