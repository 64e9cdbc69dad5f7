"""Scopes of the platform's own services: bound to the owner's role, and given only by who has them."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse

from apikeys import recognising, services
from apikeys.models import ApiKey
from opsportal.accounts.actors import Actor, PermissionRefused
from opsportal.accounts.models import User
from opsportal.accounts.refusals import InvalidInput
from opsportal.accounts.scopes import SCOPES
from opsportal.audit.models import Entry
from tests.apikeys.conftest import bearer, signed_in
from tests.desk import DESK
from tests.factories import UserFactory

SELF = "/api/v1/apikeys/self"
WRITING = ["write:alerts", "write:observations", "write:orders"]
READING = ["read:positions", "read:orders", "read:strategies"]


def custom(*codenames: str) -> User:
    """Somebody in no role, only in a group with these permissions."""
    group = Group.objects.create(name="key keepers")
    group.permissions.set(Permission.objects.filter(codename__in=codenames))
    user: User = UserFactory()  # type: ignore[no-untyped-call,assignment]
    user.groups.add(group)
    return user


def create(owner: User, *scopes: str, by: Actor = DESK) -> ApiKey:
    return services.create_key(by=by, owner=owner, name="gateway", scopes=scopes)[0]


def in_force(text: str) -> list[str]:
    recognising.forget_rows()
    body: dict[str, list[str]] = Client().get(SELF, **bearer(text)).json()
    return body["scopes"]


# ---------------------------------------------------------------- in force
def test_owner__loses_the_role__scopes_of_the_platform_are_lost_too(made: Any, users: Any) -> None:
    """AK-3, AK-4: writing needs an operator, reading a viewer; who has no role has nothing."""
    _, text = made(*WRITING, *READING)
    assert set(in_force(text)) == {*WRITING, *READING}
    users.operator.groups.set([Group.objects.get(name="viewer")])
    assert in_force(text) == READING
    users.operator.groups.clear()
    assert in_force(text) == []


def test_owner__superuser_without_a_role__has_them(made: Any, users: Any) -> None:
    """AK-3."""
    root: Any = UserFactory(is_superuser=True)  # type: ignore[no-untyped-call]
    _, text = made("write:orders", owner=root)
    assert in_force(text) == ["write:orders"]


def test_may_use__asks_key_owner_and_table(users: Any) -> None:
    """AK-3: what a service of the portal asks before it lets somebody send."""
    key = Actor.of_key(users.operator, "tp_live_abcdefgh", frozenset({"write:alerts", "write:circuit", "read:config"}))
    assert key.may_use("write:alerts") and key.may_use("write:circuit")
    assert not key.may_use("write:orders")  # not the key's
    assert not key.may_use("read:config")  # not the owner's
    assert not key.may_use("write:everything")
    assert Actor.of(users.operator).may_use("write:alerts") and not Actor.of(users.viewer).may_use("write:alerts")
    assert Actor.of(users.viewer).may_use("read:orders")
    assert DESK.may_use("write:alerts") and not DESK.may_use("write:everything")
    users.admin.is_active = False
    assert not Actor.of(users.admin).may_use("read:orders")


def test_table__every_scope_is_bound_to_the_owner() -> None:
    """AK-3: by permissions of the portal, or by a role."""
    for scope in SCOPES:
        assert bool(scope.permissions) != bool(scope.least_role), scope.name


# ---------------------------------------------------------------- making and rotating
@pytest.mark.parametrize("scope", WRITING)
def test_owner__viewer__gets_no_writing_scope(users: Any, scope: str) -> None:
    """AK-3: a key that would open nothing is not made."""
    with pytest.raises(InvalidInput, match="needs the role operator") as refused:
        create(users.viewer, scope)
    assert refused.value.field == "scopes" and users.viewer.username in refused.value.sentence
    assert create(users.operator, scope).pk


@pytest.mark.parametrize("scope", READING)
def test_owner__without_a_role__gets_no_scope_of_the_platform(users: Any, scope: str) -> None:
    """AK-3."""
    with pytest.raises(InvalidInput, match="needs the role viewer"):
        create(custom(), scope)
    assert create(users.viewer, scope).pk


def test_maker__may_only_make_keys__makes_none_for_somebody_else(users: Any) -> None:
    """RBAC-2: a key acts in its owner's name; whoever makes it holds it."""
    client = signed_in(custom("add_apikey"))
    form = {"owner": users.admin.username, "name": "mine now", "expires_in_days": "", "networks": ""}
    answer = client.post(reverse("admin:apikeys_add"), {**form, "scopes": ["read:orders"]})
    assert answer.status_code == 403 and "tp_live_" not in answer.content.decode()
    assert "for somebody else" in answer.content.decode()
    assert not ApiKey.objects.exists() and Entry.objects.filter(event="api_key_action_denied").count() == 1


def test_maker__may_only_make_keys__rotates_nobody_elses(users: Any) -> None:
    """RBAC-2: the successor is as good as the key."""
    key = create(users.admin, "read:health")
    by = Actor.of(custom("add_apikey", "view_service"))
    with pytest.raises(PermissionRefused) as refused:
        services.rotate_key(key, by=by)
    assert "for somebody else" in refused.value.sentence
    assert ApiKey.objects.count() == 1


def test_maker__may_only_make_keys__makes_and_rotates_own(users: Any) -> None:
    """AK-3: for oneself the permission is enough."""
    person = custom("add_apikey", "view_service")
    key = create(person, "read:health", by=Actor.of(person))
    assert services.rotate_key(key, by=Actor.of(person))[0].owner == person


def test_maker__does_not_have_the_scope__neither_gives_nor_rotates_it(users: Any) -> None:
    """RBAC-2: also with the permission to change users."""
    by = Actor.of(custom("add_apikey", "change_user"))
    with pytest.raises(PermissionRefused) as refused:
        create(users.admin, "write:orders", by=by)
    assert "“write:orders” needs the role operator" in refused.value.sentence
    key = create(users.admin, "write:orders")
    with pytest.raises(PermissionRefused):
        services.rotate_key(key, by=by)
    assert ApiKey.objects.count() == 1


def test_admin__makes_and_rotates_keys_of_others(users: Any) -> None:
    """AK-3, AK-6."""
    by = Actor.of(users.admin)
    key = create(users.operator, *WRITING, *READING, by=by)
    assert services.rotate_key(key, by=by)[0].owner == users.operator
