"""Servers of their own for the tests of the servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from opsportal.embedded import EmbeddedPostgres, EmbeddedRedis
from opsportal.embedded.places import postgres_place, remove_root_area


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run folder under a 0700 folder, as a home would be."""
    home = tmp_path_factory.mktemp("home")
    home.chmod(0o700)
    yield home / ".run"
    remove_root_area(home / ".run")


@pytest.fixture(scope="module")
def postgres(run_folder: Path) -> Iterator[EmbeddedPostgres]:
    """A running, durable PostgreSQL, as `make run` has it."""
    server = EmbeddedPostgres(postgres_place(run_folder))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def redis_instance(run_folder: Path) -> Iterator[EmbeddedRedis]:
    """A running, durable Redis, as `make run` has it."""
    server = EmbeddedRedis(run_folder / "redis")
    server.start()
    yield server
    server.stop()
