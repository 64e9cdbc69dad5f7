"""Strategies: made, changed, retired, granted and revoked."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from django.test import Client

from opsportal.accounts.actors import Actor
from opsportal.accounts.changes import Change, Verb, change_one, plan_change, users_to_change
from opsportal.accounts.models import Strategy, StrategyGrant
from opsportal.accounts.refusals import InvalidInput, StaleForm, WrongState
from opsportal.accounts.strategies import create_strategy, update_strategy
from opsportal.audit.models import Entry

ROOT = Actor.system("test")
LIST = "/admin/accounts/strategies/"


@pytest.fixture
def desk(users: Any) -> Client:
    """An admin at a browser."""
    client = Client()
    client.force_login(users.admin, backend="opsportal.accounts.backends.CachedUserBackend")
    return client


def details(event: str) -> list[Any]:
    return [entry.additional_data for entry in Entry.objects.filter(event=event).order_by("id")]


def test_strategy__made_changed_retired__each_is_audited(users: Any) -> None:
    """AM-4, AU-3: from what to what."""
    row = create_strategy("  Momentum   EU ", by=Actor.of(users.admin), description="Trend following")
    assert (row.name, row.description) == ("Momentum EU", "Trend following")
    assert update_strategy(row, by=ROOT, name="Momentum", description="Trend following", retired=True)
    assert not update_strategy(row, by=ROOT, name="Momentum", description="Trend following", retired=True)
    assert details("strategy_create") == [{"name": "Momentum EU", "description": "Trend following"}]
    assert details("strategy_update") == [
        {
            "strategy": "Momentum",
            "changed": {
                "name": {"before": "Momentum EU", "after": "Momentum"},
                "retired": {"before": False, "after": True},
            },
        }
    ]
    with pytest.raises(StaleForm):
        update_strategy(row, by=ROOT, name="X", description="", retired=True, expected=("Momentum EU", "", False))


def test_strategy__name_taken_or_wrong__is_refused(users: Any) -> None:
    """AM-4: whatever the capitals; its own name is not in its way."""
    row = create_strategy("Momentum", by=ROOT)
    for name in ("momentum", "", "   ", "a\x00b", "x" * 101):
        with pytest.raises(InvalidInput) as refused:
            create_strategy(name, by=ROOT)
        assert refused.value.field == "name"
    other = create_strategy("Carry", by=ROOT)
    with pytest.raises(InvalidInput):
        update_strategy(other, by=ROOT, name="MOMENTUM", description="", retired=False)
    assert update_strategy(row, by=ROOT, name="MOMENTUM", description="", retired=False)
    with pytest.raises(InvalidInput) as refused:
        create_strategy("New", by=ROOT, description="x" * 301)
    assert refused.value.field == "description"


def test_grant_and_revoke__are_audited_and_need_a_change(users: Any) -> None:
    """AM-4, AU-2."""
    row = create_strategy("Momentum", by=ROOT)
    by = Actor.of(users.admin)
    change_one(Change(Verb.GRANT, strategy=row), users.viewer, by=by, reason="joins the desk")
    assert StrategyGrant.objects.get(user=users.viewer).granted_by == users.admin.username
    with pytest.raises(WrongState, match="granted already"):
        change_one(Change(Verb.GRANT, strategy=row), users.viewer, by=by)
    change_one(Change(Verb.REVOKE, strategy=row), users.viewer, by=by)
    with pytest.raises(WrongState):
        change_one(Change(Verb.REVOKE, strategy=row), users.viewer, by=by)
    wanted = [{"username": users.viewer.username, "strategy": "Momentum"}]
    assert details("strategy_grant") == wanted and details("strategy_revoke") == wanted
    assert Entry.objects.get(event="strategy_grant").reason == "joins the desk"


def test_retired_strategy__keeps_its_grants_and_takes_no_new_ones(users: Any) -> None:
    """AM-4: also if it was retired after the page was drawn."""
    row = create_strategy("Momentum", by=ROOT)
    grant = Change(Verb.GRANT, strategy=row)
    change_one(grant, users.viewer, by=ROOT)
    update_strategy(row, by=ROOT, name="Momentum", description="", retired=True)
    assert StrategyGrant.objects.filter(user=users.viewer).exists()
    assert grant.strategy is not None and not grant.strategy.retired  # what an older page still believes
    with pytest.raises(WrongState, match="retired"):
        change_one(grant, users.operator, by=ROOT)
    change_one(Change(Verb.REVOKE, strategy=row), users.viewer, by=ROOT)
    assert not StrategyGrant.objects.exists()


def test_grants__do_not_end_sessions(users: Any) -> None:
    """AM-2: a strategy is no role."""
    client = Client()
    client.force_login(users.viewer, backend="opsportal.accounts.backends.CachedUserBackend")
    change_one(Change(Verb.GRANT, strategy=create_strategy("Momentum", by=ROOT)), users.viewer, by=ROOT)
    assert client.get("/admin/").status_code == 200


def test_pages__make_edit_and_list(desk: Client, users: Any) -> None:
    """AM-4: at the pages."""
    made = desk.post(f"{LIST}add/", {"name": "Momentum", "description": "Trend"}, follow=True)
    assert "The strategy Momentum is created" in made.content.decode()
    row = Strategy.objects.get()
    values = {"expected_name": "Momentum", "expected_description": "Trend", "expected_retired": "False"}
    edit = f"{LIST}{row.pk}/edit/"
    assert 'name="expected_retired" value="False"' in desk.get(edit).content.decode()
    assert desk.post(edit, {**values, "name": "Momentum", "description": "Trend", "retired": "on"}).status_code == 302
    stale = desk.post(edit, {**values, "name": "Momentum", "description": "x"})
    assert stale.status_code == 409 and 'name="expected_retired" value="True"' in stale.content.decode()
    again = {**values, "expected_retired": "True", "name": "Momentum", "description": "x"}
    assert desk.post(edit, again).status_code == 302
    assert desk.post(f"{LIST}add/", {"name": "MOMENTUM"}).status_code == 422
    text = desk.get(LIST).content.decode()
    assert "Momentum" in text and "in use" in text


def test_grant_by_name__from_the_page_of_the_strategy(desk: Client, users: Any) -> None:
    """AM-4: the name is found whatever its capitals; nobody else is granted anything."""
    row = create_strategy("Momentum", by=ROOT)
    query = {"do": f"grant:{row.pk}", "name": f" {users.viewer.username.upper()} "}
    page = desk.get("/admin/accounts/change/", query)
    assert page.status_code == 200 and users.viewer.username in page.content.decode()
    unknown = desk.get("/admin/accounts/change/", {**query, "name": "nobody-of-this-name"})
    assert unknown.status_code == 422 and "no user of this name" in unknown.content.decode()
    plan = plan_change(Change(Verb.GRANT, strategy=row), users_to_change([users.viewer.pk]), by=Actor.of(users.admin))
    values = {"do": f"grant:{row.pk}", "user": users.viewer.pk, "version": plan.version, "reason": "joins the desk"}
    assert desk.post("/admin/accounts/change/", values)["Location"] == f"/admin/accounts/{users.viewer.pk}/"
    assert users.viewer.username in desk.get(f"{LIST}{row.pk}/").content.decode()


def test_pages__bad_value__is_answered_in_words(desk: Client) -> None:
    """Q-5."""
    row = create_strategy("Momentum", by=ROOT)
    names = ("name", "description", "retired", "expected_name", "expected_retired")
    for name, value in product(names, ("\x00", "9" * 400, "x" * 5_000, "<b>", "\u202e")):
        assert desk.post(f"{LIST}add/", {"name": "Other", name: value}).status_code in (302, 422)
        values = {"name": "Momentum", "expected_name": "Momentum", "expected_retired": "False", name: value}
        assert desk.post(f"{LIST}{row.pk}/edit/", values).status_code in (302, 409, 422)
        assert desk.get(f"{LIST}{row.pk}/", {"page": value}).status_code == 200
