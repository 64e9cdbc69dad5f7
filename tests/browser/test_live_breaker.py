"""The breaker page follows the platform by itself, says how old its reading is, and never disturbs the reader."""

from __future__ import annotations

import re
import time

import redis as redis_client
from django.core.cache import cache
from playwright.sync_api import Page, Response, expect

from circuit.services import trip_breaker
from opsportal.accounts.actors import Actor
from opsportal.accounts.models import UserSession
from opsportal.embedded import EmbeddedRedis
from tests.browser.conftest import Visitors
from tests.conftest import Users

OPEN, TRIPPED = "OPEN · trading", "TRIPPED · halted"


def _state(page: Page) -> str:
    return page.inner_text(".breaker__state")


def _polls(page: Page, seconds: float) -> list[Response]:
    """The answers to the polls of so many seconds."""
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer) if "/circuit/fragment/" in answer.url else None)
    page.wait_for_timeout(seconds * 1000)
    return answers


def test_breaker_page__another_writer_trips__shows_it_within_two_seconds(
    visitors: Visitors, breaker: redis_client.Redis
) -> None:
    """CB-1, CB-10: from a change in Redis to the pixel, without a reload, and said once to screen readers."""
    visitor = visitors.signed_in("viewer")
    page = visitor.go("/admin/circuit/")
    visitor.assert_state(OPEN)
    page.evaluate("window.notReloaded = true")
    breaker.set("circuit_breaker:state", "TRIPPED")
    visitor.assert_state(TRIPPED, within=2.5)
    assert page.evaluate("window.notReloaded")
    assert page.inner_text("#ops-announce") == "Circuit breaker: TRIPPED, halted"
    visitor.assert_no_complaint()


def test_overview__another_writer_trips__shows_it_within_five_seconds(
    visitors: Visitors, breaker: redis_client.Redis
) -> None:
    """CB-10: the overview too."""
    visitor = visitors.signed_in("viewer")
    page = visitor.go("/admin/")
    assert "Nothing is halted." in page.inner_text("#overview")
    breaker.set("circuit_breaker:state", "TRIPPED")
    visitor.assert_state(TRIPPED, within=5)
    assert "Nothing is halted." not in page.inner_text("#overview")


def test_breaker_page__nothing_changes__focus_and_card_stay_and_the_age_is_renewed(visitors: Visitors) -> None:
    """CB-10, Q-1: an unchanged card is not swapped, yet the reading's age follows every poll."""
    page = visitors.signed_in("operator").go("/admin/circuit/")
    page.evaluate("document.querySelector('.breaker').id = 'the-same-card'")
    page.focus("#trip-button")
    answers = _polls(page, 7)
    assert len(answers) >= 5 and all(answer.status in (200, 304) for answer in answers)
    assert page.evaluate("document.activeElement.id") == "trip-button"
    assert page.locator("#the-same-card").count() == 1
    shown = re.fullmatch(r"Read (\d+) s ago", page.inner_text("[data-reading-age]"))
    assert shown and int(shown[1]) <= 3
    assert page.locator("[data-stale-banner]").is_hidden()


def test_poll__nothing_changed__a_304_still_brings_a_fresh_age(visitors: Visitors) -> None:
    """CB-10: the browser answers a revalidated poll from its cache, with the headers of the 304 itself."""
    page = visitors.signed_in("viewer").go("/admin/circuit/")
    page.evaluate(
        """window.polls = []; document.addEventListener("htmx:afterRequest", ({detail: {xhr}}) => window.polls.push(
        [xhr.status, xhr.getResponseHeader("X-Request-ID"), xhr.getResponseHeader("X-Reading-Age")]))"""
    )
    answers = _polls(page, 3.5)
    polls = page.evaluate("window.polls")
    assert len(polls) >= 3 and {status for status, _, _ in polls} == {200}
    assert len({request for _, request, _ in polls}) == len(polls), "headers of an earlier answer"
    assert all(0 <= float(age) < 2 for _, _, age in polls)
    sent = [answer.request.sizes()["responseBodySize"] for answer in answers]
    assert sent[1:] == [0] * (len(sent) - 1), "the card was sent again"


def test_breaker_page__changed_while_focused__focus_stays_on_the_button(
    visitors: Visitors, breaker: redis_client.Redis
) -> None:
    """Q-1: a swap keeps the focus where it was."""
    visitor = visitors.signed_in("operator")
    page = visitor.go("/admin/circuit/")
    page.focus("#trip-button")
    breaker.set("circuit_breaker:state", "QUIET_PERIOD")
    visitor.assert_state("QUIET_PERIOD · cooling down", within=3)
    assert page.evaluate("document.activeElement.id") == "trip-button"


def test_pause__pressed__polling_stops_until_pressed_again(visitors: Visitors, breaker: redis_client.Redis) -> None:
    """Q-1 (WCAG 2.2.2): updates can be paused, the page says so, and resuming shows the truth at once."""
    visitor = visitors.signed_in("viewer")
    page = visitor.go("/admin/circuit/")
    page.click("[data-poll-toggle]")
    page.wait_for_timeout(300)  # a poll that was already under way
    breaker.set("circuit_breaker:state", "TRIPPED")
    assert _polls(page, 3) == []
    assert _state(page) == OPEN
    expect(page.locator("[data-stale-banner]")).to_contain_text("Updates are paused", timeout=5000)
    page.click("[data-poll-toggle]")
    visitor.assert_state(TRIPPED, within=1)
    expect(page.locator("[data-stale-banner]")).to_be_hidden()


def test_breaker_page__network_lost__says_stale_and_recovers(visitors: Visitors, breaker: redis_client.Redis) -> None:
    """CB-10: a lost connection is loud, within 5 s, takes the reset away, and goes when the connection returns."""
    visitor = visitors.signed_in("operator")
    page = visitor.go("/admin/circuit/")
    banner = page.locator("[data-stale-banner]")
    visitor.context.set_offline(True)
    expect(banner).to_contain_text("connection lost", timeout=5000)
    expect(banner).to_contain_text("Trip is still offered.")
    assert banner.get_attribute("role") == "alert"
    assert page.locator("#trip-button").is_enabled()
    visitor.context.set_offline(False)
    expect(banner).to_be_hidden(timeout=4000)
    breaker.set("circuit_breaker:state", "TRIPPED")
    visitor.assert_state(TRIPPED, within=3)
    assert page.locator("#reset-button").is_enabled()
    visitor.context.set_offline(True)
    expect(banner).to_contain_text("Reset is off until a fresh reading arrives.", timeout=5000)
    assert page.locator("#reset-button").is_disabled()
    visitor.context.set_offline(False)
    expect(banner).to_be_hidden(timeout=4000)
    assert page.locator("#reset-button").is_enabled()


def test_breaker_page__redis_stopped__keeps_the_last_state_and_says_since_when(
    visitors: Visitors, redis_server: EmbeddedRedis
) -> None:
    """CB-10: the last known state stays under a loud banner, and the controls say why they are off."""
    visitor = visitors.signed_in("operator")
    page = visitor.go("/admin/circuit/")
    with redis_server.stopped():
        expect(page.locator(".breaker .banner").first).to_contain_text("Stale since", timeout=6000)
        assert _state(page) == OPEN
        expect(page.locator("#trip-off")).to_contain_text("Redis does not answer")
        visitor.assert_accessible()


def test_history__change_in_another_window__appears_without_reload(visitors: Visitors, users: Users) -> None:
    """CB-9: the table follows the breaker; what is typed into its filters stays."""
    page = visitors.signed_in("viewer").go("/admin/circuit/")
    page.fill("#id_history_q", "half a wo")
    trip_breaker(by=Actor.of(users.operator), reason="Broker rejects every order", category="broker_errors")
    expect(page.locator(".history tbody tr")).to_have_count(1, timeout=6000)
    assert "Broker rejects every order" in page.inner_text(".history")
    assert page.input_value("#id_history_q") == "half a wo"


def test_history_filter__applied__swaps_the_table_and_can_be_gone_back(visitors: Visitors, users: Users) -> None:
    """CB-9: filtering changes table and address without a reload; Back undoes it; the export keeps the filter."""
    trip_breaker(by=Actor.of(users.operator), reason="Latency of the gateway", category="latency")
    visitor = visitors.signed_in("viewer")
    page = visitor.go("/admin/circuit/")
    page.evaluate("window.notReloaded = true")
    page.fill("#id_history_q", "no such words")
    page.click("text=Apply")
    expect(page.locator("#history")).to_contain_text("No change matches these filters.")
    assert page.evaluate("window.notReloaded") and "q=no%20such%20words" in page.url
    page.go_back()
    expect(page.locator(".history tbody tr")).to_have_count(1)
    page.fill("#id_history_q", "gateway")
    page.click("text=Apply")
    expect(page.locator("#history-csv")).to_have_attribute("href", re.compile(r"q=gateway"))
    visitor.assert_no_complaint()


def test_poll__session_ended__leads_to_sign_in_with_the_reason(visitors: Visitors, users: Users) -> None:
    """AUTH-3: a session that ends in the middle of polling leads to the sign-in page, never into the card."""
    page = visitors.signed_in("viewer").go("/admin/circuit/")
    keys = list(UserSession.objects.values_list("session_key", flat=True))
    UserSession.objects.all().delete()
    cache.delete_many([f"session:{key}" for key in keys])
    page.wait_for_url(re.compile(r"/admin/login/"), timeout=4000)
    expect(page.locator("[role=status]").first).to_contain_text("You were signed out")
    page.fill("#id_username", users.viewer.username)
    page.fill("#id_password", users.password)
    page.click("input[type=submit]")
    page.wait_for_url(re.compile(r"/admin/circuit/$"))


def test_hidden_tab__does_not_poll_and_polls_at_once_when_back(visitors: Visitors, breaker: redis_client.Redis) -> None:
    """CB-10: a hidden tab asks nothing; when it is seen again it is right at once."""
    visitor = visitors.signed_in("viewer")
    page = visitor.go("/admin/circuit/")
    set_hidden = (
        "(hidden) => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
        " document.dispatchEvent(new Event('visibilitychange')); }"
    )
    page.evaluate(set_hidden, True)
    page.wait_for_timeout(300)
    breaker.set("circuit_breaker:state", "TRIPPED")
    assert _polls(page, 2.5) == []
    began = time.monotonic()
    page.evaluate(set_hidden, False)
    visitor.assert_state(TRIPPED, within=1)
    assert time.monotonic() - began < 1
