"""`make run` end to end, in the order of a day: first start, a crash, a second start, the evening."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path

import psycopg
import pytest
import redis

from opsportal.demo.inbox import Letter, newest
from opsportal.embedded import processes
from tests.running.conftest import Checkout, Run
from tests.waiting import until


def get(checkout: Checkout, path: str) -> tuple[int, str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{checkout.port}{path}", timeout=10) as reply:
        return reply.status, reply.read().decode()


def test_make_run__from_nothing__through_a_crash__to_a_clean_end(checkout: Checkout) -> None:
    """RUN-1, RUN-2, RUN-4: one story, for each start takes seconds."""
    running = checkout.start()
    running.wait_for("ready:")
    _first_start_is_announced_and_serves(checkout, running)
    _files_are_private(checkout)
    _manage_py_works_beside_it(checkout)
    _services_are_watched(checkout)
    _an_alert_is_told(checkout)
    _second_start_is_refused(checkout)
    credentials = (checkout.run_folder / "credentials.json").read_text()
    with redis.Redis.from_url(checkout.variable("REDIS_URL")) as client:
        client.set("survivor", "1")

    _kill_everything(checkout, running)
    again = checkout.start()
    again.wait_for("ready:")
    with redis.Redis.from_url(checkout.variable("REDIS_URL")) as client:
        assert client.get("survivor") == b"1"
    with psycopg.connect(checkout.variable("DATABASE_URL")) as connection:
        # The demo platform has one of its own.
        assert connection.execute("SELECT count(*) FROM accounts_user").fetchone() == (4,)
    assert (checkout.run_folder / "credentials.json").read_text() == credentials

    assert again.end(signal.SIGTERM) == 0
    assert checkout.processes() == []


def _first_start_is_announced_and_serves(checkout: Checkout, running: Run) -> None:
    assert running.lines[-1] == f"ready: http://127.0.0.1:{checkout.port}/"
    credentials = json.loads((checkout.run_folder / "credentials.json").read_text())
    assert list(credentials) == ["viewer", "operator", "admin"]
    for user, password in credentials.items():
        line = running.wait_for("  user")
        assert line.split() == ["user", user, "password", password]
    assert get(checkout, "/admin/login/")[0] == 200
    assert get(checkout, "/readyz")[0] == 200


def _files_are_private(checkout: Checkout) -> None:
    assert stat.S_IMODE(checkout.run_folder.stat().st_mode) == 0o700
    for name in ("credentials.json", "env", "secrets.json"):
        assert stat.S_IMODE((checkout.run_folder / name).stat().st_mode) == 0o600


def _manage_py_works_beside_it(checkout: Checkout) -> None:
    done = checkout.manage("circuit", "status")
    assert done.returncode == 0, done.stderr
    assert "OPEN" in done.stdout


def _services_are_watched(checkout: Checkout) -> None:
    """HM-2, HM-4, RUN-3: eight services of the demo are live; one is killed for real and shown so, and comes back."""

    def state(service: str) -> str:
        found = re.search(rf'health_service_state{{service="{service}",state="(\w+)"}} 1', get(checkout, "/metrics")[1])
        return found.group(1) if found else ""

    until(lambda: state("risk") == state("broker-gateway") == "healthy", seconds=60)
    until(lambda: (state("pricing"), state("positions")) == ("violation", "violation"), seconds=60)
    killed = checkout.manage("demo", "kill", "broker-gateway")
    assert killed.returncode == 0, killed.stderr
    until(lambda: state("broker-gateway") == "unreachable", seconds=30)
    checkout.manage("demo", "start", "broker-gateway")
    until(lambda: state("broker-gateway") == "healthy", seconds=30)


def _an_alert_is_told(checkout: Checkout) -> None:
    """RUN-3, AL-2, AD-1: readings pushed with a key, a rule that fires, a mail in the demo's inbox with a link in it."""
    provoked = checkout.manage("demo", "drawdown", "momentum")
    assert provoked.returncode == 0, provoked.stderr
    with redis.Redis.from_url(checkout.variable("REDIS_URL"), decode_responses=True) as client:

        def mails() -> list[Letter]:
            # A slow start may have been told as well.
            return [letter for letter in newest(client) if letter.kind == "email" and "Drawdown" in letter.subject]

        until(lambda: bool(mails()), seconds=30)
        assert f"http://127.0.0.1:{checkout.port}/ack/" in mails()[0].text


def _second_start_is_refused(checkout: Checkout) -> None:
    second = checkout.start()
    line = second.wait_for("make run:")
    assert "already runs in this checkout" in line
    assert second.process.wait(10) == 1
    assert get(checkout, "/readyz")[0] == 200


def _kill_everything(checkout: Checkout, running: Run) -> None:
    everything = checkout.processes()
    assert len(everything) > 8
    processes.send(everything, signal.SIGKILL)
    running.process.wait(10)
    assert processes.wait_until_gone(everything, seconds=10) == []


def test_start__only_the_runner_was_killed__ends_what_it_left__and_one_dying_ends_all(
    checkout: Checkout,
) -> None:
    """RUN-1, RUN-4: kill -9 of the runner alone leaves port and data free; half a portal never looks like one."""
    first = checkout.start()
    first.wait_for("ready:")
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait(10)
    second = checkout.start()
    second.wait_for("ready:")
    assert get(checkout, "/readyz")[0] == 200

    beat = [process for process in checkout.processes() if "beat" in processes.arguments(process)]
    processes.send(beat, signal.SIGKILL)
    line = second.wait_for("make run:", seconds=30)
    assert "'beat' ended by itself" in line
    assert second.process.wait(10) == 1
    assert checkout.processes() == []


def test_start__port_taken__says_so_in_one_line(checkout: Checkout) -> None:
    """RUN-5's spirit: the line names PORT."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        run = checkout.start(PORT=str(stranger.getsockname()[1]))
        assert "is taken by another program" in run.wait_for("make run: PORT")
        assert run.process.wait(10) == 1


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [("PORT", "eighty", "it must be a number"), ("ENVIRONMENT", "production", "for development only")],
)
def test_start__wrong_setting__says_so_in_one_line(checkout: Checkout, name: str, value: str, said: str) -> None:
    """RUN-5: one clear line that names it."""
    run = checkout.start(**{name: value})
    assert said in run.wait_for(f"make run: {name}")
    assert run.process.wait(10) == 1


def test_start__urls_given__starts_nothing_embedded(tmp_path: Path, checkout: Checkout) -> None:
    """RUN-2: `DATABASE_URL` and `REDIS_URL` take the place of the embedded servers."""
    nowhere = {"DATABASE_URL": "postgresql://u:p@127.0.0.1:9/none", "REDIS_URL": "redis://127.0.0.1:9/0"}
    run = checkout.start(OPSPORTAL_RUN_DIR=str(tmp_path / "run"), **nowhere)
    assert "setting up the portal failed" in run.wait_for("make run:")
    assert run.process.wait(10) == 1
    assert not any("listens on port" in line for line in run.lines)
    assert not (tmp_path / "run" / "postgres").exists()
    assert not (tmp_path / "run" / "redis").exists()


def test_make_clean__removes_the_data_and_nothing_else(checkout: Checkout) -> None:
    """RUN-1: also what lies outside the checkout when we are root."""
    command = ["make", "--no-print-directory", "clean", f"PY={sys.executable}"]
    done = subprocess.run(command, cwd=checkout.root, env=checkout.environment(), check=False)
    assert done.returncode == 0
    assert not checkout.run_folder.exists()
    assert (checkout.root / "manage.py").exists()
