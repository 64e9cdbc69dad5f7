"""Silences as people ask for them: service and pages (AL-7)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from alerting import catalogue
from alerting.draft import InvalidFields
from alerting.errors import StaleForm, WrongState
from alerting.models import Rule, Silence
from alerting.services import rules
from alerting.services import silences as services
from opsportal.accounts.actors import Actor, PermissionRefused
from opsportal.audit.models import Entry
from tests.alerting.operating import an_alert, signed_in
from tests.alerting.ruling import a_rule
from tests.conftest import Users
from tests.desk import DESK

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_rules")]
NOW = timezone.now()
WHY = "Release of the week"


def wanted(**more: Any) -> dict[str, Any]:
    return {"service": "orders", "reason": WHY, "ends_at": timezone.now() + timedelta(hours=1), **more}


def made(**more: Any) -> Silence:
    return services.create_silence(by=DESK, values=wanted(**more))


@pytest.fixture
def operator(users: Users) -> Client:
    return signed_in(users.operator)


# ------------------------------------------------------------ the service
def test_create_silence__of_a_rule__is_kept_and_audited(users: Users) -> None:
    """AL-7, AU-3: what, why, who, until when."""
    rule = a_rule(name="Orders are slow")
    silence = services.create_silence(
        by=Actor.of(users.operator), values=wanted(rule=rule.pk, labels={"symbol": "AAPL"})
    )
    assert (silence.rule, silence.service, silence.labels) == (rule, "orders", {"symbol": "AAPL"})
    assert silence.created_by == users.operator.username and silence.runs(timezone.now())
    entry = Entry.objects.get(event="silence_create")
    assert entry.reason == WHY and entry.additional_data["rule"] == "Orders are slow"


@pytest.mark.parametrize(
    ("values", "field", "says"),
    [
        ({"service": ""}, "rule", "silence of everything"),
        ({"service": "", "labels": {}}, "rule", "silence of everything"),
        ({"rule": 99_999}, "rule", "does not exist"),
        ({"rule": 10**400}, "rule", "does not exist"),
        ({"rule": "x"}, "rule", "does not exist"),
        ({"service": "a\x00b"}, "service", "cannot be shown"),
        ({"service": "x" * 101}, "service", "at most 100"),
        ({"service": 7}, "service", "a name"),
        ({"labels": {"a\tb": "c"}}, "labels", "can be shown"),
        ({"labels": ["x"]}, "labels", "names with their values"),
        ({"reason": "nope"}, "reason", "at least 5"),
        ({"reason": ""}, "reason", "Give a reason"),
        ({"reason": "x" * 301}, "reason", "at most 300"),
        ({"reason": 5}, "reason", "must be text"),
        ({"ends_at": None}, "ends_at", "until when"),
        ({"ends_at": "tomorrow"}, "ends_at", "until when"),
        ({"ends_at": NOW - timedelta(hours=1)}, "ends_at", "in the future"),
        ({"ends_at": NOW + timedelta(days=8)}, "ends_at", "at most 7 days"),
        ({"ends_at": datetime.max.replace(tzinfo=UTC)}, "ends_at", "at most 7 days"),
        ({"starts_at": NOW - timedelta(hours=1)}, "starts_at", "in the past"),
        ({"starts_at": NOW + timedelta(days=91)}, "starts_at", "at most 90 days"),
        ({"starts_at": datetime(2026, 1, 1)}, "starts_at", "date and time"),  # noqa: DTZ001
    ],
)  # fmt: skip
def test_create_silence__bad_value__is_said_at_its_field(values: dict[str, Any], field: str, says: str) -> None:
    """AL-7, Q-5: a sentence; nothing is written."""
    with pytest.raises(InvalidFields) as caught:
        made(**values)
    assert says in caught.value.errors[field], caught.value.errors
    assert not Silence.objects.exists()


def test_create_silence__seven_days_to_the_second__is_taken() -> None:
    """AL-7: the cap itself is allowed."""
    start = timezone.now() + timedelta(hours=1)
    assert made(starts_at=start, ends_at=start + timedelta(days=7))


def test_create_silence__reason_with_an_address__is_masked() -> None:
    """AC-5: reasons stand on pages."""
    assert "anna" not in made(reason="ask anna.secret@example.com first").reason


def test_silence__viewer__may_change_nothing(users: Users) -> None:
    """RBAC-1: a viewer looks."""
    silence, viewer = made(), Actor.of(users.viewer)
    for attempt in (
        lambda: services.create_silence(by=viewer, values=wanted()),
        lambda: services.update_silence(silence, by=viewer, values=wanted()),
        lambda: services.end_silence(silence, by=viewer),
    ):
        with pytest.raises(PermissionRefused):
            attempt()


def test_update_silence__running__keeps_its_start_and_tells_old_to_new() -> None:
    """AL-7, AU-3: a running silence began when it began."""
    silence = made()
    start, until = silence.starts_at, timezone.now() + timedelta(hours=3)
    changed = services.update_silence(
        silence, by=DESK, values=wanted(starts_at=timezone.now() + timedelta(hours=1), ends_at=until)
    )
    silence.refresh_from_db()
    assert changed == ["ends_at"] and (silence.starts_at, silence.ends_at) == (start, until)
    assert Entry.objects.get(event="silence_update").additional_data["changed"]["ends_at"]["after"]


def test_update_silence__drawn_before_a_change__is_stale() -> None:
    """AL-7: nothing is overwritten unseen."""
    silence = made()
    version = services.version_of(silence)
    services.update_silence(silence, by=DESK, values=wanted(service="prices"), expected=version)
    with pytest.raises(StaleForm):
        services.update_silence(silence, by=DESK, values=wanted(service="risk"), expected=version)


def test_edit__drawn_before_a_change__shows_all_that_is_there_now(operator: Client) -> None:
    """AL-7: saved again it would undo that; the start of one to come as well as all the rest."""
    starts = timezone.now() + timedelta(days=2)
    silence = made(starts_at=starts, ends_at=starts + timedelta(hours=1))
    path = f"/admin/alerting/silences/{silence.pk}/edit/"
    drawn = operator.get(path).context["form"]
    form = {name: drawn[name].value() or "" for name in drawn.fields} | {"reason": "Another release"}
    later = starts + timedelta(days=1)
    values = wanted(starts_at=later, ends_at=later + timedelta(hours=1))
    services.update_silence(silence, by=DESK, values=values, expected=services.version_of(silence))
    answer = operator.post(path, form)
    now_is = answer.content.decode().partition("It is now:")[2].partition("</p>")[0]
    assert answer.status_code == 409 and "service orders" in now_is and WHY in now_is
    assert f"{later:%Y-%m-%dT%H:%M}" in now_is and f"{later + timedelta(hours=1):%Y-%m-%dT%H:%M}" in now_is


def test_end_silence__once__then_it_says_who() -> None:
    """AL-7, AU-3: ended early; a second time is refused."""
    silence = made()
    ended = services.end_silence(silence, by=DESK)
    assert not ended.runs(timezone.now()) and ended.ended_by == "desk"
    with pytest.raises(WrongState, match="desk ended"):
        services.end_silence(silence, by=DESK)
    with pytest.raises(WrongState):
        services.update_silence(silence, by=DESK, values=wanted())
    assert Entry.objects.filter(event="silence_end").count() == 1


def test_end_silence__past__is_refused() -> None:
    """AL-7: what is over stays as it was."""
    silence = made()
    with pytest.raises(WrongState, match="over"):
        services.end_silence(silence, by=DESK, now=timezone.now() + timedelta(days=1))


# ------------------------------------------------------------ the pages
TYPED = {"rule": "", "service": "orders", "labels": "", "reason": WHY, "starts_at": "", "lasts": "240", "ends_at": ""}


def test_list__silences__stand_where_they_belong(operator: Client) -> None:
    """AL-7: running, coming, past; what each fits now and held back."""
    rule: Rule = a_rule(name="Orders are slow")
    running = made(rule=rule.pk, service="")
    made(service="prices", starts_at=timezone.now() + timedelta(hours=1), ends_at=timezone.now() + timedelta(hours=2))
    services.end_silence(made(service="risk"), by=DESK)
    an_alert(1, rule_id=rule.pk)
    Silence.objects.filter(pk=running.pk).update(suppressed=3)
    answer = operator.get("/admin/alerting/silences/")
    assert [(row.state, row.matches) for row in answer.context["rows"]] == [("running", 1), ("coming", 0)]
    assert [row.state for row in answer.context["past"]] == ["past"]
    page = answer.content.decode()
    assert "rule “Orders are slow”" in page and "3 alerts" in page and "ended early by desk" in page


@pytest.mark.parametrize(
    ("silence", "labels", "fits"),
    [
        ({"service": "orders"}, {"service": "orders"}, 1),
        ({"service": "orders"}, {"service": "prices"}, 0),
        ({"service": "", "labels": {"symbol": "AAPL"}}, {"symbol": "AAPL", "service": "orders"}, 1),
        ({"service": "orders", "labels": {"symbol": "AAPL"}}, {"symbol": "MSFT", "service": "orders"}, 0),
    ],
)  # fmt: skip
def test_list__open_alerts__are_counted_as_they_match(
    operator: Client, silence: dict[str, Any], labels: dict[str, str], fits: int
) -> None:
    """AL-7: all that is given must fit."""
    made(**silence)
    an_alert(1, labels=labels)
    assert operator.get("/admin/alerting/silences/").context["rows"][0].matches == fits


def test_silence__page__lists_what_it_held_back(operator: Client) -> None:
    """AL-7: counted and listed, never hidden."""
    silence = made()
    an_alert(1, muted_by=f"silence:{silence.pk}", summary="Orders took 912 ms")
    an_alert(2, summary="Something else")
    an_alert(3, muted_by=f"silence:{silence.pk}0", summary="Something else")
    page = operator.get(f"/admin/alerting/silences/{silence.pk}/").content.decode()
    assert "Orders took 912 ms" in page and "Something else" not in page


@pytest.mark.parametrize(
    ("lasts", "hours"), [("60", 1), ("240", 4), ("1440", 24), ("10080", 168)],
)  # fmt: skip
def test_add__preset__is_counted_from_now(operator: Client, lasts: str, hours: int) -> None:
    """AL-7: the usual lengths need no clock."""
    operator.post("/admin/alerting/silences/add/", {**TYPED, "lasts": lasts})
    silence = Silence.objects.get()
    assert abs(silence.ends_at - timezone.now() - timedelta(hours=hours)) < timedelta(minutes=1)


def test_add__until_the_morning__is_eight_the_day_after_it_begins(operator: Client) -> None:
    """AL-7: also for one that begins later."""
    start = (timezone.now() + timedelta(days=2)).replace(hour=23, minute=30, second=0, microsecond=0)
    operator.post(
        "/admin/alerting/silences/add/", {**TYPED, "lasts": "tomorrow", "starts_at": f"{start:%Y-%m-%dT%H:%M}"}
    )
    silence = Silence.objects.get()
    assert silence.starts_at == start and silence.ends_at == start + timedelta(hours=8, minutes=30)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("service", ""), ("reason", "x"), ("lasts", "forever"), ("ends_at", "x"), ("starts_at", "9999-12-31T23:59"),
        ("starts_at", "0001-01-01T00:00"), ("rule", "9" * 40), ("labels", "x"), ("service", "a\x00"),
    ],
)  # fmt: skip
def test_add__bad_value__is_said_and_nothing_is_lost(operator: Client, field: str, value: str) -> None:
    """Q-5: a page with the reason in it."""
    answer = operator.post("/admin/alerting/silences/add/", {**TYPED, field: value})
    assert answer.status_code == 422 and not Silence.objects.exists()
    assert answer.context["form"].errors and (field == "reason" or WHY in answer.content.decode())


def test_add__from_an_alert__is_filled_in(operator: Client) -> None:
    """AL-7: rule and labels of the alert; nonsense in the address is left out."""
    rule = a_rule(name="Orders are slow")
    event = an_alert(1, rule_id=rule.pk, labels={"service": "orders"})
    form = operator.get(f"/admin/alerting/silences/add/?event={event.pk}").context["form"]
    assert (form["rule"].value(), form["labels"].value()) == (str(rule.pk), "service=orders")
    assert operator.get("/admin/alerting/silences/add/?rule=7&service=orders").context["form"]["rule"].value() == "7"
    for query in ("event=x", "event=%00", "rule=%00", "rule=" + "9" * 400, "service=%FF"):
        assert operator.get(f"/admin/alerting/silences/add/?{query}").status_code == 200


def test_edit__nothing_touched__changes_nothing(operator: Client) -> None:
    """AL-7: the form shows minutes; the seconds are not lost by it."""
    silence = made()
    form = operator.get(f"/admin/alerting/silences/{silence.pk}/edit/").context["form"]
    typed = {
        **TYPED, "lasts": "until", "ends_at": f"{silence.ends_at:%Y-%m-%dT%H:%M}", "expected": form["expected"].value(),
    }  # fmt: skip
    assert operator.post(f"/admin/alerting/silences/{silence.pk}/edit/", typed).status_code == 302
    before = silence.ends_at
    silence.refresh_from_db()
    assert silence.ends_at == before and not Entry.objects.filter(event="silence_update").exists()


def test_edit__others_changed_it__shows_what_it_is_now(operator: Client) -> None:
    """AL-7: 409 with both."""
    silence = made()
    typed = {**TYPED, "expected": services.version_of(silence), "reason": "typed before"}
    services.update_silence(silence, by=DESK, values=wanted(service="prices"))
    answer = operator.post(f"/admin/alerting/silences/{silence.pk}/edit/", typed)
    assert answer.status_code == 409 and "service prices" in answer.content.decode()
    assert "typed before" in answer.content.decode()


def test_end__asked_and_confirmed__says_what_follows(operator: Client) -> None:
    """AL-7: what still fires is told then."""
    silence = made()
    an_alert(1, labels={"service": "orders"})
    assert "1 open alert fits it" in operator.get(f"/admin/alerting/silences/{silence.pk}/end/").content.decode()
    operator.post(f"/admin/alerting/silences/{silence.pk}/end/")
    silence.refresh_from_db()
    assert silence.ended_at
    assert operator.post(f"/admin/alerting/silences/{silence.pk}/end/").status_code == 409
    assert operator.get(f"/admin/alerting/silences/{silence.pk}/edit/").status_code == 302
    assert operator.get(f"/admin/alerting/silences/{silence.pk}/end/").status_code == 200


@pytest.mark.parametrize("path", ["", "edit/", "end/"])
@pytest.mark.parametrize("number", ["999999", "9" * 30])
def test_silence__that_is_none__is_not_found(operator: Client, path: str, number: str) -> None:
    """Q-5: also for a number that no database holds."""
    assert operator.get(f"/admin/alerting/silences/{number}/{path}").status_code == 404


# ------------------------------------------------------------ its rule is deleted
def test_delete_rule__its_silences__end_and_stay_with_what_they_held_back(operator: Client, users: Users) -> None:
    """AL-7: counted and listed, never hidden; and what was for one rule is never for all."""
    rule, other = a_rule(name="Orders are slow"), a_rule(name="Prices are old")
    past = services.end_silence(made(rule=rule.pk, service=""), by=Actor.system("before"))
    now = timezone.now()
    coming = made(rule=rule.pk, starts_at=now + timedelta(hours=1), ends_at=now + timedelta(hours=2))
    running = made(rule=rule.pk, service="")
    event = an_alert(1, rule_id=rule.pk, muted_by=f"silence:{running.pk}", summary="Orders took 912 ms")
    Silence.objects.filter(pk=running.pk).update(suppressed=1)
    question = signed_in(users.admin).get(f"/admin/alerting/rules/{rule.pk}/delete/").content.decode()
    assert "Its 2 silences end with it." in question
    rules.delete_rule(rule, by=DESK)
    assert [silence.ended_by for silence in Silence.objects.order_by("pk")] == ["before", "desk", "desk"]
    assert Entry.objects.get(event="alert_rule_delete").additional_data["silences"] == 2
    page = operator.get("/admin/alerting/silences/")
    assert not page.context["rows"] and len(page.context["past"]) == 3
    assert page.content.decode().count("rule “Orders are slow” (deleted)") == 3
    assert f"silences/{running.pk}/" in operator.get(f"/admin/alerting/events/{event.pk}/").content.decode()
    listed = operator.get(f"/admin/alerting/silences/{running.pk}/").content.decode()
    assert "Orders took 912 ms" in listed and "1 alert" in listed
    for silence in (past, coming, running):
        assert operator.get(f"/admin/alerting/silences/{silence.pk}/end/").status_code == 200
        with pytest.raises(WrongState):
            services.update_silence(silence, by=DESK, values=wanted())
    # Also if the row is taken away past the service: it fits nothing any more.
    held = made(rule=other.pk, service="")
    Rule.objects.filter(pk=other.pk).delete()
    an_alert(2, labels={"service": "orders"})
    assert catalogue.current().silences[0].rule_id == other.pk
    row = operator.get("/admin/alerting/silences/").context["rows"][0]
    assert (row.silence, row.matches) == (held, 0) and "deleted" in row.what
