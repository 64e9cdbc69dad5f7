"""One's own password: what somebody else decides at that moment stands (AM-1, AM-2, AU-3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError
from django.test import Client
from django.urls import reverse

from opsportal.accounts import own_password, passwords, people
from opsportal.accounts.models import User
from opsportal.accounts.refusals import StaleForm
from opsportal.accounts.roles import Role
from opsportal.audit.models import Entry
from tests.conftest import PASSWORD
from tests.desk import DESK
from tests.factories import UserFactory

NEW = "a quite other long one 7"


def browser(user: User) -> Client:
    """Signed in, with the user already in the cache."""
    client = Client()
    client.force_login(user, backend="opsportal.accounts.backends.CachedUserBackend")
    assert client.get(reverse("admin:index")).status_code == 200
    return client


def change(client: Client) -> Any:
    """What the form sends."""
    return client.post(
        reverse("admin:password_change"), {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW}
    )


def disable(user: User) -> None:
    people.disable_user(user, by=DESK, reason="Left, out at once")


def reset(user: User) -> None:
    people.set_one_time_password(user, by=DESK)


def demote(user: User) -> None:
    people.set_role(user, Role.VIEWER, by=DESK)


@pytest.mark.parametrize("act", [disable, reset, demote])
def test_change__somebody_else_was_faster__is_refused_and_undoes_nothing(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch, act: Callable[[User], None]
) -> None:
    """AM-2: the request began before the admin's change and ends after it."""
    UserFactory(role="admin")  # type: ignore[no-untyped-call]
    victim: User = UserFactory(role="operator", is_superuser=act is demote)  # type: ignore[no-untyped-call,assignment]
    client = browser(victim)
    judge = passwords.AnotherPasswordValidator.validate
    decided: list[Any] = []

    def validate(self: Any, password: str, user: User | None = None) -> None:
        if not decided:
            act(User.objects.get(pk=victim.pk))
            decided.append(User.objects.filter(pk=victim.pk).values().get())
        judge(self, password, user)

    monkeypatch.setattr(passwords.AnotherPasswordValidator, "validate", validate)
    answer = change(client)
    assert answer.status_code == 200 and "Nothing was saved" in answer.content.decode()
    assert User.objects.filter(pk=victim.pk).values().get() == decided[0]
    assert client.get(reverse("admin:circuit")).status_code == 302, "still signed in"


def test_change__ordinary__keeps_this_browser_and_is_audited(users: Any) -> None:
    """AU-3, AUTH-3."""
    client, other = browser(users.operator), browser(users.operator)
    assert change(client).status_code == 302
    assert client.get(reverse("admin:circuit")).status_code == 200
    assert other.get(reverse("admin:circuit")).status_code == 302
    assert User.objects.get(pk=users.operator.pk).check_password(NEW)
    entry = Entry.objects.get(event="password_set")
    assert entry.actor_id == users.operator.pk and entry.additional_data["kind"] == "own"


def test_change__not_audited__is_not_made(users: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """AU-3: both or neither."""

    def refuse(*_: Any, **__: Any) -> None:
        raise DatabaseError("the log cannot be written")

    monkeypatch.setattr(own_password, "audit", refuse)
    user, before = users.operator, Entry.objects.count()
    with pytest.raises(DatabaseError):
        own_password.change_own_password(user, old=PASSWORD, new=NEW)
    assert not User.objects.get(pk=users.operator.pk).check_password(NEW)
    assert Entry.objects.count() == before


def test_change__wrong_old_password__is_refused(users: Any) -> None:
    """AM-1: the service judges for itself."""
    with pytest.raises(StaleForm):
        own_password.change_own_password(users.operator, old="something else", new=NEW)


def test_user__read_in_part__is_not_saved_whole(users: Any) -> None:
    """AM-2: what the cache remembers may be old."""
    with pytest.raises(TypeError):
        User.objects.only("username").get(pk=users.viewer.pk).save()
