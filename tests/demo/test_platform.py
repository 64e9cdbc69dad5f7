"""The demo platform behaves as a platform does: it obeys the breaker, and trips it without asking."""

from __future__ import annotations

import json
import random
import stat
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from circuit import services, watching
from circuit.models import Source, Transition
from circuit.selectors import read_breaker
from opsportal.demo.platform import ORDERS, Platform
from tests.desk import DESK


def platform(redis: redis_client.Redis, **changes: Any) -> Platform:
    return Platform(redis, chance=random.Random(7), **{"trip_every": 0, **changes})


@pytest.mark.parametrize("dialect", ["canonical", "json"])
def test_platform__stops_at_a_trip_of_the_portal_and_goes_on_after_the_reset(
    db: None, redis: redis_client.Redis, settings: Any, dialect: str
) -> None:
    """CB-3, CB-4: a reader of either dialect sees what the portal did."""
    settings.CIRCUIT_DIALECT = dialect
    trader = platform(redis, dialect=dialect)
    assert trader.step() == "refused"  # nothing there: fail closed
    services.init_breaker(by=DESK)
    assert trader.step() == "sent"
    services.trip_breaker(by=DESK, reason="limit")
    assert trader.step() == "refused"
    services.reset_breaker(by=DESK, reason="Checked positions and limits; all clear.", acknowledged=True)
    assert trader.step() == "sent" and redis.xlen(ORDERS) == 2


@pytest.mark.parametrize("dialect", ["canonical", "json"])
def test_platform__trips_by_itself__the_portal_notices(
    db: None, redis: redis_client.Redis, settings: Any, dialect: str
) -> None:
    """CB-3, CB-9: straight in Redis, recorded as external with its reason."""
    settings.CIRCUIT_DIALECT = dialect
    services.init_breaker(by=DESK)
    assert platform(redis, dialect=dialect, trip_every=1).step() == "tripped"
    watching.notice_external_change()
    row = Transition.objects.get(kind="trip")
    assert row.source == Source.EXTERNAL and row.reason
    assert read_breaker().decoded.reason == row.reason


def test_seed__first_start__users_that_can_sign_in_and_an_open_breaker(db: None, tmp_path: Path) -> None:
    """RUN-4, CB-2: private passwords, and OPEN only at the very first start."""
    path = tmp_path / "credentials.json"
    call_command("seed_demo", "--credentials", path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    passwords = json.loads(path.read_text())
    for role in ("viewer", "operator", "admin"):
        answer = Client().post(reverse("admin:login"), {"username": role, "password": passwords[role]})
        assert answer.status_code == 302, role
    assert read_breaker().state == "OPEN"


def test_seed__again__keeps_passwords_and_never_reopens(db: None, tmp_path: Path, redis: redis_client.Redis) -> None:
    """RUN-1, CB-2: a later start leaves a lost state UNKNOWN; a deleted file gets new passwords that work."""
    path = tmp_path / "credentials.json"
    call_command("seed_demo", "--credentials", path)
    before = path.read_text()
    redis.flushall()
    call_command("seed_demo", "--credentials", path)
    assert path.read_text() == before and read_breaker().state == "UNKNOWN"
    path.unlink()
    call_command("seed_demo", "--credentials", path)
    password = json.loads(path.read_text())["operator"]
    assert Client().post(reverse("admin:login"), {"username": "operator", "password": password}).status_code == 302


def test_seed__production__is_refused(db: None, tmp_path: Path, settings: Any) -> None:
    """RUN-3: the demo never starts in production."""
    settings.IS_DEVELOPMENT = False
    with pytest.raises(CommandError, match="development only"):
        call_command("seed_demo", "--credentials", tmp_path / "credentials.json")
