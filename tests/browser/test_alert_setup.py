"""Rules, channels and silences in a real browser: every page in every look, and what people do on them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from alerting.models import Channel, Rule, Silence
from alerting.services import channels, rules, silences, trying
from tests.alerting.operating import an_alert
from tests.alerting.providers.fixtures import Providers, providers
from tests.alerting.sending_out import dispatching
from tests.browser.conftest import Visitors
from tests.browser.visitor import each_width
from tests.conftest import Users
from tests.desk import DESK

__all__ = ["providers"]
LONG = "averyveryveryverylongnamewithoutanyspace" * 2
MAIL = {
    "recipients": ["anna@example.com", "bert@example.org"], "sender": "portal@example.com",
    "smtp_host": "smtp.example.com", "smtp_user": "mailer", "smtp_password": "a-password-of-the-mailer",
}  # fmt: skip
PAGES = (
    "rules/",
    "rules/?q=nothing-of-this-name",
    "rules/add/",
    "rules/add/?metric=drawdown",
    "rules/{rule}/",
    "rules/{long}/",
    "rules/{rule}/edit/",
    "rules/{armed}/delete/",
    "channels/",
    "channels/add/",
    "channels/add/?kind=email",
    "channels/{mail}/",
    "channels/{mail}/edit/",
    "channels/{mail}/disable/",
    "channels/{spare}/delete/",
    "channels/{mail}/tests/{test}/",
    "silences/",
    "silences/{silence}/",
    "silences/add/?rule={rule}",
    "silences/{silence}/edit/",
    "silences/{silence}/end/",
)


def _some_of_each() -> dict[str, Any]:
    """Rules, channels and silences of each kind; their numbers by a short name."""
    now = timezone.now()
    mail = channels.create_channel(by=DESK, kind="email", name="Desk by mail", settings=MAIL)
    spare = channels.create_channel(
        by=DESK, kind="webhook", name=LONG, settings={"url": "https://hooks.example.com/services/T1/B2/secret"},
        enabled=False,
    )  # fmt: skip

    def made(name: str, **more: Any) -> Rule:
        values = {"name": name, "metric": "latency", "comparison": "gt", "threshold": 500.0, **more}
        return rules.create_rule(by=DESK, values=values)

    rule = made("Orders are slow", for_seconds=120, labels={"service": "orders"}, channels=(mail.pk,), owner="@desk")
    armed = made("Loss", metric="drawdown", threshold=0.05, severity="critical", trips_breaker=True)
    long = made(LONG, labels={"feed": "x" * 150}, enabled=False, channels=(mail.pk,), description="x" * 300)
    silence = silences.create_silence(
        by=DESK, values={"rule": rule.pk, "reason": LONG, "ends_at": now + timedelta(hours=4)}
    )
    past = silences.create_silence(
        by=DESK, values={"service": "orders", "reason": "a release", "ends_at": now + timedelta(hours=4)}
    )
    silences.end_silence(past, by=DESK)
    an_alert(1, rule_id=rule.pk, labels={"service": "orders"})
    an_alert(2, rule_id=rule.pk, labels={"service": "orders"}, muted_by=f"silence:{silence.pk}")
    test = trying.send_test(mail, by=DESK)
    return {
        "rule": rule.pk, "armed": armed.pk, "long": long.pk, "mail": mail.pk, "spare": spare.pk,
        "silence": silence.pk, "test": test.pk,
    }  # fmt: skip


@each_width
def test_pages__any_look__keep_policy_and_are_accessible(visitors: Visitors, users: Users, width: int) -> None:
    """Q-1, Q-2, AUTH-4: no CSP violation, no axe violation, nothing wider than the window."""
    numbers = _some_of_each()
    visitor = visitors.signed_in("admin", width=width)
    for path in PAGES:
        address = "/admin/alerting/" + path.format(**numbers)
        page = visitor.go(address)
        assert page.url.endswith(address), "not the page that was asked for"
        assert page.locator("#content h1").count() == 1, address
        visitor.assert_looks_right()


@each_width
def test_forms__with_errors__are_accessible(visitors: Visitors, users: Users, width: int) -> None:
    """Q-1, Q-2: each form as it comes back, its sentences tied to their fields."""
    visitor = visitors.signed_in("admin", width=width)
    for path, fields in (
        ("rules/add/?metric=latency", {"#id_rule_threshold": "x", "#id_rule_labels": "x"}),
        ("channels/add/?kind=email", {"#id_set-recipients": "x", "#id_set-smtp_port": "x"}),
        ("silences/add/", {"#id_silence_reason": "x"}),
    ):
        page = visitor.go(f"/admin/alerting/{path}")
        for selector, text in fields.items():
            page.fill(selector, text)
        page.evaluate("document.querySelectorAll('#content form').forEach((form) => { form.noValidate = true; })")
        page.click("#content form .btn--primary")
        expect(page.locator(".banner--bad").first).to_be_visible()
        for selector in fields:
            assert page.get_attribute(selector, "aria-invalid") == "true", selector
        visitor.assert_looks_right()


def test_rule__made_without_javascript__changes_its_metric_on_the_way(visitors: Visitors, users: Users) -> None:
    """AC-1, AC-3: choose, change the metric, fill in, save; by plain pages."""
    page = visitors.signed_in("operator", javascript=False).go("/admin/alerting/rules/add/")
    page.click("text=Choose Latency")
    page.fill("#id_rule_name", "Prices are old")
    page.select_option("#id_rule_metric", "data_age")
    page.click("text=Use this metric")
    assert page.input_value("#id_rule_threshold") == "10" and page.input_value("#id_rule_name") == "Prices are old"
    page.fill("#id_rule_for_amount", "2")
    page.select_option("#id_rule_for_unit", "min")
    page.click("text=Make the rule")
    expect(page.locator(".setup__condition")).to_have_text("Age of market data above 10 s for 2 min")
    assert Rule.objects.get(name="Prices are old").for_seconds == 120


@pytest.mark.django_db(transaction=True)
def test_channel__set_up_and_tested__shows_the_outcome_by_itself(
    visitors: Visitors, users: Users, providers: Providers
) -> None:
    """AC-2: the real outcome within seconds, without a reload; the secret is in no page."""
    visitor = visitors.signed_in("admin")
    page = visitor.go("/admin/alerting/channels/add/?kind=webhook")
    page.fill("#id_channel_name", "Desk")
    page.fill("#id_set-url", providers.webhook.url)
    page.fill("#id_set-token", "a-token-that-is-secret-1234")
    page.click("text=Set it up")
    page.wait_for_url(re.compile(r"/channels/\d+/$"))
    assert "…1234" in page.content() and "a-token" not in page.content()
    with dispatching():
        page.click("button:has-text('Send a test')")
        expect(page.locator("#tested [role=status]")).to_have_text("It works: delivered to 1 recipient.")
    visitor.assert_no_complaint()
    assert Channel.objects.get().name == "Desk" and len(providers.webhook.received) == 1


def test_silence__asked_for_by_keyboard__is_in_the_list(visitors: Visitors, users: Users) -> None:
    """AL-7, Q-1: from the rule's page, without a mouse."""
    numbers = _some_of_each()
    page = visitors.signed_in("operator").go(f"/admin/alerting/rules/{numbers['armed']}/")
    page.focus("text=Silence…")
    page.keyboard.press("Enter")
    page.focus("#id_silence_reason")
    page.keyboard.type("Broker tests its systems")
    page.keyboard.press("Enter")
    expect(page.locator(".silences").first).to_contain_text("Broker tests its systems")
    assert Silence.objects.get(rule_id=numbers["armed"]).reason == "Broker tests its systems"
