"""The sign-in page, and what follows from it."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.conftest import Visitors
from tests.conftest import Users


def test_sign_in__keyboard__leads_to_the_page_that_was_asked_for(visitors: Visitors, users: Users) -> None:
    """AUTH-1, Q-1: name, Tab, password, Enter."""
    visitor = visitors.stranger()
    page = visitor.go("/admin/circuit/")
    page.wait_for_url(re.compile("/admin/login/"))
    page.keyboard.type(users.viewer.username)
    page.keyboard.press("Tab")
    page.keyboard.type(users.password)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/admin/circuit/$"))
    assert users.viewer.username in page.inner_text("#user-tools")
    visitor.assert_no_complaint()


def test_sign_in__wrong_password_again_and_again__shows_the_lock(visitors: Visitors, users: Users) -> None:
    """AUTH-1, Q-1: the lock-out is a page that says how long."""
    visitor = visitors.stranger()
    page = visitor.go("/admin/login/")
    for _ in range(5):
        page.fill("#id_username", users.viewer.username)
        page.fill("#id_password", "not the password")
        page.click("input[type=submit]")
        if page.locator("text=Too many failed sign-ins").count():
            break
        expect(page.locator(".errornote")).to_be_visible()
    expect(page.locator("h1")).to_have_text("Too many failed sign-ins")
    assert "15 minutes" in page.inner_text("main")
    visitor.assert_no_complaint()
    visitor.assert_accessible()


def test_theme_toggle__pressed__changes_the_colours_and_is_remembered(visitors: Visitors) -> None:
    """Q-1: light and dark are a choice of the reader."""
    page = visitors.signed_in("viewer").go("/admin/")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.click(".theme-toggle")
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    assert page.evaluate(ground) == dark


def test_sign_out__shows_a_page_and_ends_the_session(visitors: Visitors) -> None:
    """AUTH-3: after signing out the portal asks for the password again."""
    visitor = visitors.signed_in("viewer")
    page = visitor.go("/admin/")
    page.click("#logout-form button")
    page.wait_for_url(re.compile("/admin/logout/"))
    visitor.assert_no_complaint()
    visitor.assert_accessible()
    visitor.go("/admin/circuit/")
    assert "/admin/login/" in page.url
