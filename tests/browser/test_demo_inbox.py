"""The demo's inbox in a real browser."""

from __future__ import annotations

import redis as redis_client
from playwright.sync_api import expect

from opsportal.demo.inbox import Letter, Letterbox
from tests.browser.conftest import Visitors
from tests.browser.visitor import each_width
from tests.demo.test_inbox_page import MAIL, TEXT

LONG = Letter(
    MAIL.at, "webhook", "/hook/" + "x" * 80, "JSON, signed", '{"url": "http://127.0.0.1/' + "y" * 200 + '"}', ""
)
REFUSED = Letter(MAIL.at, "slack", "#trading-desk", "Drawdown", "6.2 %", "429 rate_limited", accepted=False)


@each_width
def test_inbox__any_look__keeps_policy_and_is_accessible__and_is_live(
    visitors: Visitors, redis: redis_client.Redis, width: int
) -> None:
    """RUN-3, Q-1, Q-2, AUTH-4: no complaint, no axe violation, nothing wider than the window; new messages appear."""
    visitor = visitors.signed_in("viewer", width=width)
    page = visitor.go("/admin/demo/inbox/")
    expect(page.locator("#inbox")).to_contain_text("Nothing has arrived yet")
    visitor.assert_accessible()
    box = Letterbox(redis)
    for letter in (MAIL, LONG, REFUSED, TEXT):
        box.put(letter)
    box.flush()
    expect(page.locator("#inbox tbody tr")).to_have_count(4)
    page.click("summary")
    visitor.assert_looks_right()
    page.click("#inbox-kind-sms")
    expect(page.locator("#inbox tbody tr")).to_have_count(1)
    visitor.assert_fits()
    visitor.assert_no_complaint()
