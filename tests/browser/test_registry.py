"""The registry and planned work in a real browser: policy, accessibility, width, keyboard, no JavaScript."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from health import services
from health.models import Maintenance, Service
from tests.browser.conftest import Visitors
from tests.browser.visitor import each_width
from tests.desk import DESK

HOUR = timedelta(hours=1)


def _platform() -> tuple[Service, Maintenance]:
    """A few services, one with an address that has no place to break at, and a window in each state."""
    risk = services.create_service(by=DESK, name="risk", base_url="http://risk:8080", owner="Risk")
    address = f"https://{'gateway' * 8}.example.com:8443/{'path' * 20}"
    gateway = services.create_service(by=DESK, name="gateway", base_url=address, depends_on=[risk], enabled=False)
    orders = services.create_service(by=DESK, name="orders", base_url="http://orders", depends_on=[risk, gateway])
    now = timezone.now()
    windows = [
        services.plan_maintenance(
            [orders], starts_at=now + start, ends_at=now + end, reason=reason, by=DESK, now=now + start
        )
        for start, end, reason in (
            (-HOUR, HOUR, "New kernel"),
            (HOUR, 2 * HOUR, "averyverylongwordwithoutanyspaceinit" * 5),
            (-2 * HOUR, -HOUR, "Certificate"),
        )
    ]
    return orders, windows[0]


def _send_empty(page: Page) -> None:
    page.fill("[name=base_url]", "http://me:pw@orders")
    page.click("[name=_save]")
    expect(page.locator(".errornote")).to_be_visible()


PAGES: dict[str, tuple[str, Callable[[Page], None] | None]] = {
    "services": ("/admin/health/service/?q=r&o=5.1", None),
    "service": ("/admin/health/service/{service}/change/", None),
    "service refused": ("/admin/health/service/add/", _send_empty),
    "delete service": ("/admin/health/service/{service}/delete/", None),
    "windows": ("/admin/health/maintenance/", None),
    "plan": ("/admin/health/maintenance/add/?services={service}", None),
    "end": ("/admin/health/maintenance/{window}/end/", None),
}


@each_width
@pytest.mark.parametrize("name", PAGES)
def test_page__any_look__keeps_policy_and_is_accessible(visitors: Visitors, name: str, width: int) -> None:
    """Q-1, Q-2, AUTH-4: no CSP violation, no axe violation, nothing wider than the window."""
    service, window = _platform()
    path, act = PAGES[name]
    visitor = visitors.signed_in("operator", width=width)
    page = visitor.go(path.format(service=service.pk, window=window.pk))
    if act:
        act(page)
    _assert_inside_their_card(page)
    visitor.assert_looks_right()


def _assert_inside_their_card(page: Page) -> None:
    """What a card clips makes no page wider, and is lost all the same."""
    lost = page.evaluate(
        """() => Array.from(document.querySelectorAll(".module input, .module select, .module .readonly, #result_list td"))
            .filter((field) => field.offsetParent && !field.closest(".results")?.matches(".results"))
            .filter((field) => field.getBoundingClientRect().right > field.closest(".module").getBoundingClientRect().right)
            .map((field) => field.id || field.className)"""
    )
    assert lost == []
    table = page.locator(".results")
    if table.count():
        assert table.evaluate("(box) => box.scrollWidth <= box.clientWidth"), "columns lie outside the list"


def test_viewer__service_and_window__are_readable_and_accessible(visitors: Visitors) -> None:
    """RBAC-1, Q-1: the same pages without anything to press."""
    service, window = _platform()
    visitor = visitors.signed_in("viewer")
    for path in (f"/admin/health/service/{service.pk}/change/", f"/admin/health/maintenance/{window.pk}/change/"):
        visitor.complaints.clear()  # axe, on the page before, brought a script of its own
        page = visitor.go(path)
        expect(page.get_by_role("link", name="Close")).to_be_visible()
        expect(page.get_by_role("button", name="Save")).to_have_count(0)
        visitor.assert_no_complaint()
        visitor.assert_accessible()


def test_service__keyboard_only__is_added_with_what_it_depends_on(visitors: Visitors) -> None:
    """HM-1, HM-12, Q-1: no mouse needed, the two lists included."""
    _platform()
    page = visitors.signed_in("operator").go("/admin/health/service/add/")
    page.get_by_label("Name:").focus()
    page.keyboard.type("pricing")
    page.keyboard.press("Tab")
    page.keyboard.type("http://pricing:8080/health")
    page.locator("#id_depends_on_from").focus()
    page.keyboard.press("Home")
    page.get_by_role("button", name="Choose selected services").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#id_depends_on_to option")).to_have_text(["gateway"])
    page.get_by_role("button", name="Save", exact=True).press("Enter")
    expect(page.locator(".messagelist")).to_contain_text("was added successfully")
    pricing = Service.objects.get(name="pricing")
    assert pricing.base_url == "http://pricing:8080"
    assert [parent.name for parent in pricing.depends_on.all()] == ["gateway"]


def test_window__end_now__asks_and_ends(visitors: Visitors) -> None:
    """HM-11: from the list, one question, done; past work has no button."""
    _, window = _platform()
    page = visitors.signed_in("operator").go("/admin/health/maintenance/")
    page.get_by_role("link", name="End now: the maintenance of orders").click()
    expect(page.locator("h1")).to_have_text("End maintenance now?")
    page.get_by_role("button", name="End now").click()
    expect(page.locator(".messagelist")).to_contain_text("has ended")
    expect(page.get_by_role("link", name="End now")).to_have_count(0)
    window.refresh_from_db()
    assert window.ends_at <= timezone.now()


def test_window__without_javascript__is_planned(visitors: Visitors) -> None:
    """HM-11: the forms are plain HTML underneath."""
    service, _ = _platform()
    visitor = visitors.signed_in("operator", javascript=False)
    page = visitor.go(f"/admin/health/maintenance/add/?services={service.pk}")
    page.fill("[name=reason]", "New switch")
    page.click("[name=_save]")
    expect(page.locator(".messagelist")).to_contain_text("was added successfully")
    planned = Maintenance.objects.get(reason="New switch")
    assert list(planned.services.all()) == [service]


def test_window__another_zone__times_are_local_with_utc_on_hover(visitors: Visitors) -> None:
    """Q-2: in the list the reader's own zone; the form says that it takes UTC."""
    _, window = _platform()
    page = visitors.signed_in("operator", zone="Asia/Tokyo").go("/admin/health/maintenance/?state=running")
    begins = page.locator("#result_list time").first
    there = window.starts_at + timedelta(hours=9)
    expect(begins).to_contain_text(f"{there:%H:%M:%S}")
    assert begins.get_attribute("title") == f"{window.starts_at:%-d %b %Y, %H:%M:%S} UTC"
    page.goto("/admin/health/maintenance/add/")
    expect(page.locator(".field-starts_at label").first).to_have_text("From (UTC):")
    expect(page.locator(".timezonewarning").first).to_contain_text("9 hours ahead of server time")
