"""Nobody gives, or takes over, what they do not have: people in custom groups, admins and superusers."""

from __future__ import annotations

import re
from typing import Any, cast

import pytest
from django.contrib.auth.models import Group, Permission
from django.urls import reverse

from opsportal.accounts import people
from opsportal.accounts.actors import Actor, PermissionRefused
from opsportal.accounts.changes import Change, Verb, change_one, plan_change, users_to_change
from opsportal.accounts.models import User, UserSession
from opsportal.accounts.refusals import WrongState
from opsportal.accounts.roles import MATRIX, Role, permissions_of
from opsportal.accounts.session_ending import end_session, reference_of
from opsportal.audit.models import Entry
from tests.audit.entries import signed_in
from tests.factories import UserFactory

ROOT = Actor.system("test")
VIEWING = tuple(permissions_of(Role.VIEWER))
ONE_TIME = re.compile(r"[a-zA-Z2-9]{5}(-[a-zA-Z2-9]{5}){3}")
TO_VIEWER = Change(Verb.ROLE, role=Role.VIEWER)
SHUTTING_OUT = [Change(Verb.SIGN_OUT), Change(Verb.DISABLE)]


def make(role: str | None = None, **values: Any) -> User:
    user: Any = UserFactory(role=role, **values)  # type: ignore[no-untyped-call]
    return cast(User, user)


def custom(*permissions: str, group: str = "custom") -> User:
    """Somebody in no role, only in a group with these permissions."""
    user = make()
    row = Group.objects.create(name=group)
    for permission in permissions:
        app, codename = permission.split(".")
        row.permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    user.groups.add(row)
    return user


def as_now(user: User) -> User:
    return User.objects.get(pk=user.pk)


def refusal_of(change: Change, user: User, by: User) -> str:
    return plan_change(change, users_to_change([user.pk]), by=Actor.of(as_now(by))).steps[0].refusal


# ---------------------------------------------------------------- giving
@pytest.mark.parametrize("role", list(Role))
def test_creating__a_role_beyond_ones_own_rights__is_refused_and_audited(users: Any, role: Role) -> None:
    """RBAC-2: otherwise `accounts.add_user` alone amounts to every right, by a new admin's password."""
    by = custom("accounts.add_user")
    answer = signed_in(by).post(reverse("admin:accounts_add"), {"username": "mole", "role": role.value})
    assert answer.status_code == 403 and not ONE_TIME.search(answer.content.decode())
    assert f"may not give the role {role}" in answer.content.decode()
    assert not User.objects.filter(username="mole").exists()
    assert Entry.objects.filter(outcome="denied", actor=by).count() == 1


def test_creating__a_role_within_ones_own_rights__works(users: Any) -> None:
    """RBAC-2: somebody who may all that a viewer may makes viewers, and nobody mightier."""
    by = Actor.of(custom("accounts.add_user", *VIEWING))
    assert people.create_user("ada", "x", Role.VIEWER, by=by).role == Role.VIEWER
    with pytest.raises(PermissionRefused, match="trip_breaker") as refused:
        people.create_user("bob", "x", Role.OPERATOR, by=by)
    assert "trip the circuit breaker" in refused.value.sentence and "more" in refused.value.sentence


def test_role__beyond_ones_own_rights__is_refused_in_the_plan(users: Any) -> None:
    """RBAC-2, AM-1: no accomplice is made an admin; a role within one's rights may be given."""
    by = custom("accounts.change_user", *VIEWING)
    nobody = make()
    assert "may not give the role admin" in refusal_of(Change(Verb.ROLE, role=Role.ADMIN), nobody, by)
    with pytest.raises(WrongState, match="may not give the role operator"):
        people.set_role(nobody, Role.OPERATOR, by=Actor.of(by))
    people.set_role(nobody, Role.VIEWER, by=Actor.of(by))
    assert as_now(nobody).role == Role.VIEWER


# ---------------------------------------------------------------- taking over
def targets() -> dict[str, User]:
    """Those who may more than a custom group with `accounts.change_user` and a viewer's rights."""
    direct = make()
    direct.user_permissions.add(Permission.objects.get(codename="export_entry"))
    return {
        "superuser": make(None, is_superuser=True),
        "admin": make("admin"),
        "disabled admin": make("admin", is_active=False),
        "another group": custom("audit.view_entry", group="auditors"),
        "a permission of one's own": direct,
    }


def test_custom_group__over_whoever_may_more__does_nothing(users: Any) -> None:
    """RBAC-2: password, name, sessions, role, disabling, enabling; the disabled would be mighty again once enabled."""
    by = custom("accounts.change_user", "accounts.view_user", *VIEWING)
    actor = Actor.of(as_now(by))
    for what, target in targets().items():
        before = User.objects.filter(pk=target.pk).values().get()
        for act in (
            lambda target=target: people.set_one_time_password(target, by=actor),
            lambda target=target: people.update_user(target, by=actor, first_name="X", last_name="Y"),
            lambda target=target: end_session(target, "0" * 32, by=actor),
        ):
            with pytest.raises(PermissionRefused) as refused:
                act()
            assert target.username in refused.value.sentence, what
        shut = Verb.DISABLE if target.is_active else Verb.ENABLE
        for change in (TO_VIEWER, Change(shut), Change(Verb.SIGN_OUT)):
            with pytest.raises(WrongState, match=target.username):
                change_one(change, as_now(target), by=actor, reason="taking over")
        assert User.objects.filter(pk=target.pk).values().get() == before, what
    assert not Entry.objects.filter(actor=by, outcome="success").exists()


def test_custom_group__over_whoever_may_no_more__does_all(users: Any) -> None:
    """RBAC-2: the permission still means something."""
    by = Actor.of(custom("accounts.change_user", *VIEWING))
    viewer = users.viewer
    assert people.set_one_time_password(viewer, by=by)
    assert people.update_user(viewer, by=by, first_name="Vera", last_name="")
    people.sign_out(viewer, by=by)
    people.disable_user(viewer, by=by, reason="left")
    people.enable_user(viewer, by=by)


def test_superusers_password__asked_for_at_the_page_by_a_custom_group__is_not_set(users: Any) -> None:
    """RBAC-2: the form is not even shown."""
    root = make(None, is_superuser=True)
    client = signed_in(custom("accounts.change_user", "accounts.view_user"))
    address = reverse("admin:accounts_password", args=[root.pk])
    for answer in (client.get(address), client.post(address)):
        assert answer.status_code == 403 and not ONE_TIME.search(answer.content.decode())
    assert client.get(reverse("admin:accounts_edit", args=[root.pk])).status_code == 403
    assert as_now(root).password == root.password


# ---------------------------------------------------------------- admins and superusers
def test_admin__over_another_admin__does_all(users: Any) -> None:
    """AM-1."""
    other, by = make("admin"), Actor.of(users.admin)
    assert people.set_one_time_password(other, by=by)
    assert people.update_user(other, by=by, first_name="Vera", last_name="")
    people.sign_out(other, by=by)
    people.disable_user(other, by=by, reason="left")
    people.enable_user(other, by=by)
    people.set_role(other, Role.VIEWER, by=by)


@pytest.mark.parametrize("change", SHUTTING_OUT, ids=str)
def test_admin__over_a_superuser__shuts_out(users: Any, change: Change) -> None:
    """AM-1: a superuser whose account was stolen is stopped by any admin."""
    root = make(None, is_superuser=True)
    before = root.session_version
    change_one(change, root, by=Actor.of(users.admin), reason="stolen laptop")
    assert as_now(root).session_version > before


@pytest.mark.django_db(transaction=True)
def test_admin__over_a_superusers_session__ends_it(users: Any) -> None:
    """AUTH-3: one session, too."""
    root = make(None, is_superuser=True)
    key = signed_in(root).cookies["sessionid"].value
    end_session(root, reference_of(key), by=Actor.of(users.admin))
    assert not UserSession.objects.filter(user=root).exists()


def test_admin__over_a_superuser__takes_nothing_over(users: Any) -> None:
    """RBAC-2: no password, name, role or enabling; another superuser and the command line may all of it."""
    root, by = make(None, is_superuser=True), Actor.of(users.admin)
    with pytest.raises(PermissionRefused) as refused:
        people.set_one_time_password(root, by=by)
    assert "is a superuser" in refused.value.sentence
    with pytest.raises(PermissionRefused):
        people.update_user(root, by=by, first_name="X", last_name="Y")
    with pytest.raises(WrongState, match="superuser"):
        people.set_role(root, Role.VIEWER, by=by)
    people.disable_user(root, by=by, reason="stolen laptop")
    with pytest.raises(WrongState, match="superuser"):
        people.enable_user(as_now(root), by=by)
    for mighty in (Actor.of(make(None, is_superuser=True)), ROOT):
        people.enable_user(as_now(root), by=mighty)
        assert people.set_one_time_password(as_now(root), by=mighty)
        people.disable_user(as_now(root), by=mighty, reason="as agreed")
    people.set_role(as_now(root), Role.VIEWER, by=ROOT)


def test_shutting_out_a_superuser__needs_every_permission_of_an_admin(users: Any) -> None:
    """RBAC-2: one less does not count as an admin."""
    root, admin = make(None, is_superuser=True), users.admin
    almost = custom(*(grant.permission for grant in MATRIX if grant.permission != "audit.export_entry"))
    assert "superuser" in refusal_of(Change(Verb.DISABLE), root, almost)
    assert refusal_of(Change(Verb.DISABLE), root, admin) == ""


def test_right_lost_since_the_request_began__counts(users: Any) -> None:
    """RBAC-1: the rights are read again under the lock."""
    by = custom("accounts.add_user", "accounts.change_user", *VIEWING)
    actor = Actor.of(as_now(by))
    assert all(actor.may(permission) for permission in VIEWING)  # what a request remembers of its user
    group = Group.objects.get(name="custom")
    group.permissions.remove(Permission.objects.get(codename="view_breaker"))
    with pytest.raises(PermissionRefused):
        people.create_user("ada", "x", Role.VIEWER, by=actor)
    with pytest.raises(WrongState, match="may not give"):
        people.set_role(make(), Role.VIEWER, by=actor)
    with pytest.raises(PermissionRefused):
        people.set_one_time_password(users.viewer, by=actor)
