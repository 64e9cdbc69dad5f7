"""Early pytest plugin (`-p tests.servers`): a private PostgreSQL and Redis for each process that runs tests.

They start before Django reads its settings, whose environment is set here and replaces whatever the
shell says: tests never touch a database that somebody else uses. Both die with pytest, whatever ends it.
With `-n N` (pytest-xdist) each of the N workers has servers of its own, and the process that hands out the work has none.
"""

from __future__ import annotations

import argparse
import atexit
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from opsportal.embedded import EmbeddedPostgres, EmbeddedRedis, roles
from opsportal.embedded.environment import without_options
from opsportal.embedded.places import postgres_place

ROOT = Path(__file__).resolve().parents[1]
TEST_DATABASE = "test_opsportal"
FOLDER_PREFIX = "opsportal-test-"
#: What the settings need to be read at all; where nobody listens.
WITHOUT_SERVERS = {
    "ENVIRONMENT": "test",
    "DJANGO_SETTINGS_MODULE": "opsportal.settings.test",
    "DATABASE_URL": "postgresql://nobody:none@127.0.0.1:9/none",
    "DATABASE_OWNER_URL": "postgresql://owner:none@127.0.0.1:9/none",
    "REDIS_URL": "redis://127.0.0.1:9/0",
    "SECRET_KEY": "test-" + "s" * 60,
    "AUDIT_CHAIN_KEY": "test-" + "k" * 60,
    "FIELD_ENCRYPTION_KEYS": "test-" + "f" * 60,
    "ALERT_RECIPIENT_HASH_SECRET": "test-" + "h" * 60,
}


@dataclass(frozen=True)
class Servers:
    """The running servers and the folder (removed at the end) that everything of this run lies in."""

    folder: Path
    postgres: EmbeddedPostgres
    redis: EmbeddedRedis

    def environment(self) -> dict[str, str]:
        """What the portal's settings read."""
        return {
            **WITHOUT_SERVERS,
            "DATABASE_URL": self.postgres.url(roles.APPLICATION),
            "DATABASE_OWNER_URL": self.postgres.url(roles.OWNER),
            "REDIS_URL": self.redis.url,
            "AUDIT_CHECKPOINT_FILE": str(self.folder / "audit-checkpoints.jsonl"),
            "STATIC_ROOT": str(self.folder / "static"),
        }

    def stop(self) -> None:
        """Stop both and remove their folders. Safe to call twice."""
        self.redis.stop()
        # Nothing is to be kept: no need for the shutdown checkpoint.
        self.postgres.kill()
        for folder in (self.postgres.place.state, self.folder):
            shutil.rmtree(folder, ignore_errors=True)


_servers: Servers | None = None


def servers() -> Servers:
    """The servers of this run."""
    assert _servers is not None, "run pytest as `python -m pytest`, with `-p tests.servers`"
    return _servers


def hands_out_the_work(options: argparse.Namespace) -> bool:
    """Whether this process runs no tests itself: that of `-n N`, but none of its workers."""
    worker = "PYTEST_XDIST_WORKER" in os.environ
    return not worker and bool(getattr(options, "numprocesses", None) or getattr(options, "tx", None))


def superuser_url() -> str:
    """The test database as superuser: for the tests' own housekeeping and for playing the intruder."""
    return servers().postgres.url(roles.SUPERUSER)


def start() -> Servers:
    """Start both servers in a fresh folder."""
    base = Path(tempfile.gettempdir())
    _remove_abandoned(base)
    folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.getpid()}-", dir=base))
    # As root the binaries are shared with `make run` of this checkout: copied once, not at each run.
    place = postgres_place(ROOT / ".run" if os.geteuid() == 0 else folder, folder.name)
    _remove_abandoned(place.state.parent)
    started = Servers(
        folder=folder,
        postgres=EmbeddedPostgres(place, database=TEST_DATABASE, durable=False),
        redis=EmbeddedRedis(folder / "redis", durable=False),
    )
    try:
        started.postgres.start()
        started.redis.start()
    except BaseException:
        started.stop()
        raise
    return started


def _remove_abandoned(base: Path) -> None:
    """Folders whose pytest was killed; their servers died with it."""
    for folder in base.glob(f"{FOLDER_PREFIX}*"):
        owner = folder.name.removeprefix(FOLDER_PREFIX).split("-")[0]
        if owner.isdigit() and int(owner) != os.getpid() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Iterator[None]:
    """Before pytest-django loads the settings (a wrapper comes before all plain hooks)."""
    global _servers
    options = early_config.known_args_namespace
    if options.help or options.version:
        return (yield)
    for name in os.environ.keys() - without_options(os.environ).keys():
        del os.environ[name]
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    if hands_out_the_work(options):
        os.environ.update(WITHOUT_SERVERS)
        # Where a test's name holds a set, the workers must write it alike.
        os.environ.setdefault("PYTHONHASHSEED", str(random.SystemRandom().randint(1, 99_999)))
        return (yield)
    _servers = start()
    pid = os.getpid()
    atexit.register(lambda: _servers.stop() if _servers and os.getpid() == pid else None)
    os.environ.update(_servers.environment())
    return (yield)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Also after Ctrl-C."""
    if _servers is not None:
        _servers.stop()
