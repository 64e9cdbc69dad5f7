"""The page of one service as a browser without JavaScript sees it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.urls import reverse

from health.models import Service, Status
from health.rollups import roll_up
from opsportal.embedded import EmbeddedPostgres
from tests.health.desk import Desk, changed, sampled, service_url, shown, signed_in, text

pytestmark = pytest.mark.django_db
GRID = "/admin/health/"


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_service__healthy__shows_what_is_known_of_it(users: Any, desk: Desk) -> None:
    """HM-1, HM-4, HM-7: status, since, last reply, last operation, version, owner, dependencies both ways."""
    risk = desk.has("risk")
    orders = desk.has("orders", Status.HEALTHY, risk, owner="Execution")
    desk.has("settlement", Status.HEALTHY, orders)
    Service.objects.filter(pk=orders.pk).update(runbook_url="https://wiki.example.com/orders")
    desk.tell()
    html = text(signed_in(users.viewer), service_url("orders"))
    plain = re.sub(r"<[^>]+>|\s+", " ", html)
    for words in ("healthy", "1.4.2", "Execution", "in 12 ms", "every 5 s, waits 5 s", "http://orders.internal:8080/health"):  # fmt: skip
        assert words in plain or words in html, words
    assert re.search(r"Last successful operation\s*</dt><dd>order, \s*<time", html)
    assert f'href="{service_url("risk")}"' in html and f'href="{service_url("settlement")}"' in html
    assert 'href="https://wiki.example.com/orders" rel="noopener noreferrer"' in html


def test_service__contract_violation__names_the_field(users: Any, desk: Desk) -> None:
    """HM-3: the field and the sentence."""
    desk.has("pricing", Status.VIOLATION)
    desk.tell()
    html = text(signed_in(users.viewer), service_url("pricing"))
    assert "<code>status</code>" in html and "must be healthy, degraded or unhealthy" in html


def test_service__caused_by_another__links_to_it(users: Any, desk: Desk) -> None:
    """HM-12: one click to the cause."""
    gateway = desk.has("broker-gateway", Status.UNREACHABLE)
    desk.has("orders", Status.UNREACHABLE, gateway)
    desk.tell()
    html = text(signed_in(users.viewer), service_url("orders"))
    assert f'id="service-cause" href="{service_url("broker-gateway")}"' in html
    assert 'data-announce="orders: unreachable, caused by broker-gateway"' in html


def test_service__measured__shows_true_percentiles_and_uptime(users: Any, desk: Desk) -> None:
    """HM-6, HM-8: of all replies of the window, from roll-ups and raw samples together, within the sketch's 1 %."""
    orders = desk.has("orders")
    desk.tell()
    sampled(orders, minutes=10, every=4, latency_us=20_000)
    sampled(orders, minutes=10, every=60, latency_us=900_000)
    sampled(orders, minutes=10, every=60, latency_us=None)
    roll_up(datetime.now(UTC))
    html = text(signed_in(users.viewer), service_url("orders"), range="15m")
    figures = dict(re.findall(r"</svg>(P\d\d)</dt><dd>([^<]+)</dd>", html))
    assert figures["P50"] == "20 ms" and figures["P99"].split()[0] in {str(ms) for ms in range(891, 910)}
    assert "<dd>160 replies</dd>" in html and "<dd>10 probes</dd>" in html
    assert re.search(r"Last 15 minutes</dt><dd>94\.\d\d %</dd>", html)
    assert html.count('<path class="line line--p50" d="M') == 2, "the legend's and the chart's"
    assert "Times are UTC" in html and "logarithmic" in html


@pytest.mark.parametrize(("asked", "words"), [("15m", "15 minutes"), ("1h", "hour"), ("6h", "6 hours"), ("24h", "24 hours"), ("7d", "7 days"), ("", "hour"), ("1y", "hour")])  # fmt: skip
def test_service__range__is_one_of_five(users: Any, desk: Desk, asked: str, words: str) -> None:
    """HM-6: anything else is the hour; the chosen one is marked."""
    orders = desk.has("orders")
    desk.tell()
    sampled(orders, minutes=2)
    html = text(signed_in(users.viewer), service_url("orders"), range=asked)
    assert f"Latency, last {words}</h2>" in html
    assert re.search(rf'aria-current="true"><span aria-hidden="true">\w+</span><span class="visually-hidden">{words}<', html)  # fmt: skip


def test_service__changes__are_paged_by_place_newest_first(users: Any, desk: Desk) -> None:
    """HM-8: with reason, cause, planned work and how long the former status lasted."""
    gateway, orders = desk.has("broker-gateway"), desk.has("orders")
    desk.tell()
    for number in range(30):
        changed(orders, minutes_ago=2 * number, former=Status.UNREACHABLE, status=Status.HEALTHY)
        changed(
            orders, minutes_ago=2 * number + 1, former=Status.HEALTHY, status=Status.UNREACHABLE,
            caused_by_id=gateway.pk, planned=number == 0,
        )  # fmt: skip
    client = signed_in(users.viewer)
    html = text(client, service_url("orders"))
    assert html.count('data-label="When"') == 25
    assert "caused by broker-gateway" in html and html.count(">planned work</span>") >= 1
    assert "1 min unreachable" in html
    for number in (25, 10):
        older = re.search(r'id="changes-older" rel="next" href="([^"]+)"', html)
        assert older
        html = text(client, older[1].replace("&amp;", "&"))
        assert html.count('data-label="When"') == number
    assert 'id="changes-older"' not in html and 'id="changes-newest"' in html
    for wrong in ("yesterday", "9" * 60, "-", "1-99999999999999999999999"):
        assert text(client, service_url("orders"), before=wrong).count('data-label="When"') == 25


def test_service__postgresql_down__card_lives_and_the_history_says_why_not(
    users: Any, desk: Desk, postgres_server: EmbeddedPostgres
) -> None:
    """HM-4, Q-4: what Redis knows is shown."""
    desk.has("orders", Status.DEGRADED)
    desk.tell()
    client = signed_in(users.viewer)
    client.get(GRID)  # the signed-in user is now known without PostgreSQL
    with postgres_server.stopped():
        html = text(client, service_url("orders"))
        card = text(client, reverse("admin:health_service_fragment", args=["orders"]))
        unknown = client.get(service_url("nowhere"))
    assert "degraded" in card and "PostgreSQL does not answer, so charts" in html
    assert "not known while PostgreSQL does not answer" in card
    assert unknown.status_code == 503


def test_service__switched_off__is_not_probed_but_has_its_history(users: Any, desk: Desk) -> None:
    """HM-1: its page stays."""
    orders = desk.has("orders")
    changed(orders, minutes_ago=5, former=Status.HEALTHY, status=Status.UNHEALTHY)
    Service.objects.filter(pk=orders.pk).update(enabled=False)
    desk.tell()
    html = text(signed_in(users.viewer), service_url("orders"))
    assert "not probed" in html and "It calls itself unhealthy." in html
    assert "orders" not in shown(text(signed_in(users.viewer), GRID))


def test_service__no_such_name__is_not_found(users: Any, desk: Desk) -> None:
    """Q-5: 404 for the page and its fragments."""
    desk.tell()
    client = signed_in(users.viewer)
    for name in ("health_service", "health_service_fragment", "health_service_history_fragment"):
        assert client.get(reverse(f"admin:{name}", args=["nowhere"])).status_code == 404


def test_service__edit_and_plan__are_offered_to_who_may(users: Any, desk: Desk) -> None:
    """RBAC-1, HM-11: links for operators, none for viewers."""
    orders = desk.has("orders")
    desk.tell()
    html = text(signed_in(users.operator), service_url("orders"))
    assert f'href="{reverse("admin:health_service_change", args=[orders.pk])}"' in html
    assert f'href="{reverse("admin:health_maintenance_add")}?services={orders.pk}"' in html
    viewer = text(signed_in(users.viewer), service_url("orders"))
    assert 'id="service-edit"' not in viewer and 'id="service-plan"' not in viewer
