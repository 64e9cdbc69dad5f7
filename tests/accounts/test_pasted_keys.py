"""What is pasted by mistake into a field that is stored, listed and logged."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from opsportal.accounts import people, strategies
from opsportal.accounts.actors import Actor
from opsportal.accounts.models import Strategy, User
from opsportal.accounts.refusals import InvalidInput
from opsportal.accounts.roles import Role
from opsportal.audit.models import Entry
from tests.audit.entries import signed_in

ROOT = Actor.system("test")
KEY = "tp_live_" + "AbCd1234" + "Z" * 35
SECRETS = [
    KEY,
    f"desk {KEY} two",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
    "password=hunter2hunter2",
    "AKIA" + "A1" * 8,
]


@pytest.mark.parametrize("text", SECRETS)
def test_name_or_description__that_holds_a_credential__is_refused(users: Any, text: str) -> None:
    """AK-9: it would stand whole in lists, pages and the log; nothing of it is said back."""
    attempts = {
        "first_name": lambda: people.create_user("ada", "x", Role.VIEWER, by=ROOT, first_name=text),
        "last_name": lambda: people.update_user(users.viewer, by=ROOT, first_name="", last_name=text),
        "name": lambda: strategies.create_strategy(text, by=ROOT),
        "description": lambda: strategies.create_strategy("Momentum", by=ROOT, description=text),
    }
    for field, attempt in attempts.items():
        with pytest.raises(InvalidInput, match="looks like a key") as refused:
            attempt()
        assert refused.value.field == field and text not in refused.value.sentence
    assert not Strategy.objects.exists() and not User.objects.filter(username="ada").exists()


def test_user_name__that_holds_a_key__is_refused(users: Any) -> None:
    """AK-9: the log would keep it for good."""
    with pytest.raises(InvalidInput, match="looks like a key") as refused:
        people.create_user(KEY, "x", Role.VIEWER, by=ROOT)
    assert refused.value.field == "username"


@pytest.mark.parametrize(
    "name",
    ["Ada", "Jean-Luc", "O’Neil", "van der Berg", "Мария", "Nguyễn Thị", "Smith Jr.", "Key", "Token", "Basic", "Bearer",
     "Momentum EU 2024", "FX 50/200 v2.1", "Grid 0.5% 10:30-16:45", "Pairs: EURUSD, GBPUSD", "tp_arb 3", "Vol 1,000,000"],
)  # fmt: skip
def test_ordinary_name__is_kept(users: Any, name: str) -> None:
    """AM-1, AM-4."""
    assert people.update_user(users.viewer, by=ROOT, first_name=name, last_name=name)
    assert strategies.create_strategy(name, by=ROOT, description=name).name == name


@pytest.mark.parametrize("name", ["alice@corp.example", "tp_alice@corp.example", "4917012345678", "svc-risk_2"])
def test_ordinary_user_name__is_kept(users: Any, name: str) -> None:
    """AM-1: the address or the number of somebody is a user name in many houses."""
    assert people.create_user(name, "x", Role.VIEWER, by=ROOT, email="alice@corp.example").username == name


def test_key__pasted_into_a_form__is_not_shown_back(users: Any) -> None:
    """AK-9: neither by the form nor in the log."""
    client = signed_in(users.admin)
    for path, field, more in (
        ("accounts_add", "first_name", {"username": "ada", "role": "viewer"}),
        ("accounts_add", "username", {"role": "viewer"}),
        ("accounts_strategy_add", "description", {"name": "Momentum"}),
    ):
        answer = client.post(reverse(f"admin:{path}"), {field: KEY, **more})
        assert answer.status_code == 422 and "looks like a key" in answer.content.decode()
        assert KEY not in answer.content.decode()
    edit = reverse("admin:accounts_edit", args=[users.viewer.pk])
    answer = client.post(edit, {"first_name": KEY, "last_name": "", "email": "ada@example.com"})
    assert answer.status_code == 422 and KEY not in answer.content.decode()
    assert "ada@example.com" in answer.content.decode()
    assert KEY not in str(list(Entry.objects.values_list("additional_data", "resource_id")))
