"""Rules: every door's one service (AL-1, RBAC-1)."""

from __future__ import annotations

from threading import Barrier, Thread
from typing import Any

import pytest
from django.db import connection

from alerting.draft import InvalidFields
from alerting.errors import StaleForm, WrongState
from alerting.models import Channel, Rule, Severity
from alerting.services import rules as services
from opsportal.accounts.actors import Actor, PermissionRefused
from opsportal.audit.models import Entry
from tests.conftest import Users
from tests.desk import DESK

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_rules")]
VALUES: dict[str, Any] = {"name": "Orders are slow", "metric": "latency", "comparison": "gt", "threshold": 500.0}


def made(**more: Any) -> Rule:
    return services.create_rule(by=DESK, values={**VALUES, **more})


def channel(name: str = "desk", *, enabled: bool = True) -> Channel:
    return Channel.objects.create(name=name, kind="webhook", sealed="x", enabled=enabled)


@pytest.mark.parametrize(
    ("written", "kept"),
    [("gt", "gt"), (">", "gt"), (">=", "gte"), ("≥", "gte"), ("GTE", "gte"), ("<", "lt"), ("<=", "lte"), ("≤", "lte"),
     ("==", "eq"), ("=", "eq"), ("eq", "eq")],
)  # fmt: skip
def test_create_rule__comparison_as_word_or_sign__is_understood(written: str, kept: str) -> None:
    """AL-1: gt, lt, gte, lte, eq and their signs."""
    assert made(comparison=written).comparison == kept


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("name", "", "Give the rule a name"),
        ("name", "a\x00b", "cannot be shown"),
        ("name", "x" * 101, "at most 100"),
        ("name", "call +4915123456789", "telephone"),
        ("name", 7, "must be text"),
        ("metric", "weather", "no such metric"),
        ("metric", None, "no such metric"),
        ("comparison", "about", "how to compare"),
        ("comparison", 3, "how to compare"),
        ("threshold", float("nan"), "finite"),
        ("threshold", float("inf"), "finite"),
        ("threshold", 10**400, "far too large"),
        ("threshold", "500", "as a number"),
        ("threshold", None, "as a number"),
        ("threshold", True, "as a number"),
        ("threshold", -1.0, "between 0 ms and 600,000 ms"),
        ("severity", "dreadful", "critical, warning, info"),
        ("severity", 9, "critical, warning, info"),
        ("for_seconds", -1, "24 hours"),
        ("for_seconds", 86_401, "24 hours"),
        ("for_seconds", 1.5, "24 hours"),
        ("labels", {"a\tb": "c"}, "can be shown"),
        ("labels", {"service": ""}, "no value"),
        ("labels", {"service": "x\x00"}, "cannot be shown"),
        ("labels", {"service": "x" * 501}, "at most 500"),
        ("labels", {"mail": "jo@example.com"}, "e-mail address"),
        ("labels", {f"l{n}": "x" for n in range(21)}, "at most 20"),
        ("labels", ["service"], "names with their values"),
        ("channels", (999_999,), "does not exist any more"),
        ("channels", (10**400,), "numbers"),
        ("channels", "1", "numbers"),
        ("owner", "x" * 101, "at most 100"),
        ("runbook_url", "javascript:alert(1)", "http:// or https://"),
        ("runbook_url", "https://", "name a host"),
        ("runbook_url", "https://jo:geheim12@example.com/", "password"),
        ("runbook_url", "http://[::1", "http:// or https://"),
        ("runbook_url", "https://example.com/" + "x" * 500, "at most 500"),
        ("enabled", "yes", "yes or no"),
        ("colour", "red", "no such field"),
    ],
)  # fmt: skip
def test_create_rule__bad_value__is_refused_at_its_field(field: str, value: Any, says: str) -> None:
    """AL-1, Q-5: a plain sentence that names the field; nothing is written."""
    with pytest.raises(InvalidFields) as caught:
        made(**{field: value})
    assert says in caught.value.errors[field]
    assert not Rule.objects.exists() and not Entry.objects.filter(event="alert_rule_create").exists()


def test_create_rule__several_bad_values__names_all_at_once() -> None:
    """AL-1: nobody corrects one error a submit."""
    with pytest.raises(InvalidFields) as caught:
        services.create_rule(by=DESK, values={"name": "", "metric": "latency", "threshold": "x"})
    assert set(caught.value.errors) == {"name", "comparison", "threshold"}


def test_create_rule__name_in_other_capitals__is_taken() -> None:
    """AL-1: names are unique whatever their capitals."""
    made()
    with pytest.raises(InvalidFields, match="already"):
        made(name="ORDERS ARE SLOW")


@pytest.mark.django_db(transaction=True)
def test_create_rule__same_name_at_once__one_is_told() -> None:
    """AL-1: the second of two simultaneous requests gets a sentence, never an error of the database."""
    barrier = Barrier(2)
    found: list[Rule | InvalidFields] = []

    def make() -> None:
        barrier.wait()
        try:
            found.append(made())
        except InvalidFields as refusal:
            found.append(refusal)
        finally:
            connection.close()

    threads = [Thread(target=make) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(one).__name__ for one in found) == ["InvalidFields", "Rule"]
    assert Rule.objects.count() == 1


def test_create_rule__by_anybody__is_audited(users: Users) -> None:
    """AL-1, AU-3: who made which rule."""
    desk = channel()
    rule = services.create_rule(by=Actor.of(users.operator), values={**VALUES, "channels": (desk.pk,)})
    entry = Entry.objects.get(event="alert_rule_create")
    assert (entry.actor_label, entry.resource_id) == (users.operator.username, str(rule.pk))
    assert entry.additional_data["threshold"] == 500.0 and entry.additional_data["channels"] == ["desk"]


def test_update_rule__changed_values__are_kept_and_audited_old_to_new(users: Users) -> None:
    """AL-1, AU-3: the version goes up; the audit says what was and what is."""
    rule, desk = made(), channel()
    values = {**services.current_values(rule), "threshold": 750.0, "severity": "critical", "channels": (desk.pk,)}
    changed = services.update_rule(rule, by=Actor.of(users.operator), values=values, expected_version=1)
    rule.refresh_from_db()
    assert sorted(changed) == ["channels", "severity", "threshold"]
    assert (rule.threshold, rule.severity, rule.version) == (750.0, Severity.CRITICAL, 2)
    details = Entry.objects.get(event="alert_rule_update").additional_data["changed"]
    assert details["threshold"] == {"before": 500.0, "after": 750.0}
    assert details["channels"] == {"before": [], "after": ["desk"]}


def test_update_rule__nothing_different__writes_nothing() -> None:
    """AU-3: no entry for what did not happen."""
    rule = made()
    assert services.update_rule(rule, by=DESK, values=services.current_values(rule), expected_version=1) == []
    rule.refresh_from_db()
    assert rule.version == 1 and not Entry.objects.filter(event="alert_rule_update").exists()


def test_update_rule__drawn_before_a_change__is_stale() -> None:
    """AL-1: what somebody else saved meanwhile is not overwritten."""
    rule = made()
    values = services.current_values(rule)
    services.update_rule(rule, by=DESK, values={**values, "threshold": 1.0}, expected_version=1)
    with pytest.raises(StaleForm):
        services.update_rule(rule, by=DESK, values={**values, "threshold": 2.0}, expected_version=1)
    rule.refresh_from_db()
    assert rule.threshold == 1.0


def test_update_rule__deleted_meanwhile__says_so() -> None:
    """AL-1: a plain sentence."""
    rule = made()
    values = services.current_values(rule)
    services.delete_rule(Rule.objects.get(pk=rule.pk), by=DESK)
    with pytest.raises(WrongState, match="deleted"):
        services.update_rule(rule, by=DESK, values=values, expected_version=1)


def test_rule__viewer__may_change_nothing(users: Users) -> None:
    """RBAC-1: a viewer looks."""
    rule, viewer = made(), Actor.of(users.viewer)
    for attempt in (
        lambda: services.create_rule(by=viewer, values={**VALUES, "name": "other"}),
        lambda: services.update_rule(rule, by=viewer, values=services.current_values(rule), expected_version=1),
        lambda: services.set_enabled(rule, False, by=viewer),
        lambda: services.delete_rule(rule, by=viewer),
    ):
        with pytest.raises(PermissionRefused):
            attempt()


def test_delete_rule__operator__is_refused(users: Users) -> None:
    """RBAC-1, section 10: deleting is for admins."""
    with pytest.raises(PermissionRefused):
        services.delete_rule(made(), by=Actor.of(users.operator))


def test_delete_rule__admin__is_gone_and_audited(users: Users) -> None:
    """AL-1, AU-3: the audit keeps what it was."""
    rule = made()
    assert services.set_enabled(rule, False, by=DESK)
    services.delete_rule(rule, by=Actor.of(users.admin), expected_version=2)
    assert not Rule.objects.exists()
    entry = Entry.objects.get(event="alert_rule_delete")
    assert entry.additional_data["condition"] == "Latency above 500 ms"


# ------------------------------------------------------------ the trip action
def test_create_rule__operator_gives_the_trip__is_refused(users: Users) -> None:
    """AL-5, section 10: only an admin lets a rule trip the breaker."""
    with pytest.raises(PermissionRefused):
        services.create_rule(by=Actor.of(users.operator), values={**VALUES, "trips_breaker": True})
    assert services.create_rule(by=Actor.of(users.admin), values={**VALUES, "trips_breaker": True}).trips_breaker


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": 1.0},
        {"comparison": "lt"},
        {"metric": "data_age"},
        {"for_seconds": 5},
        {"labels": {"service": "orders"}},
        {"trips_breaker": False},
    ],
    ids=str,
)
def test_update_rule__operator_changes_what_trips__is_refused(users: Users, change: dict[str, Any]) -> None:
    """AL-5, RBAC-1: who may not arm a rule does not change what an armed one fires on."""
    rule = made(trips_breaker=True)
    values = {**services.current_values(rule), **change}
    with pytest.raises(PermissionRefused):
        services.update_rule(rule, by=Actor.of(users.operator), values=values, expected_version=1)
    assert services.update_rule(rule, by=Actor.of(users.admin), values=values, expected_version=1)


def test_update_rule__operator_gives_the_trip__is_refused(users: Users) -> None:
    """AL-5: nor gains it by editing."""
    rule = made()
    values = {**services.current_values(rule), "trips_breaker": True}
    with pytest.raises(PermissionRefused):
        services.update_rule(rule, by=Actor.of(users.operator), values=values, expected_version=1)


def test_armed_rule__operator__changes_whom_it_tells_and_switches_it_off_only(users: Users) -> None:
    """AL-5: an operator may stop an armed rule; starting it again is arming it."""
    rule, operator = made(trips_breaker=True), Actor.of(users.operator)
    values = {**services.current_values(rule), "channels": (channel().pk,), "description": "who"}
    assert services.update_rule(rule, by=operator, values=values, expected_version=1)
    assert services.set_enabled(rule, False, by=operator)
    with pytest.raises(PermissionRefused):
        services.set_enabled(rule, True, by=operator)
    with pytest.raises(PermissionRefused):
        services.update_rule(rule, by=operator, values={**values, "enabled": True}, expected_version=3)
    assert services.set_enabled(rule, True, by=Actor.of(users.admin))


def test_copied_values__armed_rule__is_off_and_unarmed() -> None:
    """AC-3: a copy is harmless, and its name is free."""
    rule = made(trips_breaker=True)
    values = services.copied_values(rule)
    copy = services.create_rule(by=DESK, values=values)
    assert (copy.enabled, copy.trips_breaker, copy.name) == (False, False, "Orders are slow (copy)")
    assert services.copied_values(rule)["name"] == "Orders are slow (copy 2)"
