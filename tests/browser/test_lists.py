"""Long lists in a real browser: what cannot be read is said, pages begin at their top, filters fold on a phone."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.alerting.operating import a_message, an_alert, mail_channel
from tests.browser.conftest import Visitors
from tests.browser.visitor import PHONE, WIDE, each_width

EVENTS = "/admin/alerting/events/"
DELIVERIES = "/admin/alerting/deliveries/"
#: How far below the header, which stays, the heading is.
BELOW_HEADER = """() => document.getElementById("events-title").getBoundingClientRect().top
    - document.getElementById("header").getBoundingClientRect().bottom"""
#: The room that a closed choice has for its words, less what they take.
ROOM = """(select) => {
  const style = getComputedStyle(select), pen = document.createElement("canvas").getContext("2d"), arrow = 20;
  pen.font = style.font;
  const words = pen.measureText(select.selectedOptions[0].text).width;
  return select.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight) - arrow - words;
}"""


def say_503(page: Page, address: str) -> None:
    """From now on the portal answers so at this address."""
    page.route(address, lambda route: route.fulfill(status=503, body="away"))


@each_width
def test_filter__portal_does_not_answer__is_said_at_the_list(visitors: Visitors, width: int) -> None:
    """AL-9, Q-1, Q-4: never old rows as if they were what was asked for; gone once the list comes again."""
    an_alert(1, severity=1, summary="a warning")
    visitor = visitors.signed_in("operator", width=width)
    page = visitor.go(EVENTS)
    open_filters(page)
    page.get_by_label("Severity", exact=True).select_option("critical")
    say_503(page, "**/events/?*")
    page.click("#events-apply")
    alert = page.locator(".list-failure[role=alert]")
    expect(alert).to_contain_text("error 503")
    expect(alert).to_contain_text("not what you asked for")
    expect(alert).to_be_in_viewport()
    assert "severity=critical" in str(alert.locator("a").get_attribute("href"))
    expect(page.locator("#events[data-not-asked]")).to_have_count(1)
    visitor.assert_looks_right()
    page.unroute_all()
    visitor.context.set_offline(True)
    page.click("#events-apply")
    expect(alert).to_have_count(1)
    expect(alert).to_contain_text("The connection to the portal is lost")
    visitor.context.set_offline(False)
    page.click("#events-apply")
    expect(page.locator("#events")).to_contain_text("No event matches these filters")
    expect(alert).to_have_count(0)
    expect(page.locator("[data-not-asked]")).to_have_count(0)


def test_failure__link__loads_the_page_that_was_asked_for(visitors: Visitors) -> None:
    """AL-9: the way on is a plain link; the audit log's list says it the same way."""
    page = visitors.signed_in("admin").go("/admin/audit/")
    say_503(page, "**/audit/?*")
    page.get_by_label("Outcome", exact=True).select_option(index=1)
    page.click("#audit-apply")
    expect(page.locator(".list-failure")).to_contain_text("error 503")
    page.unroute_all()
    page.click(".list-failure a")
    page.wait_for_url("**/audit/?*outcome=*")
    expect(page.locator(".list-failure")).to_have_count(0)


def test_failure__of_a_filter_above_a_polled_region__outlives_the_polls(visitors: Visitors) -> None:
    """HM-4, Q-1: a poll brings what the address asks for, not what stands in the form."""
    page = visitors.signed_in("viewer").go("/admin/health/")
    say_503(page, "**/health/?*")
    page.locator("#health-filters select").first.select_option(index=1)
    page.locator("#health-filters button").click()
    expect(page.locator(".list-failure")).to_contain_text("error 503")
    with page.expect_response("**/health/fragment/**") as polled:
        pass
    assert polled.value.status in (200, 304)
    expect(page.locator(".list-failure")).to_have_count(1)


def test_paging__on_a_phone__begins_at_the_top_and_keeps_focus(visitors: Visitors) -> None:
    """AL-9, Q-1, Q-2: the reader sees the first row of the next page, and never loses the place on the keyboard."""
    for number in range(60):
        an_alert(number, summary=f"alert {number}")
    visitor = visitors.signed_in("viewer", width=PHONE)
    page = visitor.go(EVENTS)
    page.focus("#events-older")
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(10)
    expect(page.locator("#events-title")).to_be_focused()
    expect(page.locator("#events-title")).to_be_in_viewport()
    assert 0 <= page.evaluate(BELOW_HEADER) <= 60, "the list begins at its heading"
    visitor.assert_no_complaint()


@pytest.mark.parametrize("javascript", [True, False])
def test_filters__on_a_phone__are_folded_and_named(visitors: Visitors, javascript: bool) -> None:
    """AL-9, Q-2: the first row stands on the first screen; the fold says what is filtered; a mistake opens it."""
    a_message(an_alert(1, severity=0, summary="Drawdown 7 %"), mail_channel())
    visitor = visitors.signed_in("viewer", width=PHONE, javascript=javascript)
    page = visitor.go(f"{EVENTS}?severity=critical&state=open")
    expect(page.locator("#events-filters > summary")).to_have_text("Filters: Severity: critical, State: open")
    expect(page.locator("tbody tr")).to_be_in_viewport()
    expect(page.locator("#events-apply")).to_be_hidden()
    open_filters(page)
    page.get_by_label("Severity", exact=True).select_option("info")
    page.click("#events-apply")
    expect(page.locator("#events")).to_contain_text("No event matches these filters")
    visitor.go(f"{EVENTS}?label=nosign")
    expect(page.locator("#id_events_label")).to_be_visible()
    visitor.go(DELIVERIES)
    expect(page.locator("#deliveries-filters > summary")).to_have_text("Filters: none")
    expect(page.locator("tbody tr")).to_be_in_viewport()
    visitor.assert_fits()


@pytest.mark.parametrize("javascript", [True, False])
def test_filters__on_a_wide_screen__stand_open(visitors: Visitors, javascript: bool) -> None:
    """AL-9: nothing to unfold where there is room; every choice can be read."""
    page = visitors.signed_in("viewer", width=WIDE, javascript=javascript).go(DELIVERIES)
    expect(page.locator("#deliveries-filters > summary")).to_be_hidden()
    status = page.get_by_label("Status", exact=True)
    status.select_option("waiting")
    if javascript:
        assert status.evaluate(ROOM) >= 0, "nothing is cut off"
    page.click("#deliveries-apply")
    page.wait_for_url("**status=waiting*")


def test_session_over__form_sent__says_that_nothing_was_changed(visitors: Visitors, users: Any) -> None:
    """AUTH-3, AD-10: the sign-in page says so, and leads back to the page of the form."""
    event = an_alert(1, summary="Drawdown 7 %")
    visitor = visitors.signed_in("operator", width=PHONE)
    page = visitor.go(f"{EVENTS}?state=firing")
    page.check(f"#choose-{event.pk}")
    session = [cookie["name"] for cookie in visitor.context.cookies() if "session" in cookie["name"]]
    visitor.context.clear_cookies(name=session[0])
    page.click("#events-acknowledge")
    expect(page.locator(".banner")).to_have_text("You were signed out. Nothing was changed: sign in and do it again.")
    visitor.assert_looks_right()
    page.fill("#id_username", users.operator.username)
    page.fill("#id_password", users.password)
    page.click("input[type=submit]")
    page.wait_for_url(f"**{EVENTS}?state=firing")
    expect(page.locator(f"#choose-{event.pk}")).to_be_visible()


def open_filters(page: Page) -> None:
    """Unfold them where they are folded."""
    summary = page.locator("#events-filters > summary")
    if summary.is_visible():
        summary.click()
