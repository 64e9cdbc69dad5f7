"""The operators' pages of alerting in a real browser: every look, live updates, by keyboard, without JavaScript."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from alerting.links import acknowledgement_url
from alerting.models import Delivery, Event, EventState, Gate, Outcome, Rule, Status
from tests.alerting.operating import a_message, an_alert, an_attempt, mail_channel, poison
from tests.browser.conftest import Visitors
from tests.browser.visitor import PHONE, each_width
from tests.conftest import Users

ALERTS = "/admin/alerting/"
LONG = "averyveryveryverylongwordwithoutanyspace" * 4


def some_alerts() -> dict[str, str]:
    """Something of every kind, with words that have no place to break; what the paths below need."""
    now, channel = timezone.now(), mail_channel("Desk by mail")
    Rule.objects.create(name="nobody hears it", metric="drawdown", comparison="gt", threshold=0.1)
    Gate.objects.filter(pk=1).update(closed=True, since=now)
    firing = an_alert(1, severity=0, summary=f"Drawdown 7 % {LONG}"[:300], rule_name=LONG[:100], labels={"a": LONG, LONG[:60]: "b"},
                      annotations={"description": LONG, "page": f"https://wiki.example.com/{LONG}"},
                      runbook_url="https://wiki.example.com/x", muted_by="cause:orders", notified_at=None)  # fmt: skip
    taken = an_alert(2, state=EventState.ACKNOWLEDGED, acknowledged_at=now, acknowledged_by="anna",
                     acknowledgment_note=LONG, started_at=now - timedelta(minutes=5))  # fmt: skip
    an_alert(3, severity=2, state=EventState.RESOLVED, resolved_at=now, resolved_by="bert", resolved_note=LONG)
    done = a_message(taken, channel, status=Status.DELIVERED, finished_at=now, outcome="Accepted.", provider_id=LONG)
    an_attempt(done, outcome=Outcome.TRANSIENT, answer=LONG, status_code=451, next_at=now)
    an_attempt(done, outcome=Outcome.DELIVERED, number=2, late=True)
    a_message(taken, channel, "b@example.com", due_at=now - timedelta(minutes=1))
    a_message(taken, channel, "m@example.com", merged_into=done.pk)
    bad = poison(firing, channel, "c@example.com", outcome=LONG)
    poison(an_alert(5), channel, "d@example.com", outcome=LONG)
    poison(firing, channel, kind="breaker", recipient_shown="circuit breaker", outcome="Redis does not answer.")
    return {"firing": str(firing.pk), "taken": str(taken.pk), "done": str(done.pk), "bad": str(bad.pk)}


PAGES = (
    ALERTS,
    f"{ALERTS}events/",
    f"{ALERTS}events/?label=nosign&since=never",
    f"{ALERTS}events/?severity=info&state=firing",
    f"{ALERTS}events/{{firing}}/",
    f"{ALERTS}events/{{taken}}/",
    f"{ALERTS}events/{{firing}}/acknowledge/",
    f"{ALERTS}events/{{taken}}/acknowledge/",
    f"{ALERTS}events/{{firing}}/resolve/",
    f"{ALERTS}deliveries/",
    f"{ALERTS}deliveries/?event=x",
    f"{ALERTS}deliveries/{{done}}/",
    f"{ALERTS}deliveries/{{bad}}/",
    f"{ALERTS}deliveries/poison/",
    "/admin/",
)


@each_width
def test_pages__any_look__keep_policy_and_are_accessible(visitors: Visitors, width: int) -> None:
    """Q-1, Q-2, AUTH-4: no CSP violation, no axe violation, nothing wider than the window; unfolded too."""
    names = some_alerts()
    visitor = visitors.signed_in("admin", width=width)
    for path in PAGES:
        page = visitor.go(path.format(**names))
        for summary in page.locator("main details > summary").all():
            if summary.is_visible():  # filters fold on a phone alone
                summary.click()
        visitor.assert_looks_right()


@each_width
def test_forms__refused__are_marked_and_accessible(visitors: Visitors, settings: Any, width: int) -> None:
    """Q-1, Q-2, AL-6: forms after a mistake, and the page behind a link in each of its states."""
    settings.PUBLIC_URL = "http://portal"
    names = some_alerts()
    visitor = visitors.signed_in("admin", width=width)
    page = visitor.go(f"{ALERTS}events/{names['firing']}/resolve/")
    page.fill("#id_note", "   ")
    page.click("text=Resolve >> nth=-1")
    expect(page.locator(".errorlist")).to_contain_text("Give a reason")
    visitor.assert_looks_right()
    page = visitor.go(f"{ALERTS}deliveries/poison/")
    page.locator("input[name=delivery]").first.check()
    page.get_by_role("button", name="Resolve chosen").first.click()
    expect(page.locator("h1")).to_have_text("Resolve poisoned deliveries")
    visitor.assert_looks_right()
    page = visitor.go(f"{ALERTS}events/?state=firing")
    page.locator("input[name=event]").first.check()
    page.click("#events-acknowledge")
    expect(page.locator("h1")).to_have_text("Acknowledge alerts")
    visitor.assert_looks_right()
    delivery = Delivery.objects.get(pk=names["bad"])
    link = acknowledgement_url(delivery.pk, delivery.hour_bucket).removeprefix("http://portal")
    stranger = visitors.stranger(width=width)
    for path, heading in (
        (f"{link}x/", None),
        (link[:-5] + "/", "This link is not complete"),
        (link, "Acknowledge this alert?"),
    ):
        page = stranger.go(path)
        if heading:
            expect(page.locator("h1")).to_have_text(heading)
            stranger.assert_looks_right()
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator("h1")).to_have_text("Acknowledged")
    stranger.assert_looks_right()
    page = stranger.go(link)
    expect(page.locator("h1")).to_have_text("This link was used already")
    stranger.assert_looks_right()


def test_dashboard__something_fires__is_shown_without_reload_and_said_once(visitors: Visitors) -> None:
    """AL-3, Q-1: within a poll; focus stays where it was; the announcement tells it."""
    first = an_alert(1, summary="Latency 800 ms")
    visitor = visitors.signed_in("operator")
    page = visitor.go(ALERTS)
    page.evaluate("window.notReloaded = true")
    page.focus(f"#alert-{first.pk}")
    an_alert(2, severity=0, summary="Drawdown 7 %")
    expect(page.locator(".alert__title").first).to_have_text("Drawdown 7 %", timeout=8000)
    expect(page.locator("#ops-announce")).to_have_text("Alerts: 2 firing (1 critical), 0 acknowledged")
    assert page.evaluate("document.activeElement.id") == f"alert-{first.pk}"
    assert page.evaluate("window.notReloaded")
    visitor.assert_no_complaint()


def test_dashboard__paused__stays_as_it_is(visitors: Visitors) -> None:
    """Q-1 (WCAG 2.2.2): nothing moves under the reader's eyes until they say so."""
    an_alert(1, summary="first")
    page = visitors.signed_in("viewer").go(ALERTS)
    page.click("[data-poll-toggle]")
    an_alert(2, severity=0, summary="second")
    with pytest.raises(AssertionError):
        expect(page.locator(".alert__title")).to_have_count(2, timeout=4500)
    page.click("[data-poll-toggle]")
    expect(page.locator(".alert__title")).to_have_count(2, timeout=4000)


def test_history__by_keyboard__filters_without_a_full_load(visitors: Visitors) -> None:
    """AL-9, Q-1: the section is swapped, the address follows, the number is said; all that fires is ticked at once."""
    for number in range(3):
        an_alert(number, severity=number % 2, summary=f"alert {number}")
    visitor = visitors.signed_in("operator")
    page = visitor.go(f"{ALERTS}events/")
    page.evaluate("window.sameDocument = true")
    page.get_by_label("Severity", exact=True).select_option("critical")
    page.focus("#events-apply")
    page.keyboard.press("Enter")
    page.wait_for_url("**severity=critical*")
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.locator("#ops-announce")).to_have_text("2 events, the newest that match")
    assert page.evaluate("window.sameDocument")
    page.locator("[data-select-all]").check()
    expect(page.locator("[data-selection-count]")).to_contain_text("2 selected")
    page.click("#events-acknowledge")
    page.fill("#id_note", "both of them")
    page.get_by_role("button", name="Acknowledge").click()
    page.wait_for_url("**/events/?severity=critical")
    assert Event.objects.filter(acknowledgment_note="both of them").count() == 2
    visitor.assert_no_complaint()


def test_operating__on_a_phone_without_javascript__works(visitors: Visitors, users: Users) -> None:
    """AL-3, AD-10, Q-2: acknowledge, resolve, retry by plain forms."""
    event = an_alert(1, severity=0, summary="Drawdown 7 %", rule_id=None)
    bad = poison(event, mail_channel())
    visitor = visitors.signed_in("operator", width=PHONE, javascript=False)
    page = visitor.go(ALERTS)
    page.click(f"#acknowledge-{event.pk}")
    page.fill("#id_note", "on my way")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator(".alert-life__note")).to_have_text("on my way")
    page.click("#event-resolve")
    page.fill("#id_note", "feed restarted")
    page.get_by_role("button", name="Resolve").click()
    expect(page.locator("main")).to_contain_text("feed restarted")
    page = visitor.go(f"{ALERTS}deliveries/poison/")
    page.check(f"#choose-{bad.pk}")
    page.get_by_role("button", name="Retry chosen").click()
    expect(page.locator("main")).to_contain_text("No delivery needs a person")
    assert Delivery.objects.get(pk=bad.pk).status == Status.PENDING
    visitor.assert_fits()


def test_link__on_a_phone_without_javascript__takes_it_up(visitors: Visitors, settings: Any) -> None:
    """AL-6, Q-2: from the message to the acknowledgement in two taps, not signed in."""
    settings.PUBLIC_URL = "http://portal"
    delivery = a_message(an_alert(1, summary="Drawdown 7 %"), mail_channel())
    link = acknowledgement_url(delivery.pk, delivery.hour_bucket).removeprefix("http://portal")
    page = visitors.stranger(width=PHONE, javascript=False).go(link)
    expect(page.locator("main")).to_contain_text("Drawdown 7 %")
    page.fill("#id_note", "Bert, on it")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator("h1")).to_have_text("Acknowledged")
    event = Event.objects.get(pk=delivery.event_id)
    assert (event.state, event.acknowledgment_note) == (EventState.ACKNOWLEDGED, "Bert, on it")
