"""The health pages in a real browser: they follow the sweep, grow old truthfully, and work for everybody."""

from __future__ import annotations

import re

import pytest
import redis as redis_client
from playwright.sync_api import Page, Response, expect

from health import queues
from health.models import Service, Status
from tests.browser.conftest import Visitors
from tests.browser.visitor import PHONE, each_width
from tests.health.desk import Desk, changed, sampled

GRID = "/admin/health/"


@pytest.fixture
def desk(transactional_db: None) -> Desk:
    """A platform with one service of every status, a cause with its consequence, and a history."""
    desk = Desk()
    gateway = desk.has("broker-gateway", Status.UNREACHABLE, owner="Connectivity")
    orders = desk.has("orders", Status.UNHEALTHY, gateway, owner="Execution")
    desk.has("risk", Status.DEGRADED, owner="Risk")
    desk.has("pricing", Status.VIOLATION, owner="Risk")
    desk.has("reconciliation", reply_age=30_000)
    desk.has("market-data")
    unseen = desk.has("positions")
    del desk.records[unseen.pk]
    sampled(orders, minutes=6)
    changed(orders, minutes_ago=5, former=Status.HEALTHY, status=Status.UNHEALTHY, caused_by_id=gateway.pk)
    desk.tell()
    queues.forget_queues()
    return desk


def cell(page: Page, name: str) -> str:
    """A selector of the card of one service in the grid."""
    return f".cell__card:has(> a > .cell__name:text-is('{name}'))"


def colour(page: Page, selector: str) -> str:
    return str(page.eval_on_selector(selector, "element => getComputedStyle(element).color"))


def green(page: Page) -> str:
    """What the portal's green is in this theme."""
    return str(
        page.evaluate(
            """() => { const probe = document.createElement("i"); probe.className = "badge badge--ok";
            document.body.append(probe); const found = getComputedStyle(probe).color; probe.remove(); return found; }"""
        )
    )


@each_width
@pytest.mark.parametrize(
    "path", [GRID, f"{GRID}?q=no-such-service", f"{GRID}services/orders/?range=15m", f"{GRID}services/positions/"]
)
def test_page__any_look__keeps_policy_and_is_accessible(
    visitors: Visitors, desk: Desk, redis: redis_client.Redis, path: str, width: int
) -> None:
    """Q-1, Q-2, AUTH-4: every status, light and dark, wide and on a phone; the table unfolded too."""
    visitor = visitors.signed_in("operator", width=width)
    page = visitor.go(path)
    if page.locator("#chart-table-summary").count():
        page.click("#chart-table-summary")
    visitor.assert_looks_right()


def test_grid__a_status_changes__is_shown_without_reload_and_said_once(visitors: Visitors, desk: Desk) -> None:
    """HM-8, Q-1: within one poll; a new latency alone is shown and not said."""
    visitor = visitors.signed_in("viewer")
    page = visitor.go(GRID)
    page.evaluate("window.notReloaded = true")
    orders = Service.objects.get(name="market-data")
    desk.records[orders.pk].latency_us = 77_000
    desk.tell()
    expect(page.locator(cell(page, "market-data"))).to_contain_text("77 ms", timeout=8000)
    assert page.inner_text("#ops-announce") == ""
    desk.becomes(orders, Status.DEGRADED)
    expect(page.locator(f"{cell(page, 'market-data')} .cell__word")).to_have_text("degraded", timeout=8000)
    assert "2 degraded (market-data, risk)" in page.inner_text("#ops-announce")
    assert page.evaluate("window.notReloaded")
    visitor.assert_no_complaint()


def test_grid__portal_out_of_reach__no_green_outlives_two_intervals(visitors: Visitors, desk: Desk) -> None:
    """HM-4: with no new reading the page itself takes back what its last one vouched for, cell by cell, then all."""
    Service.objects.filter(name="market-data").update(interval=2)
    desk.tell()
    page = visitors.signed_in("viewer").go(GRID)
    word = f"{cell(page, 'market-data')} .cell__word"
    assert colour(page, word) == green(page)
    page.route("**/health/fragment/**", lambda route: route.abort())
    expect(page.locator("li[data-aged]")).to_have_count(1, timeout=8000)
    assert colour(page, word) != green(page)
    assert "(too old)" in page.eval_on_selector(word, "element => getComputedStyle(element, '::after').content")
    expect(page.locator("[data-stale-banner]")).to_contain_text("Stale since", timeout=15_000)
    expect(page.locator("#health")).to_have_attribute("data-aged", "", timeout=15_000)
    assert colour(page, "#chip-healthy .icon") != green(page)


def test_grid__readers_clock_is_wrong__ages_are_the_servers(visitors: Visitors, desk: Desk) -> None:
    """HM-4: a laptop an hour behind or ahead makes nothing look fresh or stale that is not."""
    visitor = visitors.signed_in("viewer")
    visitor.context.add_init_script("const real = Date.now; Date.now = () => real() + 3_600_000;")
    page = visitor.go(GRID)
    age = page.inner_text(f"{cell(page, 'market-data')} time")
    assert re.fullmatch(r"\d s ago", age), age
    assert page.locator("li[data-aged]").count() == 0


def test_filters__applied__are_kept_by_polls_and_in_the_address(visitors: Visitors, desk: Desk) -> None:
    """HM-4: form and chips work without a reload; what is typed meanwhile is not touched; a new tab shows the same."""
    visitor = visitors.signed_in("viewer")
    page = visitor.go(GRID)
    page.evaluate("window.notReloaded = true")
    page.select_option("#health-owner", "Risk")
    page.click("#health-apply")
    expect(page.locator("[data-result-count]")).to_have_text("2 of 7 services match the filters")
    expect(page.locator("#ops-announce")).to_have_text("2 of 7 services match the filters")
    page.click("#chip-degraded")
    expect(page.locator(".cell")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"\?status=degraded&owner=Risk$"))
    expect(page.locator("#health-status")).to_have_value("degraded")
    page.fill("#health-q", "half a wo")
    desk.becomes(Service.objects.get(name="pricing"), Status.DEGRADED)
    with page.expect_response(re.compile(r"/fragment/\?status=degraded&owner=Risk")):
        pass
    expect(page.locator(".cell")).to_have_count(2)
    assert page.input_value("#health-q") == "half a wo"
    assert page.evaluate("window.notReloaded")
    page.go_back()
    page.wait_for_function("!window.notReloaded")  # nothing is kept in the browser: going back loads the page
    expect(page.locator("[data-result-count]")).to_have_text("2 of 7 services match the filters")
    visitor.assert_no_complaint()


def test_pause__pressed__stops_polls_and_says_so(visitors: Visitors, desk: Desk) -> None:
    """Q-1: WCAG 2.2.2; and what is shown still grows old."""
    page = visitors.signed_in("viewer").go(GRID)
    page.click("[data-poll-toggle]")
    asked: list[Response] = []
    page.on("response", lambda answer: asked.append(answer) if "/fragment/" in answer.url else None)
    expect(page.locator("[data-stale-banner]")).to_contain_text("Updates are paused", timeout=15_000)
    assert asked == []
    expect(page.locator("#health")).to_have_attribute("data-aged", "")


def test_grid__keyboard_only__leads_to_a_service(visitors: Visitors, desk: Desk) -> None:
    """Q-1: Tab reaches the cells, whose links have full names; Enter opens one; the mark of focus is seen."""
    page = visitors.signed_in("viewer").go(GRID)
    page.focus("#to-queues")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    focused = page.locator(":focus")
    expect(focused).to_have_accessible_name("orders unhealthy caused by broker-gateway")
    outline = page.evaluate("getComputedStyle(document.activeElement, '::after').outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/services/orders/"))


def test_grid__swapped_while_focused__keeps_the_focus(visitors: Visitors, desk: Desk) -> None:
    """Q-1: a poll never takes the focus away."""
    page = visitors.signed_in("viewer").go(GRID)
    risk = Service.objects.get(name="risk")
    page.focus(f"#service-{risk.pk}")
    desk.becomes(risk, Status.UNHEALTHY)
    expect(page.locator(f"{cell(page, 'risk')} .cell__word")).to_have_text("unhealthy", timeout=8000)
    assert page.evaluate("document.activeElement.id") == f"service-{risk.pk}"


def test_service__live__follows_the_sweep_and_keeps_what_is_unfolded(visitors: Visitors, desk: Desk) -> None:
    """HM-6, HM-7, HM-8: the card changes by itself; another period is swapped in, the table stays open."""
    visitor = visitors.signed_in("viewer")
    page = visitor.go(f"{GRID}services/orders/?range=15m")
    page.evaluate("window.notReloaded = true")
    page.click("#chart-table-summary")
    page.click("#range-1h")
    expect(page.locator("#latency-title")).to_have_text("Latency, last hour")
    expect(page.locator("#chart-table")).to_have_attribute("open", "")
    assert page.url.endswith("?range=1h")
    desk.becomes(Service.objects.get(name="orders"), Status.HEALTHY)
    expect(page.locator(".service__word")).to_have_text("healthy", timeout=8000)
    assert page.inner_text("#ops-announce") == "orders: healthy"
    assert page.evaluate("window.notReloaded")
    assert re.search(r"\(\d+ s ago\)", page.inner_text(".service__facts"))
    visitor.assert_no_complaint()


def test_service__another_zone__axis_and_pointer_speak_local_time(visitors: Visitors, desk: Desk) -> None:
    """Q-2, HM-6: the reader's zone on the axis, both under the pointer."""
    page = visitors.signed_in("viewer", zone="Asia/Kolkata").go(f"{GRID}services/orders/?range=15m")
    assert "Times are Asia/" in page.inner_text(".chart [data-zone]")
    tick = page.locator("text[data-clock]").first
    hour, minute = map(int, tick.inner_html().split(":"))
    at = str(tick.get_attribute("data-at"))[11:16]
    utc = 60 * int(at[:2]) + int(at[3:])
    assert (60 * hour + minute - utc) % 1440 == 330
    assert re.match(r"\d\d:\d\d here\. .* UTC: ", page.locator(".hit title").last.inner_html())


def test_pages__without_javascript__filter_and_show_times_in_utc(visitors: Visitors, desk: Desk) -> None:
    """HM-4, HM-6: plain links and a plain form."""
    visitor = visitors.signed_in("viewer", javascript=False, width=PHONE)
    page = visitor.go(GRID)
    page.fill("#health-q", "pricing")
    page.click("#health-apply")
    assert page.locator(".cell").count() == 1
    assert re.search(r"replied \d\d:\d\d:\d\d UTC", page.inner_text(".cell"))
    page.click(".cell a")
    page.wait_for_url(re.compile("/services/pricing/"))
    page.click("#range-24h")
    assert "last 24 hours" in page.inner_text("#latency-title")


def test_overview__a_failure__appears_by_itself(visitors: Visitors, desk: Desk) -> None:
    """HM-12: one line for the cause, with the way there."""
    page = visitors.signed_in("viewer").go("/admin/")
    assert "broker-gateway: unreachable" in page.inner_text("#overview")
    assert "orders:" not in page.inner_text("#overview")
    desk.becomes(Service.objects.get(name="broker-gateway"), Status.HEALTHY)
    expect(page.locator("#overview")).to_contain_text("orders: unhealthy", timeout=8000)
    expect(page.locator("#overview")).not_to_contain_text("broker-gateway")
