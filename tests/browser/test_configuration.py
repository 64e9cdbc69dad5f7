"""The configuration in a real browser: policy, accessibility, width, keyboard, no JavaScript."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from sysconf.models import Version
from tests.browser.conftest import Visitors
from tests.browser.visitor import each_width
from tests.conftest import Users
from tests.desk import WHY
from tests.sysconf.desk import DEFAULTS, HOURS, LIMITS, save, spoil, values


def _desk() -> None:
    """Changes of every kind: dangerous ones, a long word, many holidays."""
    save(DEFAULTS, dry_run=False, circuit_breaker_enabled=False, drawdown_threshold=0.1)
    days = [f"2026-{month:02}-{day:02}" for month in range(1, 13) for day in (1, 15)]
    save(HOURS, holidays=days, reason="averyverylongwordwithoutanyspaceinit" * 5)
    save(HOURS, market_open="08:00")


def _review(page: Page) -> None:
    page.select_option("#id_set-circuit_breaker_enabled", "true")
    page.fill("#id_set-drawdown_threshold", "0.2")
    page.get_by_role("button", name="Review the change").click()
    expect(page.locator(".changes-list").first).to_be_visible()


def _refused(page: Page) -> None:
    page.fill("#id_set-holidays", "tomorrow")
    page.get_by_role("button", name="Review the change").click()
    expect(page.locator(".errorlist").first).to_be_visible()


def _conflict(page: Page) -> None:
    save(HOURS, market_open="07:00", market_close="18:00")
    page.fill("#id_set-market_open", "06:00")
    page.get_by_role("button", name="Review the change").click()
    expect(page.locator(".clash").first).to_be_visible()


PAGES: dict[str, tuple[str, Callable[[Page], None] | None]] = {
    "list": ("/admin/sysconfig/", None),
    "section": (f"/admin/sysconfig/{HOURS}/", None),
    "section refused": (f"/admin/sysconfig/{HOURS}/", _refused),
    "section not valid": (f"/admin/sysconfig/{LIMITS}/", None),
    "review": (f"/admin/sysconfig/{DEFAULTS}/", _review),
    "conflict": (f"/admin/sysconfig/{HOURS}/", _conflict),
    "version": (f"/admin/sysconfig/{HOURS}/versions/1/", None),
    "breaker switched off": ("/admin/circuit/", None),
}


@each_width
@pytest.mark.parametrize("name", PAGES)
def test_page__any_look__keeps_policy_and_is_accessible(visitors: Visitors, name: str, width: int) -> None:
    """Q-1, Q-2, AUTH-4: no CSP violation, no axe violation, nothing wider than the window."""
    _desk()
    if name == "section not valid":
        spoil(LIMITS, values(LIMITS) | {"max_open_orders": 0, "verylongnamewithoutspaces" * 3: 1})
    path, act = PAGES[name]
    visitor = visitors.signed_in("admin", width=width)
    page = visitor.go(path)
    if act:
        act(page)
    visitor.assert_looks_right()


def test_change__keyboard_only__is_reviewed_and_saved(visitors: Visitors) -> None:
    """CF-3, CF-4, Q-1: no mouse needed, the tick of a dangerous change included."""
    page = visitors.signed_in("admin").go(f"/admin/sysconfig/{LIMITS}/")
    page.get_by_label("Most open orders at a time").focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("20")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Review the change: Position limits")
    page.get_by_label("Reason").focus()
    page.keyboard.type(WHY)
    expect(page.locator("[data-counter]")).to_have_text(f"{len(WHY)} characters: enough")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".messagelist")).to_contain_text("saved as version 1")
    assert Version.objects.get().values["max_open_orders"] == 20


def test_change__without_javascript__conflict_and_merge(visitors: Visitors) -> None:
    """CF-3: form, conflict, choice, review and save are plain HTML."""
    page = visitors.signed_in("admin", javascript=False).go(f"/admin/sysconfig/{HOURS}/")
    page.fill("#id_set-market_close", "17:00")
    save(HOURS, market_open="08:00")
    page.get_by_role("button", name="Review the change").click()
    expect(page.locator("h1")).to_have_text("Changed by somebody else: Trading hours")
    page.get_by_role("button", name="Review the change").click()
    expect(page.locator(".changes-list li")).to_have_count(1)
    page.fill("#id_review_reason", "Longer days")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".messagelist")).to_contain_text("saved as version 2")
    now = values(HOURS)
    assert (now["market_open"], now["market_close"]) == ("08:00", "17:00")


def test_header__dry_run_switched_off__an_open_page_says_so(visitors: Visitors, users: Users) -> None:
    """CF-1: a page that has been open for hours does not go on promising that no order is real."""
    visitor = visitors.stranger()
    visitor.page.clock.install()
    visitor.sign_in(users.admin, users.password)
    page = visitor.go("/admin/password_change/")
    expect(page.locator("#config-state")).to_have_text("Dry run: no real orders")
    save(DEFAULTS, dry_run=False)
    page.clock.fast_forward(16_000)
    expect(page.locator("#config-state")).to_have_text("")
    visitor.assert_no_complaint()
