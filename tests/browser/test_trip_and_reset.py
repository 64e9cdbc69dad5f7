"""Halting trading and allowing it again, as people do it."""

from __future__ import annotations

import re

import pytest
import redis as redis_client
from playwright.sync_api import Page, expect

from circuit.models import Transition
from circuit.services import trip_breaker
from opsportal.accounts.actors import Actor
from tests.browser.conftest import Visitors
from tests.browser.visitor import PHONE, WIDE
from tests.conftest import Users

OPEN, TRIPPED = "OPEN · trading", "TRIPPED · halted"
REASON = "Positions and orders checked with the desk"


def _kinds() -> list[str]:
    return list(Transition.objects.order_by("at").values_list("kind", flat=True))


def _fill_reset(page: Page, reason: str = REASON) -> None:
    page.fill("#id_reset_reason", reason)
    page.check("#id_reset_acknowledged")


@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_trip_and_reset__dialogs__change_the_breaker(
    visitors: Visitors, breaker: redis_client.Redis, width: int
) -> None:
    """CB-4, CB-6, Q-2: two clicks after a typed reason halt trading; a reset asks for reason and acknowledgement."""
    visitor = visitors.signed_in("operator", width=width)
    page = visitor.go("/admin/circuit/")
    page.click("#trip-button")
    page.keyboard.type("Prices look wrong")  # the focus is in the reason already
    page.click("text=Trip: halt trading")
    visitor.assert_state(TRIPPED)
    assert breaker.get("circuit_breaker:state") == "TRIPPED"
    assert breaker.get("circuit_breaker:last_trip_reason") == "Prices look wrong"
    expect(page.locator("ul.messagelist")).to_contain_text("trading is halted")
    visitor.assert_fits()
    page.click("#reset-button")
    _fill_reset(page)
    page.click("text=Reset: allow trading")
    visitor.assert_state(OPEN)
    assert breaker.get("circuit_breaker:state") == "OPEN"
    assert _kinds() == ["trip", "reset"]
    visitor.assert_no_complaint()


@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_trip_and_reset__without_javascript__work_by_pages(
    visitors: Visitors, breaker: redis_client.Redis, width: int
) -> None:
    """CB-4, CB-6: everything works with JavaScript off."""
    visitor = visitors.signed_in("operator", width=width, javascript=False)
    page = visitor.go("/admin/circuit/")
    page.click("#trip-button")
    page.wait_for_url(re.compile("/admin/circuit/trip/"))
    page.fill("#id_trip_reason", "Prices look wrong")
    page.select_option("#id_trip_category", "data_stale")
    page.click("text=Trip: halt trading")
    visitor.assert_state(TRIPPED)
    page.click("#reset-button")
    page.wait_for_url(re.compile("/admin/circuit/reset/"))
    _fill_reset(page)
    page.click("text=Reset: allow trading")
    visitor.assert_state(OPEN)
    assert _kinds() == ["trip", "reset"]
    assert Transition.objects.get(kind="trip").category == "data_stale"
    page.fill("#id_history_q", "no such words")
    page.click("text=Apply")
    assert "No change matches these filters." in page.inner_text("#history")
    visitor.assert_fits()


def test_trip__keyboard_only__halts_trading(visitors: Visitors, breaker: redis_client.Redis) -> None:
    """Q-1: from the top of the page to a halt with Tab and Enter alone; Escape gives the focus back."""
    visitor = visitors.signed_in("operator")
    page = visitor.go("/admin/circuit/")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "trip-button":
            break
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "id_trip_reason"
    page.keyboard.press("Escape")
    assert page.locator("#trip-dialog").is_hidden()
    assert page.evaluate("document.activeElement.id") == "trip-button"
    page.keyboard.press("Enter")
    page.keyboard.type("Broker rejects every order")
    for _ in range(5):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.type") == "submit":
            break
    page.keyboard.press("Enter")
    visitor.assert_state(TRIPPED)
    assert breaker.get("circuit_breaker:state") == "TRIPPED"


def test_dialog__breaker_changes_meanwhile__keeps_what_is_typed(
    visitors: Visitors, breaker: redis_client.Redis
) -> None:
    """Q-1, CB-10: the card is swapped behind an open dialog, which loses neither text nor focus."""
    visitor = visitors.signed_in("operator")
    page = visitor.go("/admin/circuit/")
    page.click("#trip-button")
    page.keyboard.type("half a sen")
    breaker.set("circuit_breaker:state", "QUIET_PERIOD")
    visitor.assert_state("QUIET_PERIOD · cooling down", within=3)
    page.keyboard.type("tence")
    assert page.input_value("#id_trip_reason") == "half a sentence"


def test_trip__somebody_was_faster__says_who_and_changes_nothing(visitors: Visitors, users: Users) -> None:
    """CB-5: the second of two operators is told who halted trading, and what was typed is kept."""
    page = visitors.signed_in("operator").go("/admin/circuit/trip/")
    trip_breaker(by=Actor.of(users.admin), reason="Drawdown limit", category="drawdown")
    page.fill("#id_trip_reason", "My own reason")
    with page.expect_response(re.compile("/circuit/trip/")) as answer:
        page.click("text=Trip: halt trading")
    assert answer.value.status == 409
    problem = page.locator("[role=alert]").first
    expect(problem).to_contain_text(users.admin.username)
    expect(problem).to_contain_text("Drawdown limit")
    assert page.input_value("#id_trip_reason") == "My own reason"
    assert _kinds() == ["trip"]


def test_reset__state_changed_since_the_form_was_opened__is_refused(
    visitors: Visitors, users: Users, breaker: redis_client.Redis
) -> None:
    """CB-5, CB-6: a form about an earlier trip does not end a later one."""
    trip_breaker(by=Actor.of(users.admin), reason="First trouble", category="manual")
    visitor = visitors.signed_in("operator")
    page = visitor.go("/admin/circuit/")
    page.click("#reset-button")
    _fill_reset(page)
    breaker.set("circuit_breaker:last_trip_reason", "Second trouble")
    breaker.set("circuit_breaker:last_trip_at", "2030-01-01T00:00:00Z")
    expect(page.locator(".breaker")).to_contain_text("Second trouble", timeout=3000)
    with page.expect_response(re.compile("/circuit/reset/")) as answer:
        page.click("text=Reset: allow trading")
    assert answer.value.status == 409
    assert breaker.get("circuit_breaker:state") == "TRIPPED"
    assert page.locator("[role=alert]").count() >= 1
    assert page.input_value("#id_reset_reason") == REASON
    visitor.assert_accessible()


def test_reset__too_short_a_reason__is_counted_and_refused(visitors: Visitors, breaker: redis_client.Redis) -> None:
    """CB-6: the counter counts as the server does; the form is not sent, and the server would refuse it too."""
    breaker.set("circuit_breaker:state", "TRIPPED")
    page = visitors.signed_in("operator").go("/admin/circuit/")
    page.click("#reset-button")
    counter = page.locator("#reset-dialog [data-counter]")
    page.fill("#id_reset_reason", "short" + " " * 30 + "one")
    expect(counter).to_have_text("9 of at least 20 characters")
    page.check("#id_reset_acknowledged")
    page.click("text=Reset: allow trading")
    assert page.locator("#reset-dialog").is_visible()
    page.fill("#id_reset_reason", REASON)
    expect(counter).to_contain_text("enough")
    plain = visitors.signed_in("operator", javascript=False).go("/admin/circuit/reset/")
    plain.fill("#id_reset_reason", " " * 25)
    plain.check("#id_reset_acknowledged")
    with plain.expect_response(re.compile("/circuit/reset/")) as answer:
        plain.click("text=Reset: allow trading")
    assert answer.value.status == 422
    assert plain.locator(".errorlist").count() == 1
    assert breaker.get("circuit_breaker:state") == "TRIPPED"


def test_trip__pressed_twice__is_sent_once(visitors: Visitors) -> None:
    """CB-5: an impatient double click gives one request and one transition."""
    visitor = visitors.signed_in("operator")
    page = visitor.go("/admin/circuit/trip/")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    page.fill("#id_trip_reason", "Prices look wrong")
    page.dblclick("text=Trip: halt trading")
    visitor.assert_state(TRIPPED)
    assert len(sent) == 1 and _kinds() == ["trip"]


def test_viewer__breaker_page__has_no_controls_and_is_told_why(visitors: Visitors) -> None:
    """RBAC-1, CB-4: no button that could not work, and the reason in plain words."""
    page = visitors.signed_in("viewer").go("/admin/circuit/")
    for control in ("#trip-button", "#reset-button", "dialog"):
        assert page.locator(control).count() == 0
    assert "Your role (viewer) can look but not trip or reset." in page.inner_text(".breaker")


def test_state_lost__operator__is_offered_to_restore_it(
    visitors: Visitors, users: Users, breaker: redis_client.Redis
) -> None:
    """CB-2: after Redis has lost its data the page offers the last recorded state, as an explicit act."""
    trip_breaker(by=Actor.of(users.operator), reason="Drawdown limit", category="drawdown")
    for key in breaker.scan_iter("circuit_breaker:*"):
        breaker.delete(key)
    visitor = visitors.signed_in("operator")
    page = visitor.go("/admin/circuit/")
    visitor.assert_state("UNKNOWN · halted: state unknown")
    page.click("#restore-button")
    assert "TRIPPED · halted" in page.inner_text(".card")
    visitor.assert_accessible()
    page.fill("#id_restore_reason", REASON)
    page.check("#id_restore_acknowledged")
    page.click("text=Restore TRIPPED")
    visitor.assert_state(TRIPPED)
    assert breaker.get("circuit_breaker:state") == "TRIPPED"
