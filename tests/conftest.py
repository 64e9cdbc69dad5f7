"""Fixtures of every test. The servers themselves come from the plugin `tests.servers`."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import pytest
import redis as redis_client
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.test import TransactionTestCase
from pytest_django import DjangoDbBlocker

from opsportal.embedded import EmbeddedPostgres, EmbeddedRedis
from tests import database
from tests.servers import hands_out_the_work, servers, superuser_url
from tests.workers import length_rank, order_seed_of

PASSWORD = "correct horse battery staple"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--order-seed N` repeats the order of an earlier run."""
    parser.addoption("--order-seed", type=int, default=None, help="seed of the tests' random order")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to go on with any database or Redis but the run's own."""
    if config.option.order_seed is None:
        config.option.order_seed = order_seed_of(config) or random.SystemRandom().randint(1, 99_999)
    if hands_out_the_work(config.option):
        return
    if str(settings.DATABASES["default"]["PORT"]) != str(servers().postgres.port):
        raise pytest.UsageError("the settings do not point at the tests' own PostgreSQL")
    if servers().redis.url != settings.REDIS_URL:
        raise pytest.UsageError("the settings do not point at the tests' own Redis")


def pytest_report_header(config: pytest.Config) -> str:
    """How to repeat this order."""
    return f"random order: --order-seed {config.option.order_seed}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Random order: files among themselves, and tests within their file (module fixtures stay shared).

    Where workers share the tests, what takes longest comes first.
    """
    unstable = [item.nodeid for item in items if " at 0x" in item.nodeid]
    if unstable:
        raise pytest.UsageError(f"the name of a test must be the same in every process, give it `ids`: {unstable[0]}")
    shuffler = random.Random(config.option.order_seed)
    keys: dict[str, float] = {}
    places: dict[str, float] = {}
    for item in sorted(items, key=lambda item: item.nodeid):
        keys.setdefault(str(item.path), shuffler.random())
        places[item.nodeid] = shuffler.random()
    items.sort(key=lambda item: (length_rank(config, item.nodeid), keys[str(item.path)], places[item.nodeid]))


@pytest.fixture(scope="session")
def django_db_setup(django_db_blocker: DjangoDbBlocker) -> None:
    """The test database, migrated and granted by `prepare` itself; then used as the application role."""
    with django_db_blocker.unblock():
        call_command("prepare", verbosity=0)
        connections.close_all()
    database.remember_baseline(superuser_url())


def _restore_tables(_case: TransactionTestCase) -> None:
    connections.close_all()
    database.restore_baseline(superuser_url())


TransactionTestCase._fixture_teardown = _restore_tables  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def _redis_connection() -> Iterator[redis_client.Redis]:
    client = redis_client.Redis.from_url(servers().redis.url, decode_responses=True)
    yield client
    client.close()


@pytest.fixture
def redis(_redis_connection: redis_client.Redis) -> redis_client.Redis:
    """A plain client of the tests' Redis, strings in and out: the platform's side of the wire."""
    return _redis_connection


@pytest.fixture(autouse=True)
def _empty_redis(_redis_connection: redis_client.Redis) -> None:
    from alerting.selectors.dashboard import forget_dashboard
    from apikeys.recognising import forget_rows
    from circuit.selectors import forget_readings
    from sysconf.selectors import forget_outage

    _redis_connection.flushall()
    forget_outage()
    forget_rows()
    forget_dashboard()
    forget_readings()  # what this process remembers of the breaker is state of an earlier test


@pytest.fixture
def redis_server() -> Iterator[EmbeddedRedis]:
    """The running Redis, for faults: `with redis_server.stopped():`, `.killed()`, `.paused()`."""
    server = servers().redis
    yield server
    server.start()


@pytest.fixture
def postgres_server(transactional_db: None) -> Iterator[EmbeddedPostgres]:
    """The running PostgreSQL, for faults: `with postgres_server.stopped():`, `.killed()`, `.paused()`."""
    server = servers().postgres
    yield server
    server.start()
    connections.close_all()


class Users:
    """One user of each role, each made when first asked for; all have the password `password`."""

    password = PASSWORD

    @cached_property
    def viewer(self) -> Any:
        """May look."""
        return self._made("viewer")

    @cached_property
    def operator(self) -> Any:
        """May trip and reset."""
        return self._made("operator")

    @cached_property
    def admin(self) -> Any:
        """May do everything the portal has."""
        return self._made("admin")

    def _made(self, role: str) -> Any:
        from tests.factories import UserFactory

        return UserFactory(role=role)  # type: ignore[no-untyped-call]


@pytest.fixture
def users(db: None) -> Users:
    """`users.viewer`, `users.operator`, `users.admin`."""
    return Users()
