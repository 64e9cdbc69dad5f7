"""When nobody ticks, the portal sees nothing of what it watches itself: every place that tells of alerting says so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import yaml
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.utils import timezone

from alerting import ticks
from alerting.models import Gate
from alerting.selectors.dashboard import forget_dashboard
from alerting.ticking import LOCK, Ticker
from opsportal.observability import probes
from opsportal.observability.postgres import connect_apart
from tests.alerting.operating import a_message, an_alert, mail_channel, signed_in, text
from tests.alerting.outgoing import make_webhook
from tests.servers import ROOT

pytestmark = pytest.mark.django_db(transaction=True)
PAGE, OVERVIEW = "/admin/alerting/", "/admin/"


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    every = (ticks.probe_ticks, probes.probe_postgresql, probes.probe_redis)
    for probe in every:  # what an earlier test's fault left behind
        probe.forget()
    yield
    for probe in every:
        probe.forget()


def last_ticked(seconds_ago: float | None) -> None:
    """As if the ticker had last reported so long ago, or never."""
    at = None if seconds_ago is None else Now() - timedelta(seconds=seconds_ago)
    Gate.objects.filter(pk=1).update(ticked_at=at)
    forget_dashboard()
    ticks.probe_ticks.forget()


def age() -> float:
    """Seconds since it last reported, as `/metrics` says."""
    lines = Client().get("/metrics").content.decode().splitlines()
    (line,) = [line for line in lines if line.startswith("alert_tick_age_seconds ")]
    return float(line.split()[1])


@pytest.mark.parametrize(("seconds", "stands"), [(8.0, False), (16.0, True), (None, True)], ids=str)
def test_pages_and_health__nobody_ticked__say_so_with_nothing_overdue(
    users: Any, seconds: float | None, stands: bool
) -> None:
    """AL-2, Q-4, SLA-2: no delivery has to be late for it; never having ticked is the same."""
    client = signed_in(users.viewer)
    last_ticked(seconds)
    page, overview = text(client, PAGE), text(client, OVERVIEW)
    assert ("Nobody watches" in page) == ("Nobody watches" in overview) == stands
    assert ("--pool threads --concurrency 1" in page) == stands
    assert ("has never looked" in page) == ("has never looked" in overview) == (seconds is None)
    health = client.get("/health")
    assert health.status_code == 200
    assert health.json()["status"] == ("degraded" if stands else "healthy")
    assert health.json()["details"]["alerting"]["status"] == ("unhealthy" if stands else "healthy")
    assert (age() > ticks.STANDS_AFTER) == stands


def test_pages__nobody_ticks_and_deliveries_are_late__one_banner_tells_both(users: Any) -> None:
    """AD-2, AD-11: what is lost is not said to be kept."""
    last_ticked(60)
    a_message(an_alert(severity=2), mail_channel(), due_at=timezone.now() - timedelta(seconds=40))
    client = signed_in(users.viewer)
    page, overview = text(client, f"{PAGE}fragment/"), text(client, OVERVIEW)
    assert "Nobody watches" in page and "Deliveries are not being sent" in page and page.count("banner--bad") == 1
    assert "Nothing is lost" not in page + overview and "No delivery is lost" in page and "No delivery" in overview


def test_example_rules__for_prometheus__name_what_is_scraped() -> None:
    """SLA-2: the file of the runbook asks for the metric that is there, with the portal's own limit."""
    rules = yaml.safe_load((ROOT / "infra" / "prometheus" / "example-rules.yml").read_text())
    [rule] = rules["groups"][0]["rules"]
    assert rule["expr"].startswith(f"alert_tick_age_seconds > {ticks.STANDS_AFTER:.0f} or absent(")
    last_ticked(2)
    assert 2 <= age() < ticks.STANDS_AFTER


def test_health__without_alerting__has_no_such_part(settings: Any) -> None:
    """RUN-9: what is switched off is not missed."""
    last_ticked(60)
    settings.FEATURES = {**settings.FEATURES, "alerting": False}
    assert Client().get("/health").json()["status"] == "healthy"


def test_health__postgresql_away__alerting_is_away_too(postgres_server: Any) -> None:
    """Q-4: nothing is evaluated without it, and the answer comes as soon as before."""
    with postgres_server.stopped():
        probes.probe_postgresql.forget()
        body = Client().get("/health").json()
    assert body["status"] == "degraded" and body["details"]["alerting"]["status"] == "unhealthy"


def test_tick__reports_at_most_every_five_seconds(no_rules: None) -> None:
    """AL-2: one row, seldom written."""
    last_ticked(60)
    ticker = Ticker()
    assert ticker.tick(timezone.now())
    first = Gate.objects.get().ticked_at
    assert age() < ticks.STANDS_AFTER
    ticker.tick(timezone.now())
    assert Gate.objects.get().ticked_at == first
    ticker._marked_at -= ticks.MARK_EVERY
    ticker.tick(timezone.now())
    assert Gate.objects.get().ticked_at > first  # type: ignore[operator]


def test_tick__another_has_the_lock__does_not_report(no_rules: None) -> None:
    """AL-2: only who looks may say so; a ticker that hangs with the lock is not covered up by the others."""
    last_ticked(60)
    with connect_apart(application_name="test") as other:
        other.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        assert not Ticker().tick(timezone.now())
    assert age() > 59


def test_tick__what_was_read_cannot_be_judged__does_not_report(no_rules: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Q-4: a ticker that runs and sees nothing watches no more than one that is dead."""

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("alerting.observing.take", broken)
    last_ticked(60)
    assert Ticker().tick(timezone.now())
    assert age() > 59


def test_tick__reported__leaves_what_processes_remember_as_it_is(no_rules: None) -> None:
    """AL-2: the catalogue of rules is not read anew because somebody ticked."""
    make_webhook("https://hooks.example.com/x")
    with connection.cursor() as cursor:
        cursor.execute("SELECT number, xmin::text FROM alerting_revision")
        before = cursor.fetchone()
        assert Ticker().tick(timezone.now())
        cursor.execute("SELECT number, xmin::text FROM alerting_revision")
        assert cursor.fetchone() == before
