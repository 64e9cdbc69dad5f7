"""The grid and the overview as a browser without JavaScript sees them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis as redis_client

from health.models import Maintenance, Status
from health.selectors import forget_grid
from opsportal.embedded import EmbeddedRedis
from tests.health.desk import Desk, shown, signed_in, text

pytestmark = pytest.mark.django_db
GRID, FRAGMENT = "/admin/health/", "/admin/health/fragment/"


@pytest.fixture
def desk() -> Desk:
    return Desk()


def cell(html: str, name: str) -> str:
    """The markup of one cell of the grid, without what it caused."""
    found = re.search(rf'<li class="cell (?:(?!<li).)*?<span class="cell__name">{name}</span>.*?</div>', html, re.S)
    assert found, f"no cell of {name}"
    return found[0]


# ---------------------------------------------------------------- the grid
@pytest.mark.parametrize(
    "status", [Status.HEALTHY, Status.DEGRADED, Status.UNHEALTHY, Status.VIOLATION, Status.UNREACHABLE]
)
def test_grid__each_status__has_its_word_shape_and_reason(users: Any, desk: Desk, status: Status) -> None:  # fmt: skip
    """HM-4, Q-1: never by colour alone."""
    desk.has("orders", status)
    desk.tell()
    found = cell(text(signed_in(users.viewer), GRID), "orders")
    assert f">{status.label}</span>" in found and f"#{status.icon}" in found and f"cell--{status.tone}" in found
    assert ("12 ms" in found) == (status != Status.UNREACHABLE)
    assert ("refused" in found) == (status == Status.UNREACHABLE)


def test_grid__reply_older_than_two_intervals__is_stale_and_not_green(users: Any, desk: Desk) -> None:
    """HM-4: the cached status stays, with its age and a mark; nothing of it is green."""
    desk.has("orders", reply_age=10_500)
    desk.tell()
    html = text(signed_in(users.viewer), GRID)
    assert "stale" in cell(html, "orders") and "last reply: healthy" in cell(html, "orders")
    assert "cell--ok" not in html and 'id="chip-healthy"' not in html


def test_grid__green__carries_how_long_its_reply_vouches_for_it(users: Any, desk: Desk) -> None:
    """HM-4: so that the page can take it back by itself; what no reply vouches for has no such time."""
    desk.has("orders")
    desk.has("risk", Status.UNREACHABLE)
    desk.tell()
    html = text(signed_in(users.viewer), GRID)
    assert 'data-keeps="10"' in cell(html, "orders") and 'data-keeps=""' in cell(html, "risk")


def test_grid__sweep_does_not_report__says_so_loudly(users: Any, desk: Desk, redis: redis_client.Redis) -> None:
    """HM-4: with what to start."""
    desk.has("orders")
    desk.tell()
    redis.hdel("health:snapshot", "sweeper")
    forget_grid()
    html = text(signed_in(users.viewer), GRID)
    assert re.search(r'class="banner banner--bad">[^<]*No sweep has reported', html)


def test_grid__failure_caused_by_another__lies_within_its_cause(users: Any, desk: Desk) -> None:
    """HM-12: once as trouble, and its consequences under it; told in words too."""
    gateway = desk.has("broker-gateway", Status.UNREACHABLE)
    desk.has("orders", Status.UNHEALTHY, gateway)
    desk.has("pricing")
    desk.tell()
    html = text(signed_in(users.viewer), GRID)
    group = re.search(r'<ul class="cells cells--caused" aria-label="Caused by broker-gateway">(.*?)</ul>', html, re.S)
    assert group and shown(group[1]) == ["orders"]
    assert "caused by broker-gateway" in cell(html, "orders")
    assert shown(html) == ["broker-gateway", "orders", "pricing"]
    alone = text(signed_in(users.viewer), GRID, status="unhealthy")
    assert shown(alone) == ["orders"] and "caused by broker-gateway" in alone


def test_grid__maintenance_and_unconfirmed__are_told(users: Any, desk: Desk) -> None:
    """HM-10, HM-11: planned work with its end and reason; a first bad result as not confirmed yet."""
    archive = desk.has("archive", Status.UNREACHABLE)
    desk.has("risk", unconfirmed=Status.UNREACHABLE, seen=1, needed=2, sentence="No answer within 5 s.")
    now = datetime.now(UTC)
    window = Maintenance.objects.create(
        starts_at=now - timedelta(hours=1), ends_at=now + timedelta(hours=1), reason="New disks", planned_by="alice"
    )
    window.services.set([archive])
    desk.tell()
    html = text(signed_in(users.viewer), GRID)
    assert "New disks" in cell(html, "archive") and window.ends_at.isoformat()[:19] in cell(html, "archive")
    assert "not confirmed yet: 1 of 2 results" in cell(html, "risk") and "stale" in cell(html, "risk")


def test_grid__filters__by_status_owner_and_text(users: Any, desk: Desk) -> None:
    """HM-4: plain GET parameters; counts are of all services whatever is filtered."""
    desk.has("orders", owner="Execution")
    desk.has("risk", Status.DEGRADED, owner="Risk")
    desk.has("pricing", Status.VIOLATION, owner="Risk")
    desk.tell()
    client = signed_in(users.viewer)
    assert shown(text(client, GRID, status="degraded")) == ["risk"]
    assert shown(text(client, GRID, owner="Risk")) == ["pricing", "risk"]
    assert shown(text(client, FRAGMENT, owner="Risk", q="MUST BE healthy")) == ["pricing"]
    filtered = text(client, GRID, owner="Risk", q="pri")
    assert "1 of 3 services matches the filters" in filtered
    assert 'value="pri"' in filtered and "<option selected>Risk</option>" in filtered
    assert 'href="/admin/health/?status=degraded&amp;owner=Risk&amp;q=pri"' in filtered
    assert "No service matches" in text(client, GRID, q="nothing like it")
    assert len(shown(text(client, GRID, status="no-such-status"))) == 3


def test_grid__hostile_text__is_shown_as_text(users: Any, desk: Desk) -> None:
    """AUTH-4: what a service says of itself is never markup."""
    desk.has("orders", Status.DEGRADED, sentence="<script>alert(1)</script>", owner='"><b>')
    desk.tell()
    html = text(signed_in(users.viewer), GRID, q='"><i>')
    assert "<script>alert" not in html and '"><b>' not in html and '"><i>' not in html
    assert "&lt;script&gt;" in text(signed_in(users.viewer), GRID)


def test_grid__no_service__says_how_to_add_some(users: Any, desk: Desk) -> None:
    """HM-1: an empty page is no dead end."""
    desk.tell()
    html = text(signed_in(users.operator), GRID)
    assert "No service is watched yet" in html and "SERVICES" in html and "seed_services" in html


def test_announcement__changes_with_a_status__and_with_nothing_else(users: Any, desk: Desk) -> None:
    """Q-1: screen readers hear of a change once, not of every new latency."""
    orders = desk.has("orders")
    desk.has("broker-gateway", Status.UNREACHABLE)
    desk.tell()
    client = signed_in(users.viewer)

    def announced() -> str:
        found = re.search(r'data-announce="([^"]*)"', text(client, FRAGMENT))
        assert found
        return found[1]

    assert announced() == "Health: 1 healthy, 1 unreachable (broker-gateway)"
    desk.records[orders.pk].latency_us = 99_000
    desk.records[orders.pk].reply_age = 3_000
    desk.tell()
    assert announced() == "Health: 1 healthy, 1 unreachable (broker-gateway)"
    desk.becomes(orders, Status.DEGRADED)
    assert announced() == "Health: 1 degraded (orders), 1 unreachable (broker-gateway)"


def test_fragment__nothing_changed__is_304_with_a_fresh_age(users: Any, desk: Desk) -> None:
    """HM-8: an ETag of what is shown; age and moment of the reading come with the 304 too."""
    orders = desk.has("orders")
    desk.tell()
    client = signed_in(users.viewer)
    # Connections' latencies are part of what is shown: of a few looks within the second, two are alike.
    first = client.get(FRAGMENT)
    for _ in range(20):
        again = client.get(FRAGMENT, headers={"If-None-Match": first["ETag"]})
        if again.status_code == 304:
            break
        first = again
    assert again.status_code == 304 and again.content == b""
    assert float(again["X-Reading-Age"]) < 5
    assert abs(datetime.fromisoformat(again["X-Reading-At"]) - datetime.now(UTC)) < timedelta(seconds=5)
    desk.becomes(orders, Status.UNHEALTHY)
    assert client.get(FRAGMENT, headers={"If-None-Match": first["ETag"]}).status_code == 200


def test_fragment__two_users__get_the_same(users: Any, desk: Desk) -> None:
    """HM-8: rendered once per state for everybody, so nothing of a user may be in it."""
    desk.has("orders")
    desk.tell()
    seen = {re.sub(r"[\d.]+ ms", "", text(signed_in(user), FRAGMENT)) for user in (users.viewer, users.admin)}
    assert len(seen) == 1


def test_grid__queues_and_connections__are_shown(users: Any, desk: Desk, redis: redis_client.Redis, settings: Any) -> None:  # fmt: skip
    """HM-5: length, lag and pending of streams, Celery's queues, both servers with latency."""
    settings.HEALTH_STREAMS = ("demo:orders", "demo:none")
    for number in range(5):
        redis.xadd("demo:orders", {"n": number})
    redis.xgroup_create("demo:orders", "execution", id="0")
    redis.xreadgroup("execution", "one", {"demo:orders": ">"}, count=3)
    redis.rpush("celery", "task")
    html = text(signed_in(users.viewer), GRID)
    rows = [re.sub(r"<[^>]+>|\s+", " ", row).split() for row in re.findall(r"<tr.*?</tr>", html, re.S)]
    assert ["demo:orders", "5"] in rows
    assert ["demo:orders,", "consumer", "group", "execution", "1", "consumer", "2", "3"] in rows
    assert ["demo:none", "does", "not", "exist", "yet"] in rows
    assert ["Celery:", "celery", "1"] in rows
    assert re.search(r"PostgreSQL</strong> answers in [\d.]+ ms", html)
    assert re.search(r"Redis</strong> answers in [\d.]+ ms", html)


def test_grid__redis_down__comes_from_postgresql_and_says_so(
    users: Any, desk: Desk, redis_server: EmbeddedRedis
) -> None:
    """HM-4, HM-5, Q-4: the page stays, nothing on it claims to be fresh."""
    desk.has("orders")
    desk.tell()
    client = signed_in(users.viewer)
    with redis_server.stopped():
        forget_grid()
        html = text(client, GRID)
    assert "Redis does not answer" in html and "queues cannot be measured" in html
    assert shown(html) == ["orders"] and "cell--ok" not in html


# ---------------------------------------------------------------- the overview
def overview_wrong(html: str) -> str:
    return html[html.index('id="wrong-title"') : html.index('id="needs-me-title"')]


def test_overview__failures__only_causes_that_nobody_planned(users: Any, desk: Desk) -> None:
    """HM-11, HM-12: one line for one cause; counts of all, each with its link."""
    gateway = desk.has("broker-gateway", Status.UNREACHABLE)
    desk.has("orders", Status.UNREACHABLE, gateway)
    archive = desk.has("archive", Status.UNREACHABLE)
    now = datetime.now(UTC)
    window = Maintenance.objects.create(starts_at=now, ends_at=now + timedelta(hours=1), reason="Disks", planned_by="a")
    window.services.set([archive])
    desk.tell()
    html = text(signed_in(users.viewer), "/admin/")
    wrong = overview_wrong(html)
    assert "broker-gateway: unreachable" in wrong and "1 service in trouble because of it" in wrong
    assert "orders:" not in wrong and "archive" not in wrong
    assert re.search(r'href="/admin/health/\?status=unreachable">.*?<strong>3</strong>', html, re.S)


def test_overview__many_failures__five_and_how_many_more(users: Any, desk: Desk) -> None:
    """HM-12: the first page stays readable."""
    for number in range(8):
        desk.has(f"service-{number}", Status.UNHEALTHY)
    desk.tell()
    wrong = overview_wrong(text(signed_in(users.viewer), "/admin/"))
    assert wrong.count(": unhealthy</span>") == 5 + 5 and "and 3 more" in wrong


def test_overview__health_switched_off__is_silent(users: Any, desk: Desk, settings: Any) -> None:
    """RUN-9: neither tile nor items nor navigation."""
    desk.has("ledger-sync", Status.UNHEALTHY)
    desk.tell()
    settings.FEATURES = {**settings.FEATURES, "health": False}
    html = text(signed_in(users.admin), "/admin/")
    assert "Service health" not in html and "ledger-sync" not in html
