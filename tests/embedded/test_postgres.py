"""The embedded PostgreSQL: kept data, refused strangers, and crashes survived (RUN-1, RUN-2)."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from opsportal.embedded import EmbeddedPostgres, EmbeddedServerError, places, processes, roles
from opsportal.embedded.ports import is_free
from tests.servers import ROOT


@contextmanager
def connected(server: EmbeddedPostgres, role: str = roles.OWNER) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.url(role), autocommit=True) as connection:
        yield connection


def test_restart__after_clean_stop__keeps_data_and_port(postgres: EmbeddedPostgres) -> None:
    """RUN-1: a second start keeps the data."""
    with connected(postgres) as connection:
        connection.execute("CREATE TABLE kept_by_stop AS SELECT 42 AS answer")
    before = postgres.port
    with postgres.stopped():
        assert is_free(before or 0)
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(postgres.url(roles.OWNER), connect_timeout=2)
    with connected(postgres) as connection:
        assert connection.execute("SELECT answer FROM kept_by_stop").fetchone() == (42,)
    assert postgres.port == before


def test_restart__after_kill_9__keeps_committed_data(postgres: EmbeddedPostgres) -> None:
    """RUN-1: safe after kill -9."""
    with connected(postgres) as connection:
        connection.execute("CREATE TABLE kept_by_kill AS SELECT 43 AS answer")
    with postgres.killed():
        pass
    with connected(postgres) as connection:
        assert connection.execute("SELECT answer FROM kept_by_kill").fetchone() == (43,)


def test_restart__postmaster_killed_its_children_alive__takes_over(postgres: EmbeddedPostgres) -> None:
    """RUN-1: orphaned backends still at work on the data do not block the next start."""
    with connected(postgres) as connection:
        connection.execute("CREATE TABLE kept_by_orphans AS SELECT 44 AS answer")
    assert postgres.pid is not None
    children = psutil.Process(postgres.pid).children()
    processes.send(children, signal.SIGSTOP)  # so that they do not notice its death
    os.kill(postgres.pid, signal.SIGKILL)
    postgres.kill()
    second = EmbeddedPostgres(postgres.place)
    second.start()
    try:
        assert not [child for child in children if processes.is_alive(child)]
        with connected(second) as connection:
            assert connection.execute("SELECT answer FROM kept_by_orphans").fetchone() == (44,)
    finally:
        second.stop()
        postgres.start()


def test_restart__lock_names_a_stranger__starts_all_the_same(postgres: EmbeddedPostgres) -> None:
    """RUN-1: after a reboot the process id in postmaster.pid may be anybody's."""
    postgres.stop()
    lock = postgres.data / "postmaster.pid"
    lock.write_text(f"{os.getpid()}\n{postgres.data}\n1\n{postgres.port}\n\n127.0.0.1\n\n")
    postgres.start()
    assert postgres.is_running


def test_restart__port_taken_meanwhile__moves_to_another(postgres: EmbeddedPostgres) -> None:
    """RUN-1: somebody else's server on our last port is no obstacle."""
    postgres.stop()
    before = postgres.port
    with socket.create_server(("127.0.0.1", before or 0)):
        postgres.start()
        assert postgres.port != before
    with connected(postgres) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_sign_in__wrong_or_no_password__is_refused(postgres: EmbeddedPostgres) -> None:
    """RUN-2: never `trust`."""
    for role in (roles.SUPERUSER, roles.OWNER, roles.APPLICATION):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(host="127.0.0.1", port=postgres.port, user=role, password="guess")
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(host="127.0.0.1", port=postgres.port, user=role, dbname="opsportal")


def test_roles__application__owns_and_creates_nothing(postgres: EmbeddedPostgres) -> None:
    """AU-2: the application role lives by grants alone."""
    with connected(postgres, roles.APPLICATION) as connection:
        for statement in ("CREATE TABLE mine (i int)", "CREATE DATABASE mine", "CREATE ROLE mine"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
    with connected(postgres, roles.OWNER) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("ALTER ROLE opsportal_owner SUPERUSER")


def test_settings__durable__waits_for_the_disk_on_loopback_only(postgres: EmbeddedPostgres) -> None:
    """RUN-1: `make run` keeps what was committed; nobody else on the network can reach it."""
    with connected(postgres, roles.SUPERUSER) as connection:
        for name, value in (
            ("fsync", "on"),
            ("full_page_writes", "on"),
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", ""),
            ("password_encryption", "scram-sha-256"),
        ):
            assert connection.execute(f"SHOW {name}").fetchone() == (value,)
        methods = connection.execute("SELECT DISTINCT auth_method FROM pg_hba_file_rules").fetchall()
        assert methods == [("scram-sha-256",)]


def test_files__of_the_server__are_closed_to_others(postgres: EmbeddedPostgres) -> None:
    """RUN-1: as root too, where they lie outside the checkout."""
    assert stat.S_IMODE(postgres.data.stat().st_mode) == 0o700
    assert stat.S_IMODE((postgres.place.state / "server.json").stat().st_mode) == 0o600
    assert not list(postgres.place.state.glob("*.password"))


def test_place__as_ordinary_user__is_in_the_run_folder__as_root__opens_no_foreign_folder(
    postgres: EmbeddedPostgres, run_folder: Path
) -> None:
    """RUN-1: nothing outside the checkout; as root one folder, closed to other processes of `nobody` too."""
    assert stat.S_IMODE(run_folder.parent.stat().st_mode) == 0o700
    if os.geteuid() != 0:
        assert run_folder in postgres.data.parents
        return
    assert postgres.pid is not None
    leader = psutil.Process(postgres.pid)
    account = postgres.place.account
    assert account is not None
    assert account.uid == leader.uids().effective != 0
    assert leader.gids().effective == account.gid
    area = places.root_area(run_folder)
    assert (area.stat().st_uid, stat.S_IMODE(area.stat().st_mode)) == (0, 0o710)
    other_of_nobody = subprocess.run(
        ["/bin/ls", str(area)],
        user=account.uid,
        group=account.uid,
        extra_groups=[],
        check=False,
        capture_output=True,
    )
    assert other_of_nobody.returncode != 0


def test_start__data_of_another_major_version__says_what_to_do(postgres: EmbeddedPostgres) -> None:
    """RUN-5's spirit: one clear line."""
    postgres.stop()
    version = postgres.data / "PG_VERSION"
    kept = version.read_text()
    version.write_text("9\n")
    try:
        with pytest.raises(EmbeddedServerError, match=r"made by PostgreSQL 9.*pg_dump"):
            postgres.start()
    finally:
        version.write_text(kept)
        postgres.start()


def test_start__server_cannot_start__shows_the_log(postgres: EmbeddedPostgres) -> None:
    """RUN-5's spirit: the error carries PostgreSQL's own words."""
    postgres.stop()
    settings = postgres.data / "postgresql.conf"
    kept = settings.read_text()
    settings.write_text(kept + "\nno_such_setting = 1\n")
    try:
        with pytest.raises(EmbeddedServerError, match="no_such_setting"):
            postgres.start()
    finally:
        settings.write_text(kept)
        postgres.start()


def test_start__checkout_was_moved__keeps_its_data(tmp_path: Path) -> None:
    """RUN-1: as root the data lie elsewhere, under a name made of the checkout's old path."""
    old, new = tmp_path / "old" / ".run", tmp_path / "new" / ".run"
    try:
        for run_folder, statement in ((old, "CREATE TABLE moved (i int)"), (new, "SELECT * FROM moved")):
            if run_folder is new:
                old.parent.rename(new.parent)
            place = places.postgres_place(run_folder)
            places.write_pointer(run_folder, place)
            server = EmbeddedPostgres(place, durable=False)
            server.start()
            try:
                with connected(server) as connection:
                    connection.execute(statement)
            finally:
                server.stop()
    finally:
        places.remove_root_area(old)
        places.remove_root_area(new)


def test_parent__killed_9__takes_the_servers_along(tmp_path: Path) -> None:
    """RUN-4: no process is left behind."""
    script = f"""
import os, signal
from pathlib import Path
from opsportal.embedded import EmbeddedPostgres, EmbeddedRedis
from opsportal.embedded.places import postgres_place
run = Path({str(tmp_path)!r})
postgres = EmbeddedPostgres(postgres_place(run), durable=False)
redis = EmbeddedRedis(run / "redis")
postgres.start(); redis.start()
print(postgres.pid, redis.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    try:
        run = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
        left = []
        for pid in run.stdout.split():
            try:
                left.append(psutil.Process(int(pid)))
            except psutil.NoSuchProcess:
                continue
        assert len(run.stdout.split()) == 2, run.stderr
        if not sys.platform.startswith("linux"):  # elsewhere the next start ends them
            processes.end(left, polite=signal.SIGINT, grace=10)
        assert processes.wait_until_gone(left, seconds=10) == []
    finally:
        places.remove_root_area(tmp_path)
