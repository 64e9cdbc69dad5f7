"""Every page, light and dark, wide and on a phone: policy, accessibility, width."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
import redis as redis_client

from circuit.selectors import read_breaker
from circuit.services import reset_breaker, trip_breaker
from circuit.wire import version_of
from opsportal.accounts.actors import Actor
from tests.browser.conftest import Visitors
from tests.browser.visitor import PHONE, each_width
from tests.conftest import Users

PAGES = (
    "/admin/",
    "/admin/circuit/",
    "/admin/circuit/?since=not-a-date",
    "/admin/circuit/trip/",
    "/admin/circuit/reset/",
    "/admin/circuit/restore/",
    "/admin/password_change/",
    "/admin/nowhere/",
)


def _some_history(users: Users) -> None:
    by = Actor.of(users.operator)
    trip_breaker(by=by, reason="Drawdown limit of the momentum strategy", category="drawdown")
    version = version_of(read_breaker().raw)
    reset_breaker(by=by, reason="Positions checked with the desk", acknowledged=True, expected_version=version)
    trip_breaker(by=by, reason="averyveryveryveryveryveryveryverylongwordwithoutanyspaceinit" * 3, category="manual")


@each_width
@pytest.mark.parametrize("path", PAGES)
def test_page__any_look__keeps_policy_and_is_accessible(
    visitors: Visitors, users: Users, path: str, width: int
) -> None:
    """Q-1, Q-2, AUTH-4: no CSP violation, no axe violation, nothing wider than the window."""
    _some_history(users)
    visitor = visitors.signed_in("admin", width=width)
    page = visitor.go(path)
    assert page.url.endswith(path), "not the page that was asked for"
    visitor.assert_looks_right()


@each_width
@pytest.mark.parametrize("state", ["OPEN", "TRIPPED", "QUIET_PERIOD", "nonsense", None])
def test_breaker__any_state_and_look__is_accessible(
    visitors: Visitors, state: str | None, width: int, breaker: redis_client.Redis
) -> None:
    """CB-1, CB-2, Q-1: each state has its word, and enough contrast on its tint."""
    if state is None:
        breaker.delete("circuit_breaker:state")
    else:
        breaker.set("circuit_breaker:state", state)
    visitor = visitors.signed_in("operator", width=width)
    visitor.go("/admin/circuit/")
    visitor.assert_state(
        {
            "OPEN": "OPEN · trading",
            "TRIPPED": "TRIPPED · halted",
            "QUIET_PERIOD": "QUIET_PERIOD · cooling down",
        }.get(state or "", "UNKNOWN · halted: state unknown")
    )
    visitor.assert_looks_right()


@each_width
@pytest.mark.parametrize("path", ["/admin/login/", "/admin/login/?undone=1", "/nowhere/"])
def test_page_before_sign_in__any_look__keeps_policy_and_is_accessible(
    visitors: Visitors, path: str, width: int
) -> None:
    """Q-1, Q-2, AUTH-4: the pages that nobody needs to be signed in for."""
    visitor = visitors.stranger(width=width)
    visitor.go(path)
    visitor.assert_looks_right()


@each_width
@pytest.mark.parametrize("dialog", ["trip", "reset"])
def test_dialog__any_look__is_accessible(
    visitors: Visitors, breaker: redis_client.Redis, dialog: str, width: int
) -> None:
    """Q-1: the open dialogs too."""
    if dialog == "reset":
        breaker.set("circuit_breaker:state", "TRIPPED")
    visitor = visitors.signed_in("operator", width=width)
    page = visitor.go("/admin/circuit/")
    page.click(f"#{dialog}-button")
    page.wait_for_selector(f"#{dialog}-dialog[open]")
    visitor.assert_looks_right()


def test_forbidden_page__viewer_asks_for_the_trip_form__says_what_is_missing(visitors: Visitors) -> None:
    """RBAC-1, Q-1: the refusal names the missing right and the role that has it."""
    visitor = visitors.signed_in("viewer")
    page = visitor.go("/admin/circuit/trip/")
    assert "trip the circuit breaker" in page.inner_text("main")
    assert "operator" in page.inner_text("main")
    visitor.assert_no_complaint()
    visitor.assert_accessible()


def test_navigation__phone__opens_and_closes_by_keyboard(visitors: Visitors) -> None:
    """Q-1, Q-2: the menu button works with Enter and Escape, and gives the focus back."""
    page = visitors.signed_in("viewer", width=PHONE).go("/admin/")
    link = page.locator("#ops-nav a", has_text="Circuit breaker")
    assert not link.is_visible()
    page.focus(".ops-menu")
    page.keyboard.press("Enter")
    assert link.is_visible()
    assert page.evaluate("document.activeElement.closest('#ops-nav') !== null")
    page.keyboard.press("Escape")
    assert not link.is_visible()
    assert page.evaluate("document.activeElement.className") == "ops-menu"


@each_width
def test_times__another_zone__are_local_with_utc_on_hover(visitors: Visitors, users: Users, width: int) -> None:
    """Q-2: the reader's own zone, which has its room, and UTC in the title."""
    _some_history(users)
    visitor = visitors.signed_in("viewer", width=width, zone="America/New_York")
    page = visitor.go("/admin/circuit/")
    time = page.locator(".history time").first
    at = datetime.fromisoformat(str(time.get_attribute("datetime")))
    there = at.astimezone(ZoneInfo("America/New_York"))
    hours = int(there.utcoffset().total_seconds() // 3600)  # type: ignore[union-attr]
    assert time.inner_text() == f"{there:%-d %b %Y, %H:%M:%S} GMT{hours}", "with the zone: filters take UTC"
    visitor.assert_fits()
    assert time.get_attribute("title") == at.strftime("%-d %b %Y, %H:%M:%S UTC")
