"""The pages of rules (AL-1, AC-1, AC-3)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from alerting.conditions import CONDITIONS
from alerting.models import Channel, Event, Rule
from alerting.selectors.presets import preset_of
from alerting.services import rules as services
from opsportal.embedded import EmbeddedRedis
from tests.conftest import Users
from tests.desk import DESK
from tests.sysconf.desk import DEFAULTS, save

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_rules")]
TYPED = {
    "name": "Orders are slow",
    "metric": "latency",
    "comparison": "gt",
    "threshold": "500",
    "for_amount": "2",
    "for_unit": "min",
    "labels": "service=orders\n",
    "severity": "0",
    "notify_resolved": "on",
    "enabled": "on",
    "description": "",
    "owner": "@platform-team",
    "runbook_url": "https://wiki.example.com/slow",
}


def made(**more: Any) -> Rule:
    values = {"name": "Orders are slow", "metric": "latency", "comparison": "gt", "threshold": 500.0, **more}
    return services.create_rule(by=DESK, values=values)


def channel(name: str = "desk", *, enabled: bool = True) -> Channel:
    return Channel.objects.create(name=name, kind="webhook", sealed="x", enabled=enabled)


def event(rule: Rule, **more: Any) -> Event:
    now = timezone.now()
    values = {"started_at": now, "triggered_at": now, "severity": 0, "state": "firing", "origin": "observation"}
    return Event.objects.create(
        rule_id=rule.pk, rule_name=rule.name, alert_id="a", metric=rule.metric, fingerprint="f", comparison="gt",
        threshold=1.0, summary="Orders took 900 ms", **{**values, **more},
    )  # fmt: skip


@pytest.fixture
def operator(client: Client, users: Users) -> Client:
    client.force_login(users.operator, backend="opsportal.accounts.backends.CachedUserBackend")
    return client


@pytest.fixture
def admin(users: Users) -> Client:
    client = Client()
    client.force_login(users.admin, backend="opsportal.accounts.backends.CachedUserBackend")
    return client


@pytest.fixture
def viewer(users: Users) -> Client:
    client = Client()
    client.force_login(users.viewer, backend="opsportal.accounts.backends.CachedUserBackend")
    return client


# ------------------------------------------------------------ the list
def test_list__rules__are_told_in_words(viewer: Client) -> None:
    """AL-1: condition, severity, channels, state, last fired."""
    desk = channel()
    rule = made(for_seconds=120, labels={"service": "orders"}, channels=(desk.pk,))
    event(rule)
    page = viewer.get("/admin/alerting/rules/").content.decode()
    assert "Latency above 500 ms for 2 min, where service=orders" in page
    assert "desk" in page and "never" not in page and "New rule" not in page


def test_list__filters__let_through_what_fits(viewer: Client) -> None:
    """AL-1: metric, severity, state, channel, without a channel, search."""
    desk = channel()
    made(channels=(desk.pk,))
    made(name="Loss", metric="drawdown", threshold=0.05, severity="critical", enabled=False, owner="risk")
    for query, found in (
        ("metric=drawdown", ["Loss"]),
        ("severity=critical", ["Loss"]),
        ("enabled=no", ["Loss"]),
        ("enabled=yes", ["Orders are slow"]),
        (f"channel={desk.pk}", ["Orders are slow"]),
        ("channel=none", ["Loss"]),
        ("q=RISK", ["Loss"]),
        ("q=slow&metric=latency", ["Orders are slow"]),
        ("q=slow&metric=drawdown", []),
    ):
        answer = viewer.get(f"/admin/alerting/rules/?{query}")
        assert [row.rule.name for row in answer.context["rows"]] == found, query


def test_list__rules_that_tell_nobody__are_counted_above(viewer: Client) -> None:
    """AL-1: on, and without a channel that is on; a fresh portal begins so."""
    off, on = channel("pager", enabled=False), channel()
    made(channels=(off.pk,))
    made(name="alone")
    made(name="off", enabled=False)
    made(name="both", channels=(off.pk, on.pk))
    assert "2 rules are on and tell nobody" in viewer.get("/admin/alerting/rules/").content.decode()
    Channel.objects.update(enabled=True)
    assert "1 rule is on and tells nobody" in viewer.get("/admin/alerting/rules/").content.decode()


@pytest.mark.parametrize(
    "query", ["metric=weather", "severity=9", "enabled=maybe", "channel=99999", "q=%00", "page=zz", "q=" + "x" * 5000]
)
def test_list__nonsense__is_named_not_an_error(viewer: Client, query: str) -> None:
    """Q-5: bad input gives a page."""
    made()
    assert viewer.get(f"/admin/alerting/rules/?{query}").status_code == 200


def test_list__many_rules__costs_as_many_queries_as_few(
    viewer: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    """Q-3: no query a row."""
    desk = channel()
    for number in range(30):
        event(made(name=f"rule {number}", channels=(desk.pk,)))
    viewer.get("/admin/alerting/rules/")
    with django_assert_max_num_queries(10):
        viewer.get("/admin/alerting/rules/")


# ------------------------------------------------------------ making
def test_add__first__asks_for_the_metric(operator: Client) -> None:
    """AC-1: without JavaScript the metric comes first, as its unit and range depend on it."""
    page = operator.get("/admin/alerting/rules/add/").content.decode()
    assert "?metric=drawdown" in page and "?metric=external_alert" in page
    assert operator.get("/admin/alerting/rules/add/?metric=weather").status_code == 200


def test_add__drawdown__suggests_the_configured_percentage(operator: Client) -> None:
    """AC-1: percentages, the range in words, the preset from the system configuration."""
    save(DEFAULTS, drawdown_threshold=0.08)
    answer = operator.get("/admin/alerting/rules/add/?metric=drawdown")
    page = answer.content.decode()
    assert answer.context["form"]["threshold"].value() == "8"
    assert "Threshold (%)" in page and "lies between 0 % and 100 %" in page and "from the system configuration" in page


def test_preset__configuration_away__is_the_usual_one_and_says_so(
    postgres_server: Any, redis_server: EmbeddedRedis
) -> None:
    """AC-1: the form can be drawn all the same."""
    with redis_server.stopped(), postgres_server.stopped():
        preset = preset_of(CONDITIONS["drawdown"])
    assert preset.threshold == 0.05 and "cannot be read" in preset.words


def test_add__filled_in__makes_the_rule(operator: Client) -> None:
    """AL-1: units, durations and labels as people write them."""
    desk = channel()
    answer = operator.post("/admin/alerting/rules/add/", {**TYPED, "channels": [str(desk.pk)]})
    rule = Rule.objects.get()
    assert answer.status_code == 302 and answer["Location"] == f"/admin/alerting/rules/{rule.pk}/"
    assert (rule.threshold, rule.for_seconds, rule.severity, rule.labels) == (500.0, 120, 0, {"service": "orders"})
    assert [one.name for one in rule.channels.all()] == ["desk"]


@pytest.mark.parametrize("typed", ["5", "5 %", "5%", " 5.0 "])
def test_add__percentage__is_kept_as_a_fraction(operator: Client, typed: str) -> None:
    """AC-1: 5 % is 0.05."""
    operator.post("/admin/alerting/rules/add/", {**TYPED, "metric": "drawdown", "threshold": typed, "labels": ""})
    assert Rule.objects.get().threshold == 0.05


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("threshold", "NaN", "Type a number in digits"),
        ("threshold", "1" + "0" * 400, "at most 40"),
        ("threshold", "", "Give the threshold"),
        ("threshold", "700000", "between 0 ms and 600,000 ms"),
        ("for_amount", "25", "24 hours"),
        ("for_amount", "-1", "24 hours"),
        ("for_unit", "weeks", "no such choice"),
        ("labels", "service", "name=value"),
        ("labels", "a=b\na=c", "named twice"),
        ("labels", "x\x00=1", "Null characters"),
        ("name", "", "Give the rule a name"),
        ("name", "a\x00", "Null characters"),
        ("severity", "7", "no such choice"),
        ("comparison", "about", "no such choice"),
        ("runbook_url", "ftp://x", "http:// or https://"),
        ("channels", "99999", "does not exist any more"),
        ("channels", "x", "does not exist any more"),
    ],
)
def test_add__bad_value__is_said_at_its_field(operator: Client, field: str, value: str, says: str) -> None:
    """AL-1, Q-5: the sentence stands at the field; what was typed is there still; nothing is made."""
    unit = {"for_unit": "h"} if field == "for_amount" else {}
    answer = operator.post("/admin/alerting/rules/add/", {**TYPED, **unit, field: value})
    assert answer.status_code == 422 and not Rule.objects.exists()
    form = answer.context["form"]
    assert says in " ".join(form.errors[field]), form.errors
    assert "https://wiki.example.com/slow" in answer.content.decode() or field == "runbook_url"


def test_add__several_errors__are_shown_at_once(operator: Client) -> None:
    """AC-3: of the form and of the service."""
    answer = operator.post("/admin/alerting/rules/add/", {**TYPED, "threshold": "x", "name": "", "runbook_url": "x"})
    assert set(answer.context["form"].errors) == {"threshold", "name", "runbook_url"}


def test_add__metric_changed_without_javascript__keeps_what_was_typed(operator: Client) -> None:
    """AC-1: the button gives the new unit and suggestion; nothing is judged, made or lost."""
    answer = operator.post(
        "/admin/alerting/rules/add/", {**TYPED, "metric": "data_age", "name": "", "change_metric": "1"}
    )
    page, form = answer.content.decode(), answer.context["form"]
    assert answer.status_code == 200 and not Rule.objects.exists() and not form.errors
    assert form["threshold"].value() == "10" and "Threshold (s)" in page
    assert form["owner"].value() == "@platform-team" and form["labels"].value() == "service=orders\n"
    assert form["enabled"].value() is True and form["for_unit"].value() == "min"


def test_add__a_key_pasted__is_not_shown_again(operator: Client) -> None:
    """AK-9: not even in the form that comes back."""
    key = "tp_live_" + "Ab3dEf7h" * 5 + "xyz"
    answer = operator.post("/admin/alerting/rules/add/", {**TYPED, "name": key})
    assert answer.status_code == 422 and key.encode() not in answer.content


def test_add__operator__has_no_trip_and_cannot_send_one(operator: Client, admin: Client) -> None:
    """AL-5: the tick is the admin's; a forged one changes nothing."""
    assert b"trips_breaker" not in operator.get("/admin/alerting/rules/add/?metric=drawdown").content
    operator.post("/admin/alerting/rules/add/", {**TYPED, "trips_breaker": "on"})
    assert Rule.objects.get().trips_breaker is False
    assert b"trips_breaker" in admin.get("/admin/alerting/rules/add/?metric=drawdown").content


# ------------------------------------------------------------ changing
def test_edit__others_saved_meanwhile__shows_both_and_loses_nothing(operator: Client) -> None:
    """AL-1: what is now, what was typed; a second save is meant."""
    rule = made()
    typed = {**TYPED, "threshold": "900", "expected_version": "1"}
    services.update_rule(
        rule, by=DESK, values={**services.current_values(rule), "threshold": 700.0}, expected_version=1
    )
    answer = operator.post(f"/admin/alerting/rules/{rule.pk}/edit/", typed)
    page = answer.content.decode()
    assert answer.status_code == 409 and "Latency above 700 ms" in page and 'value="900"' in page
    assert 'name="expected_version" value="2"' in page
    operator.post(f"/admin/alerting/rules/{rule.pk}/edit/", {**typed, "expected_version": "2"})
    rule.refresh_from_db()
    assert rule.threshold == 900.0


def test_edit__armed_rule_by_operator__keeps_what_trips(operator: Client) -> None:
    """AL-5: the condition is shown and fixed; a forged form changes none of it, the rest is saved."""
    rule = made(trips_breaker=True, name="Loss", metric="drawdown", comparison="gte", threshold=0.05)
    page = operator.get(f"/admin/alerting/rules/{rule.pk}/edit/").content.decode()
    assert "Only who may arm rules can change its condition" in page
    typed = {**TYPED, "threshold": "99", "metric": "drawdown", "name": "Loss of the desk", "expected_version": "1"}
    assert operator.post(f"/admin/alerting/rules/{rule.pk}/edit/", typed).status_code == 302
    rule.refresh_from_db()
    assert (rule.threshold, rule.comparison, rule.for_seconds, rule.labels) == (0.05, "gte", 0, {})
    assert (rule.name, rule.trips_breaker) == ("Loss of the desk", True)


def test_switch__off_and_on__is_done_by_a_button(operator: Client) -> None:
    """AC-3: with a message that says so."""
    rule = made()
    assert "switched off" in operator.post(f"/admin/alerting/rules/{rule.pk}/disable/", follow=True).content.decode()
    assert not Rule.objects.get().enabled
    operator.post(f"/admin/alerting/rules/{rule.pk}/enable/")
    assert Rule.objects.get().enabled


def test_switch__armed_rule_on_by_operator__is_a_403_that_says_why(operator: Client) -> None:
    """AL-5, RBAC-1: a page, not an error."""
    rule = made(trips_breaker=True, enabled=False)
    assert b"Switch on" not in operator.get(f"/admin/alerting/rules/{rule.pk}/").content
    answer = operator.post(f"/admin/alerting/rules/{rule.pk}/enable/")
    assert answer.status_code == 403 and b"trips the circuit breaker" in answer.content
    assert not Rule.objects.get().enabled


def test_duplicate__rule__begins_as_a_harmless_copy(operator: Client) -> None:
    """AC-3: switched off; saved only when asked."""
    rule = made(labels={"service": "orders"}, for_seconds=90, trips_breaker=True)
    answer = operator.get(f"/admin/alerting/rules/{rule.pk}/duplicate/")
    form = answer.context["form"]
    assert (form["name"].value(), form["enabled"].value()) == ("Orders are slow (copy)", False)
    assert (form["for_amount"].value(), form["for_unit"].value()) == ("90", "s")
    assert Rule.objects.count() == 1


def test_delete__asked_and_confirmed__keeps_the_history(admin: Client) -> None:
    """AL-1: the page says what goes; the events stay."""
    rule = made(trips_breaker=True)
    event(rule)
    page = admin.get(f"/admin/alerting/rules/{rule.pk}/delete/").content.decode()
    assert "trips the circuit breaker no more" in page
    admin.post(f"/admin/alerting/rules/{rule.pk}/delete/", {"expected_version": "1"})
    assert not Rule.objects.exists() and Event.objects.count() == 1


def test_delete__changed_meanwhile__asks_again(admin: Client) -> None:
    """AL-1: nobody deletes what they have not seen."""
    rule = made()
    answer = admin.post(f"/admin/alerting/rules/{rule.pk}/delete/", {"expected_version": "7"})
    assert answer.status_code == 409 and Rule.objects.exists()


# ------------------------------------------------------------ one rule
def test_rule__page__tells_all(operator: Client) -> None:
    """AL-1: facts, open events, the last events."""
    off = channel("pager", enabled=False)
    rule = made(channels=(off.pk,), owner="@risk", runbook_url="https://wiki.example.com/r", description="Why it is")
    event(rule)
    event(rule, state="resolved", started_at=timezone.now() - timedelta(hours=1), resolved_at=timezone.now())
    answer = operator.get(f"/admin/alerting/rules/{rule.pk}/")
    page = answer.content.decode()
    assert "Every channel of this rule is switched off" in page and "@risk" in page and "Why it is" in page
    assert len(answer.context["open_events"]) == 1 and len(answer.context["events"]) == 2


@pytest.mark.parametrize("path", ["", "edit/", "duplicate/"])
@pytest.mark.parametrize("number", ["999999", "9" * 30])
def test_rule__that_is_none__is_not_found(operator: Client, path: str, number: str) -> None:
    """Q-5: also for a number that no database holds."""
    assert operator.get(f"/admin/alerting/rules/{number}/{path}").status_code == 404


def test_form__of_who_may_arm__says_that_it_counts_from_the_next_alert_on(users: Users) -> None:
    """AL-5: saving a form never halts trading."""
    admin = Client()
    admin.force_login(users.admin, backend="opsportal.accounts.backends.CachedUserBackend")
    page = admin.get("/admin/alerting/rules/add/?metric=drawdown").content.decode()
    assert "It counts from the next alert on" in page
