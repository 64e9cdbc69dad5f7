"""What the portal itself makes of its configuration: header, breaker, overview."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import redis as redis_client
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.test import Client
from django.urls import reverse

from circuit import services, store
from circuit.errors import WrongState
from circuit.models import Source
from circuit.selectors import forget_readings, read_breaker
from opsportal.accounts.actors import Actor
from opsportal.audit.models import Entry
from tests.desk import DESK, WHY
from tests.sysconf.desk import DEFAULTS, save, signed_in, spoil

RULE = Actor.system("drawdown rule")
BADGE = "Dry run<span"


@pytest.fixture(autouse=True)
def _open(db: None) -> None:
    forget_readings()
    services.init_breaker(by=DESK)


def breaker_card(client: Client) -> str:
    forget_readings()
    return str(client.get(reverse("admin:circuit_fragment")).content.decode())


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
def test_header__dry_run__is_said_on_every_page(users: Any, role: str) -> None:
    """CF-1: everybody must know whether orders are real; nothing is said when they are."""
    client = signed_in(getattr(users, role))
    for path in ("admin:index", "admin:circuit", "admin:password_change", "admin:sysconfig_state_fragment"):
        assert BADGE in client.get(reverse(path)).content.decode()
    save(DEFAULTS, dry_run=False)
    for path in ("admin:index", "admin:circuit", "admin:sysconfig_state_fragment"):
        assert "Dry run" not in client.get(reverse(path)).content.decode()


def test_header__nobody_signed_in__says_nothing(db: None) -> None:
    """AUTH-3: the badge's poll never throws a form away, and tells strangers nothing."""
    answer = Client().get(reverse("admin:sysconfig_state_fragment"), headers={"HX-Request": "true"})
    assert (answer.status_code, answer.content) == (204, b"") and "HX-Redirect" not in answer
    assert "Dry run" not in Client().get(reverse("admin:login")).content.decode()


def test_header__cached__asks_postgresql_nothing(users: Any, django_assert_num_queries: Any) -> None:
    """CF-2: every page has it, so it must cost nothing."""
    client = signed_in(users.viewer)
    for _ in range(2):
        client.get(reverse("admin:sysconfig_state_fragment"))
    with django_assert_num_queries(0):
        client.get(reverse("admin:sysconfig_state_fragment"))


def test_breaker__poll__asks_postgresql_nothing_and_shows_changes(users: Any, django_assert_num_queries: Any) -> None:
    """CB-10, CF-1: the polled card has the drawdown limit, 304 while nothing changes, and is never stale."""
    client = signed_in(users.viewer)
    assert "Drawdown limit</dt><dd>5 %" in breaker_card(client)
    etag = client.get(reverse("admin:circuit_fragment"))["ETag"]
    forget_readings()
    with django_assert_num_queries(0):
        assert client.get(reverse("admin:circuit_fragment"), headers={"If-None-Match": etag}).status_code == 304
    save(DEFAULTS, drawdown_threshold=0.125)
    forget_readings()
    answer = client.get(reverse("admin:circuit_fragment"), headers={"If-None-Match": etag})
    assert answer.status_code == 200 and "12.5 %" in answer.content.decode()


def test_breaker__switched_off__is_said_with_who_and_since_when(users: Any) -> None:
    """CF-1: on the breaker's page and the overview; a later change of something else changes neither who nor when."""
    save(DEFAULTS, by=Actor.of(users.admin), circuit_breaker_enabled=False)
    save(DEFAULTS, drawdown_threshold=0.04)
    client = signed_in(users.viewer)
    said = f"The breaker is switched off in the configuration by {users.admin.username} since "
    assert said in breaker_card(client)
    overview = client.get(reverse("admin:overview_fragment")).content.decode()
    assert said in overview and "automatic trips are ignored" in overview


def test_rule__breaker_switched_off__trips_nothing_and_is_audited(users: Any) -> None:
    """CF-1: automatic trips are ignored; by hand, API and command line it trips all the same."""
    save(DEFAULTS, circuit_breaker_enabled=False)
    with pytest.raises(WrongState, match="so the rule did not trip it"):
        services.trip_breaker(by=RULE, reason="Drawdown 6 %", category="drawdown", source=Source.RULE)
    assert read_breaker().state == "OPEN"
    assert Entry.objects.get(event="circuit_trip", outcome="failed").actor_label == "drawdown rule"
    for source in (Source.PORTAL, Source.API, Source.CLI):
        assert services.trip_breaker(by=DESK, reason="by hand", source=source).state == "TRIPPED"
        services.reset_breaker(by=DESK, reason=WHY, acknowledged=True)
        store.end_cooldown()


def test_rule__breaker_on__trips(db: None) -> None:
    """CF-1: as long as nobody has switched it off."""
    assert services.trip_breaker(by=RULE, reason="Drawdown 6 %", source=Source.RULE).state == "TRIPPED"


def test_rule__configuration_unreadable__trips(users: Any) -> None:
    """CB-8: fail safe; and the page says that it cannot be read."""
    spoil(DEFAULTS, {"dry_run": True, "circuit_breaker_enabled": False, "drawdown_threshold": "much"})
    client = signed_in(users.viewer)
    card = breaker_card(client)
    assert "is not valid" in card and "automatic trips work" in card and "cannot be read" in card
    assert "Configuration unreadable" in client.get(reverse("admin:circuit")).content.decode()
    assert services.trip_breaker(by=RULE, reason="Drawdown 6 %", source=Source.RULE).state == "TRIPPED"


def test_rule__postgresql_down_and_cache_empty__trips(
    users: Any, redis: redis_client.Redis, postgres_server: Any
) -> None:
    """CB-8: a halt never waits for the configuration, neither a rule's nor one by hand; the pages render."""
    client = signed_in(users.operator, raise_request_exception=False)
    client.get(reverse("admin:circuit"))
    redis.delete(f"system_config:{DEFAULTS}")
    with postgres_server.stopped():
        connections.close_all()
        assert services.trip_breaker(by=RULE, reason="Drawdown 6 %", source=Source.RULE).state == "TRIPPED"
        page = client.get(reverse("admin:circuit"))
        assert page.status_code == 200 and "Configuration unreadable" in page.content.decode()
        assert "cannot be read" in breaker_card(client)


def test_breaker__redis_down__card_renders_with_the_last_settings(
    users: Any, redis_server: Any, transactional_db: None
) -> None:
    """CB-10: the stale card shows the settings that it had."""
    save(DEFAULTS, drawdown_threshold=0.04)
    client = signed_in(users.viewer)
    assert "4 %" in breaker_card(client)
    read_breaker()
    with redis_server.stopped():
        assert "4 %" in client.get(reverse("admin:circuit")).content.decode()
        forget_readings()
        assert "4 %" in client.get(reverse("admin:circuit")).content.decode()


SWITCHED_OFF = """
import json, sys
import django; django.setup()
from django.conf import settings
from django.test import Client
from opsportal.accounts.models import User
client = Client(headers={"host": "localhost"})
client.force_login(User.objects.get(username=sys.argv[1]), backend="opsportal.accounts.backends.CachedUserBackend")
page = client.get("/admin/circuit/").content.decode()
print(json.dumps({
    "gone": [client.get(path).status_code for path in ("/admin/sysconfig/", "/api/v1/config/trading_hours")],
    "schema": "/api/v1/config" in client.get("/api/schema/").content.decode(),
    "links": "sysconfig" in page.replace("sysconfig.css", ""),
    "tasks": any("sysconfig" in name for name in settings.CELERY_BEAT_SCHEDULE),
    "obeyed": "switched off in the configuration" in page and "Dry run" not in page,
}))
"""


def test_feature_off__no_pages_and_the_last_saved_values_still_hold(users: Any, transactional_db: None) -> None:
    """RUN-9: pages, API, navigation and tasks go; the data stays, and the portal obeys it."""
    assert "sysconfig.settle" in {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    save(DEFAULTS, dry_run=False, circuit_breaker_enabled=False)
    ran = subprocess.run(
        [sys.executable, "-c", SWITCHED_OFF, users.admin.username],
        env=os.environ | {"FEATURE_SYSCONFIG": "false", "LOG_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout.strip().splitlines()[-1])
    assert seen == {"gone": [404, 404], "schema": False, "links": False, "tasks": False, "obeyed": True}


def test_status_command__configuration_invalid__works(db: None, capsys: pytest.CaptureFixture[str]) -> None:
    """CB-4: what is wrong with the configuration is no trouble of the command line."""
    spoil(DEFAULTS, {})
    spoil(DEFAULTS, {"x": 1})
    call_command("circuit", "status")
    assert "OPEN · trading" in capsys.readouterr().out
