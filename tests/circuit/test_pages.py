"""The breaker's pages as a browser without JavaScript sees them."""

from __future__ import annotations

import csv
import io
import time
from typing import Any

import pytest
import redis as redis_client
from django.test import Client
from django.urls import reverse

from circuit import services
from circuit.models import Transition
from circuit.selectors import forget_readings, read_breaker
from opsportal.audit.models import Entry
from tests.desk import DESK, WHY


@pytest.fixture(autouse=True)
def _open(db: None) -> None:
    forget_readings()
    services.init_breaker(by=DESK)


def signed_in(user: Any) -> Client:
    client = Client()
    client.force_login(user, backend="opsportal.accounts.backends.CachedUserBackend")
    return client


def reset_form(client: Client, **more: Any) -> dict[str, Any]:
    version = client.get(reverse("admin:circuit_reset")).context["form"]["expected_version"].value()
    return {"reason": WHY, "acknowledged": "on", "expected_version": version, **more}


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
def test_page__every_role__sees_state_word_and_plain_word(users: Any, role: str) -> None:
    """CB-1: the wire word and the plain one together."""
    page = signed_in(getattr(users, role)).get(reverse("admin:circuit"))
    text = page.content.decode()
    assert page.status_code == 200 and "OPEN" in text and "trading" in text


def test_page__viewer__has_no_control(users: Any) -> None:
    """CB-1, RBAC-1: and is told why."""
    text = signed_in(users.viewer).get(reverse("admin:circuit")).content.decode()
    assert reverse("admin:circuit_trip") not in text
    assert "can look but not trip or reset" in text


def test_trip_and_reset__without_javascript(users: Any) -> None:
    """CB-4, CB-6: a form page, a redirect, a message."""
    client = signed_in(users.operator)
    answer = client.post(reverse("admin:circuit_trip"), {"category": "drawdown", "reason": "limit"}, follow=True)
    assert "trading is halted" in answer.content.decode()
    answer = client.post(reverse("admin:circuit_reset"), reset_form(client), follow=True)
    assert "trading is allowed again" in answer.content.decode()
    assert [row.actor_label for row in Transition.objects.all()[:2]] == [users.operator.username] * 2
    assert Entry.objects.get(event="circuit_trip").source == "portal"


def test_trip__double_submit__says_already_tripped(users: Any) -> None:
    """CB-5: the second submit changes nothing and says who was first."""
    client = signed_in(users.operator)
    form = {"category": "manual", "reason": "limit"}
    assert client.post(reverse("admin:circuit_trip"), form).status_code == 302
    second = client.post(reverse("admin:circuit_trip"), form)
    assert second.status_code == 409 and f"Already tripped by {users.operator.username}" in second.content.decode()
    assert Transition.objects.filter(kind="trip").count() == 1


def test_trip__reason_of_spaces__keeps_what_was_typed(users: Any) -> None:
    """CB-6: 422, the sentence at the field, the category kept."""
    answer = signed_in(users.operator).post(reverse("admin:circuit_trip"), {"category": "latency", "reason": "   "})
    assert answer.status_code == 422
    assert "Give a reason" in answer.content.decode()
    assert answer.context["form"]["category"].value() == "latency"
    assert read_breaker().state == "OPEN"


def test_trip__ten_kilobytes__is_refused_with_the_limit(users: Any) -> None:
    """CB-6."""
    answer = signed_in(users.operator).post(
        reverse("admin:circuit_trip"), {"category": "manual", "reason": "x" * 10_240}
    )
    assert answer.status_code == 422 and "10,240 characters" in answer.content.decode()


@pytest.mark.parametrize("extra", [{"reason": "x" * 2_000_000}, {f"field{n}": "x" for n in range(1_001)}])
def test_trip__far_too_large__is_400_in_words(users: Any, extra: dict[str, str]) -> None:
    """Q-5: never a bare error page."""
    answer = signed_in(users.operator).post(reverse("admin:circuit_trip"), {"category": "manual", **extra})
    assert answer.status_code == 400 and "Nothing was changed" in answer.content.decode()
    assert read_breaker().state == "OPEN"


def test_trip__unknown_category__is_refused(users: Any) -> None:
    """CB-12: the categories are fixed."""
    answer = signed_in(users.operator).post(reverse("admin:circuit_trip"), {"category": "rage", "reason": "x"})
    assert answer.status_code == 422 and read_breaker().state == "OPEN"


def test_reset__stale_form__is_refused_and_drawn_anew(users: Any) -> None:
    """CB-6: the state changed after the form was drawn; nothing changes, what was typed stays."""
    client = signed_in(users.operator)
    services.trip_breaker(by=DESK, reason="first")
    old = reset_form(client)
    services.reset_breaker(by=DESK, reason=WHY, acknowledged=True)
    services.trip_breaker(by=DESK, reason="second")
    answer = client.post(reverse("admin:circuit_reset"), old)
    assert answer.status_code == 409 and "changed after this form was drawn" in answer.content.decode()
    assert answer.context["form"]["reason"].value() == WHY
    assert answer.context["form"]["expected_version"].value() == read_breaker().version
    assert read_breaker().state == "TRIPPED"


def test_reset__form_without_version__is_refused(users: Any) -> None:
    """CB-6: a form that the portal did not draw."""
    client = signed_in(users.operator)
    services.trip_breaker(by=DESK, reason="first")
    answer = client.post(reverse("admin:circuit_reset"), {"reason": WHY, "acknowledged": "on"})
    assert answer.status_code == 409 and read_breaker().state == "TRIPPED"


def test_reset__within_a_minute__says_how_long(users: Any) -> None:
    """CB-7: 429, Retry-After, and the seconds in words."""
    client = signed_in(users.operator)
    services.trip_breaker(by=DESK, reason="first")
    client.post(reverse("admin:circuit_reset"), reset_form(client))
    services.trip_breaker(by=DESK, reason="second")
    answer = client.post(reverse("admin:circuit_reset"), reset_form(client))
    assert answer.status_code == 429 and 50 < int(answer["Retry-After"]) <= 60
    assert "less than a minute ago" in answer.content.decode()


@pytest.mark.parametrize("name", ["circuit_trip", "circuit_reset", "circuit_restore"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_forms__viewer__403_says_what_is_missing_and_is_audited(users: Any, name: str, method: str) -> None:
    """RBAC-1, AU-2."""
    answer = getattr(signed_in(users.viewer), method)(reverse(f"admin:{name}"), {"reason": "x"})
    assert answer.status_code == 403 and "the circuit breaker" in answer.content.decode()
    denied = Entry.objects.get(event="admin_page_access_denied")
    assert denied.outcome == "denied" and denied.actor_id == users.viewer.pk
    assert denied.additional_data["missing"].startswith("circuit.")


def test_fragment__unchanged__is_304_with_fresh_age(users: Any) -> None:
    """CB-10: nothing changed, nothing sent, but the reading's age is told."""
    client = signed_in(users.viewer)
    first = client.get(reverse("admin:circuit_fragment"))
    assert first.status_code == 200 and float(first["X-Reading-Age"]) < 1
    second = client.get(reverse("admin:circuit_fragment"), headers={"If-None-Match": first["ETag"]})
    assert second.status_code == 304 and not second.content and "X-Reading-Age" in second
    services.trip_breaker(by=DESK, reason="limit")
    forget_readings()
    third = client.get(reverse("admin:circuit_fragment"), headers={"If-None-Match": first["ETag"]})
    assert third.status_code == 200 and "TRIPPED" in third.content.decode()


def test_fragment__of_a_viewer__never_holds_the_operators_controls(users: Any) -> None:
    """RBAC-1, CB-10: the cached rendering differs by permission."""
    operator = signed_in(users.operator).get(reverse("admin:circuit_fragment"))
    viewer = signed_in(users.viewer).get(reverse("admin:circuit_fragment"))
    assert reverse("admin:circuit_trip") in operator.content.decode()
    assert reverse("admin:circuit_trip") not in viewer.content.decode()
    assert operator["ETag"] != viewer["ETag"]


def test_fragment__session_ended_in_the_middle_of_a_poll__whole_page_goes_to_sign_in(users: Any, settings: Any) -> None:
    """AUTH-3, CB-10: HX-Redirect, never a sign-in page inside a card; polling is no sign of life."""
    client = signed_in(users.operator)
    session = client.session
    session["seen"] = time.time() - settings.SESSION_IDLE_SECONDS - 1
    session.save()
    answer = client.get(
        reverse("admin:circuit_fragment"),
        headers={"HX-Request": "true", "HX-Current-URL": "http://testserver/admin/circuit/?kind=trip"},
    )
    assert answer.status_code == 204
    assert answer["HX-Redirect"] == "/admin/login/?next=%2Fadmin%2Fcircuit%2F%3Fkind%3Dtrip&expired=1"
    page = client.get(answer["HX-Redirect"])
    assert "signed out" in page.content.decode()


def test_page__redis_value_unknown__is_halted(users: Any, redis: redis_client.Redis) -> None:
    """CB-2: fail closed, with the platform's word shown."""
    redis.set("circuit_breaker:state", "<b>banana</b>")
    forget_readings()
    text = signed_in(users.operator).get(reverse("admin:circuit")).content.decode()
    assert "UNKNOWN" in text and "halted" in text and "&lt;b&gt;banana" in text and "<b>banana" not in text


def test_page__platform_writes_json_but_portal_does_not__says_so(users: Any, redis: redis_client.Redis) -> None:
    """CB-3: a mismatch of dialects is shown before it hurts."""
    redis.set("circuit_breaker:state", '{"state": "OPEN"}')
    forget_readings()
    assert "CIRCUIT_DIALECT" in signed_in(users.operator).get(reverse("admin:circuit")).content.decode()


def test_restore__after_data_loss__from_the_page(users: Any, redis: redis_client.Redis) -> None:
    """CB-2: offered, explicit, audited."""
    services.trip_breaker(by=DESK, reason="limit")
    redis.flushall()
    forget_readings()
    client = signed_in(users.operator)
    assert reverse("admin:circuit_restore") in client.get(reverse("admin:circuit")).content.decode()
    form = client.get(reverse("admin:circuit_restore")).context["form"]
    values = {"reason": WHY, "acknowledged": "on", "expected_version": form["expected_version"].value()}
    assert client.post(reverse("admin:circuit_restore"), values).status_code == 302
    assert read_breaker().state == "TRIPPED"
    assert Entry.objects.get(event="circuit_restore").actor_id == users.operator.pk


def test_history__filters_and_pages(users: Any) -> None:
    """CB-9: filter, paginate, how long it was halted."""
    for number in range(30):
        Transition.objects.create(
            kind="trip", from_state="OPEN", to_state="TRIPPED", reason=f"reason {number}", source="api",
            actor_label="alice" if number % 2 else "bob", at=DESK_TIME, category="latency",
        )  # fmt: skip
    client = signed_in(users.viewer)
    everything = client.get(reverse("admin:circuit_history_fragment")).context["history"]
    assert (len(everything.rows), everything.total) == (25, 31)
    assert len(client.get(reverse("admin:circuit_history_fragment"), {"page": 2}).context["history"].rows) == 6
    alice = client.get(reverse("admin:circuit_history_fragment"), {"actor": "ali", "kind": "trip"}).context["history"]
    assert alice.total == 15 and alice.querystring == "actor=ali&kind=trip"
    one = client.get(reverse("admin:circuit"), {"q": "reason 17"}).context["history"]
    assert [row.reason for row in one.rows] == ["reason 17"]
    wrong = client.get(reverse("admin:circuit_history_fragment"), {"since": "yesterday"})
    assert wrong.status_code == 200 and "Enter a valid date" in wrong.content.decode()
    assert client.get(reverse("admin:circuit_history_fragment"), {"page": "x"}).status_code == 200


def test_csv__is_harmless_complete_and_audited(users: Any) -> None:
    """CB-9, AU-6: no cell can run in a spreadsheet; the export is in the audit log."""
    services.trip_breaker(by=DESK, reason="=HYPERLINK(1)")
    answer = signed_in(users.viewer).get(reverse("admin:circuit_history_csv"), {"kind": "trip"})
    rows = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))
    assert [row["reason"] for row in rows] == ["'=HYPERLINK(1)"]
    assert Entry.objects.get(event="export").additional_data == {"filters": {"kind": "trip"}}


def test_replayed_csrf_token__of_an_earlier_sign_in__changes_nothing(users: Any) -> None:
    """AUTH-4: the token changes at sign-in; an old one is refused in plain words."""
    client = Client(enforce_csrf_checks=True)
    login = client.get(reverse("admin:login"))
    old = login.context["csrf_token"]
    values = {"username": users.operator.username, "password": users.password, "csrfmiddlewaretoken": str(old)}
    assert client.post(reverse("admin:login"), values).status_code == 302
    answer = client.post(
        reverse("admin:circuit_trip"), {"reason": "x", "category": "manual", "csrfmiddlewaretoken": str(old)}
    )
    assert answer.status_code == 403 and "Nothing was changed" in answer.content.decode()
    assert read_breaker().state == "OPEN"


def test_overview__tripped__says_what_is_halted_and_what_needs_me(users: Any) -> None:
    """CB-1: the first page tells it, and links to the breaker."""
    services.trip_breaker(by=DESK, reason="drawdown too deep")
    forget_readings()
    text = signed_in(users.operator).get(reverse("admin:index")).content.decode()
    assert "TRIPPED" in text and "drawdown too deep" in text and "waits for a decision" in text
    assert "waits for a decision" not in signed_in(users.viewer).get(reverse("admin:index")).content.decode()


from datetime import UTC, datetime  # noqa: E402

DESK_TIME = datetime(2026, 1, 1, tzinfo=UTC)
