"""Planned work on services: what a window must be like, how it ends, and who may plan it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from health import services, store
from health.models import Maintenance, Service
from opsportal.accounts.actors import Actor, PermissionRefused
from opsportal.accounts.refusals import InvalidInput, StaleForm, WrongState
from opsportal.audit.models import Entry
from tests.desk import DESK

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
LIST = "/admin/health/maintenance/"
ADD = "/admin/health/maintenance/add/"


@pytest.fixture
def orders(db: None) -> Service:
    return services.create_service(by=DESK, name="orders", base_url="http://orders")


def plan(*chosen: Service, start: datetime = NOW, end: datetime = NOW + HOUR, **more: Any) -> Maintenance:
    """A window, planned at noon."""
    values: dict[str, Any] = {"by": DESK, "reason": "New kernel", "now": NOW, **more}
    return services.plan_maintenance(chosen, starts_at=start, ends_at=end, **values)


def from_now(service: Service, start: timedelta, end: timedelta) -> Maintenance:
    """A window relative to the real clock, for the pages; one that is past is planned before its end."""
    now = timezone.now()
    return plan(service, start=now + start, end=now + end, now=now + start)


def as_role(users: Any, role: str) -> Client:
    client = Client()
    client.force_login(getattr(users, role), backend="opsportal.accounts.backends.CachedUserBackend")
    return client


def typed(*chosen: Service, start: datetime, end: datetime, **more: Any) -> dict[str, Any]:
    """What a browser sends with the form."""
    return {
        "services": [service.pk for service in chosen],
        "starts_at_0": f"{start:%Y-%m-%d}",
        "starts_at_1": f"{start:%H:%M:%S}",
        "ends_at_0": f"{end:%Y-%m-%d}",
        "ends_at_1": f"{end:%H:%M:%S}",
        "reason": "New kernel",
        "_save": "Save",
        **more,
    }


# ---------------------------------------------------------------- what a window must be like


@pytest.mark.parametrize(
    ("start", "end", "field", "told"),
    [
        (NOW, NOW, "ends_at", "after the start"),
        (NOW, NOW - HOUR, "ends_at", "after the start"),
        (NOW - 2 * HOUR, NOW - HOUR, "ends_at", "passed already: it is 2026-03-02 12:00 UTC"),
        (NOW, NOW + timedelta(days=7, seconds=1), "ends_at", "At most 7 days"),
        (NOW.replace(year=2062), NOW.replace(year=2062) + HOUR, "starts_at", "Is 2062 the right year"),
    ],
)
def test_plan__bad_times__are_refused(orders: Service, start: datetime, end: datetime, field: str, told: str) -> None:
    """HM-11: in plain words, beside the field."""
    with pytest.raises(InvalidInput, match=told) as refusal:
        plan(orders, start=start, end=end)
    assert refusal.value.field == field
    assert not Maintenance.objects.exists()


def test_plan__edges__are_allowed(orders: Service) -> None:
    """HM-11: exactly seven days, and work that has begun already."""
    assert plan(orders, end=NOW + timedelta(days=7)).pk
    assert plan(orders, start=NOW - HOUR, end=NOW + timedelta(seconds=1)).runs(NOW)


@pytest.mark.parametrize(
    ("reason", "told"),
    [("", "Say what"), (" \n ", "Say what"), ("x" * 301, "at most 300"), ("a\x00b", "cannot be stored")],
)
def test_plan__bad_reason__is_refused(orders: Service, reason: str, told: str) -> None:
    """HM-11: a reason is needed."""
    with pytest.raises(InvalidInput, match=told) as refusal:
        plan(orders, reason=reason)
    assert refusal.value.field == "reason"


def test_plan__reason_with_an_address__is_masked(orders: Service) -> None:
    """AC-5: the whole desk reads it."""
    assert plan(orders, reason="New kernel,  ask anna@example.com").reason == "New kernel, ask ***@example.com"


def test_plan__no_service_or_a_removed_one__is_refused(orders: Service) -> None:
    """HM-11: a window mutes something."""
    with pytest.raises(InvalidInput, match="at least one"):
        plan()
    services.delete_service(Service.objects.get(pk=orders.pk), by=DESK)
    with pytest.raises(InvalidInput, match="Removed in the meantime: orders"):
        plan(orders)


# ---------------------------------------------------------------- its life


def test_window__whole_life__is_audited(orders: Service, users: Any) -> None:
    """HM-11, AU-1, AU-2: planned, changed, ended; who did it, and from what to what."""
    by = Actor.of(users.operator)
    risk = services.create_service(by=DESK, name="risk", base_url="http://risk")
    window = plan(orders, by=by)
    assert window.planned_by == users.operator.username
    same: dict[str, Any] = {"starts_at": NOW, "ends_at": NOW + HOUR, "reason": "New kernel", "by": by, "now": NOW}
    services.change_maintenance(window, services=[orders], **same)
    services.change_maintenance(window, services=[orders, risk], **{**same, "ends_at": NOW + 2 * HOUR})
    ended = services.end_maintenance(window, by=by, now=NOW + HOUR)
    assert not ended.runs(NOW + HOUR)

    entries = Entry.objects.filter(resource_type="maintenance", actor=users.operator).order_by("id")
    assert [entry.event for entry in entries] == ["maintenance_create", "maintenance_update", "maintenance_update"]
    assert entries[1].additional_data["changes"] == {
        "services": {"before": ["orders"], "after": ["orders", "risk"]},
        "ends_at": {"before": "2026-03-02T13:00:00Z", "after": "2026-03-02T14:00:00Z"},
    }
    assert entries[2].additional_data["changes"]["ends_at"]["after"] == "2026-03-02T13:00:00Z"


def test_past_window__any_change__is_refused(orders: Service) -> None:
    """HM-11: what is past stays as it was."""
    window, later = plan(orders), NOW + 2 * HOUR
    values: dict[str, Any] = {
        "services": [orders],
        "starts_at": NOW,
        "ends_at": later + HOUR,
        "reason": "x",
        "by": DESK,
        "now": later,
    }
    for attempt in (
        lambda: services.change_maintenance(window, **values),
        lambda: services.end_maintenance(window, by=DESK, now=later),
        lambda: services.cancel_maintenance(window, by=DESK, now=later),
    ):
        with pytest.raises(WrongState, match="ended at 2026-03-02 13:00 UTC"):
            attempt()


def test_running_window__its_start__stays(orders: Service) -> None:
    """HM-11: it can be ended or prolonged, not cancelled, nor begun anew."""
    window = plan(orders)
    values: dict[str, Any] = {
        "services": [orders],
        "ends_at": NOW + 3 * HOUR,
        "reason": "New kernel",
        "by": DESK,
        "now": NOW,
    }
    with pytest.raises(InvalidInput, match="has begun"):
        services.change_maintenance(window, starts_at=NOW + HOUR, **values)
    with pytest.raises(WrongState, match="End it now instead"):
        services.cancel_maintenance(window, by=DESK, now=NOW)
    assert services.change_maintenance(window, starts_at=NOW, **values).ends_at == NOW + 3 * HOUR


def test_planned_window__is_cancelled_not_ended(orders: Service) -> None:
    """HM-11, AU-2: dropped from the list; the audit log keeps it."""
    window = plan(orders, start=NOW + HOUR, end=NOW + 2 * HOUR)
    with pytest.raises(WrongState, match="has not begun"):
        services.end_maintenance(window, by=DESK, now=NOW)
    services.cancel_maintenance(window, by=DESK, now=NOW)
    assert not Maintenance.objects.exists()
    assert Entry.objects.get(event="maintenance_delete").additional_data["services"] == ["orders"]
    with pytest.raises(WrongState, match="cancelled in the meantime"):
        services.cancel_maintenance(window, by=DESK, now=NOW)


def test_end__in_its_first_instant__still_has_a_length(orders: Service) -> None:
    """HM-11: the database refuses a window without one."""
    window = plan(orders)
    ended = services.end_maintenance(window, by=DESK, now=NOW)
    assert ended.ends_at - ended.starts_at < timedelta(seconds=1)


def test_change__row_moved_on__is_refused(orders: Service) -> None:
    """HM-11: nobody's change is overwritten unseen."""
    window = plan(orders)
    seen = services.version_of(window)
    services.end_maintenance(window, by=DESK, now=NOW + HOUR / 2)
    values: dict[str, Any] = {
        "services": [orders],
        "starts_at": NOW,
        "ends_at": NOW + HOUR,
        "reason": "x",
        "by": DESK,
        "now": NOW,
    }
    with pytest.raises(StaleForm):
        services.change_maintenance(window, expected_version=seen, **values)


def test_every_change__viewer__is_refused(orders: Service, users: Any) -> None:
    """RBAC-1: in the service layer, whatever the door."""
    window, by = plan(orders), Actor.of(users.viewer)
    values: dict[str, Any] = {"starts_at": NOW, "ends_at": NOW + HOUR, "reason": "x", "by": by, "now": NOW}
    for attempt in (
        lambda: services.plan_maintenance([orders], **values),
        lambda: services.change_maintenance(window, services=[orders], **values),
        lambda: services.end_maintenance(window, by=by, now=NOW),
        lambda: services.cancel_maintenance(window, by=by, now=NOW),
    ):
        with pytest.raises(PermissionRefused):
            attempt()


def test_window__committed__reaches_the_dashboards_copy(transactional_db: None, redis: Any) -> None:
    """HM-11: the grid shows it without waiting for the sweep."""
    service = services.create_service(by=DESK, name="orders", base_url="http://orders")
    window = from_now(service, -HOUR, HOUR)
    (known,) = json.loads(redis.get(store.REGISTRY_KEY))["windows"]
    assert (known["reason"], known["services"]) == ("New kernel", [service.pk])
    services.end_maintenance(window, by=DESK)
    assert json.loads(redis.get(store.REGISTRY_KEY))["windows"] == []


# ---------------------------------------------------------------- the pages


def test_pages__operator__plans_changes_and_cancels(orders: Service, users: Any) -> None:
    """HM-11: through the admin; the page says what is planned for whom."""
    client = as_role(users, "operator")
    start = timezone.now().replace(microsecond=0) + HOUR
    assert client.post(ADD, typed(orders, start=start, end=start + HOUR)).status_code == 302
    window = Maintenance.objects.get()
    assert (window.starts_at, window.planned_by) == (start, users.operator.username)

    change = f"{LIST}{window.pk}/change/"
    page = client.get(change)
    assert "Cancel this maintenance" in page.content.decode() and "End now" not in page.content.decode()
    version = page.context["adminform"].form.initial["version"]
    sent = typed(orders, start=start, end=start + 2 * HOUR, version=version)
    assert client.post(change, sent).status_code == 302
    window.refresh_from_db()
    assert window.ends_at == start + 2 * HOUR

    assert "has not begun" in client.get(f"{LIST}{window.pk}/delete/").content.decode()
    client.post(f"{LIST}{window.pk}/delete/", {"post": "yes"})
    assert not Maintenance.objects.exists()


def test_form__five_hundred_services__are_planned_at_once(orders: Service, users: Any) -> None:
    """HM-9, HM-11: the whole platform can go into maintenance."""
    Service.objects.bulk_create(Service(name=f"s{n}", base_url=f"http://s{n}") for n in range(499))
    start = timezone.now() + HOUR
    sent = typed(*Service.objects.all(), start=start, end=start + HOUR)
    assert as_role(users, "operator").post(ADD, sent).status_code == 302
    assert Maintenance.objects.get().services.count() == 500


def test_pages__running_window__keeps_its_start_and_ends_by_a_button(orders: Service, users: Any) -> None:
    """HM-11: asked once, done by POST, audited."""
    client, window = as_role(users, "operator"), from_now(orders, -HOUR, HOUR)
    started = window.starts_at
    change, end = f"{LIST}{window.pk}/change/", f"{LIST}{window.pk}/end/"
    page = client.get(change)
    assert 'name="starts_at_0"' not in page.content.decode() and end in page.content.decode()
    version = page.context["adminform"].form.initial["version"]
    later = timezone.now().replace(microsecond=0) + 3 * HOUR
    assert client.post(change, typed(orders, start=later, end=later, version=version)).status_code == 302
    window.refresh_from_db()
    assert (window.starts_at, window.ends_at) == (started, later)

    assert end in client.get(LIST).content.decode()
    assert "End maintenance now?" in client.get(end).content.decode() and Maintenance.objects.get().ends_at == later
    assert "has ended" in client.post(end, follow=True).content.decode()
    assert Maintenance.objects.get().ends_at <= timezone.now()
    assert "This work ended" in client.post(end, follow=True).content.decode()
    assert client.put(end).status_code == 405
    assert client.post(f"{LIST}{window.pk}/delete/", {"post": "yes"}, follow=True).status_code == 200
    assert Maintenance.objects.exists()


def test_pages__past_window__can_be_read_only(orders: Service, users: Any) -> None:
    """HM-11: and says why when a late form comes in."""
    client, window = as_role(users, "operator"), from_now(orders, -2 * HOUR, -HOUR)
    change = f"{LIST}{window.pk}/change/"
    page = client.get(change).content.decode()
    assert 'name="_save"' not in page and "past" in page and "Cancel this maintenance" not in page
    later = timezone.now() + HOUR
    answer = client.post(change, typed(orders, start=later, end=later + HOUR), follow=True)
    assert "What is past stays as it was" in answer.content.decode()
    assert Maintenance.objects.get().ends_at == window.ends_at


def test_form__bad_input__stands_beside_its_field(orders: Service, users: Any) -> None:
    """HM-11, Q-5: all at once, never a failure."""
    client, now = as_role(users, "operator"), timezone.now()
    sent = typed(start=now + HOUR, end=now, reason=" ")
    errors = client.post(ADD, sent).context["adminform"].form.errors
    assert {"services", "ends_at", "reason"} == set(errors)
    assert "after the start" in errors["ends_at"][0]
    for junk in (
        {"starts_at_0": "soon"},
        {"ends_at_1": "25:99"},
        {"starts_at_0": "0001-01-01"},
        {"ends_at_0": "9999-12-31"},
    ):
        answer = client.post(ADD, typed(orders, start=now, end=now + HOUR) | junk)
        assert answer.context["adminform"].form.errors, junk
    assert not Maintenance.objects.exists()


@pytest.mark.parametrize(
    "query", ["services=x", "services=99999999999999999999", "services=%00", "starts_at=junk", "reason=%00"]
)
def test_add_page__nonsense_in_the_address__is_ignored(orders: Service, users: Any, query: str) -> None:
    """Q-5: the form is drawn as ever."""
    assert as_role(users, "operator").get(f"{ADD}?{query}").status_code == 200


def test_add_page__service_in_the_address__is_chosen(orders: Service, users: Any) -> None:
    """HM-11: from a service's page straight to its maintenance."""
    page = as_role(users, "operator").get(f"{ADD}?services={orders.pk}").content.decode()
    assert f'<option value="{orders.pk}" selected>orders</option>' in page


def test_list__states__are_told_apart_and_filtered(orders: Service, users: Any) -> None:
    """HM-11: running, planned, past."""
    running, planned, past = (
        from_now(orders, start, end) for start, end in ((-HOUR, HOUR), (HOUR, 2 * HOUR), (-2 * HOUR, -HOUR))
    )
    client = as_role(users, "viewer")
    page = client.get(LIST).content.decode()
    assert all(f'">{word}</span>' in page for word in ("running", "planned", "past"))
    assert "End it" not in page and f"{running.pk}/end/" not in page
    for word, window in (("running", running), ("planned", planned), ("past", past)):
        assert list(client.get(f"{LIST}?state={word}").context["cl"].queryset) == [window]


def test_pages__viewer__is_refused_the_rest(orders: Service, users: Any) -> None:
    """RBAC-1: read-only, a refusal says who may."""
    client, window = as_role(users, "viewer"), from_now(orders, -HOUR, HOUR)
    assert 'name="_save"' not in client.get(f"{LIST}{window.pk}/change/").content.decode()
    for answer in (
        client.get(ADD),
        client.get(f"{LIST}{window.pk}/end/"),
        client.post(f"{LIST}{window.pk}/end/"),
        client.post(f"{LIST}{window.pk}/change/", {}),
        client.post(f"{LIST}{window.pk}/delete/", {"post": "yes"}),
    ):
        assert answer.status_code == 403 and "operator" in answer.content.decode()
    assert Maintenance.objects.get().runs(timezone.now())


def test_delete_service__its_windows__stay_readable(orders: Service, users: Any) -> None:
    """HM-11: the list of past work survives the service."""
    from_now(orders, -HOUR, HOUR)
    services.delete_service(orders, by=DESK)
    assert "services that were removed" in as_role(users, "operator").get(LIST).content.decode()
