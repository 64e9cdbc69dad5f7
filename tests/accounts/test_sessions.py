"""Sign-in, sessions and their ends."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse

from circuit import services as circuit_services
from opsportal.accounts import services
from opsportal.accounts.actors import Actor, PermissionRefused
from opsportal.accounts.models import User, UserSession
from opsportal.accounts.roles import MATRIX, Role, permissions_of, sync_roles
from opsportal.audit.models import Entry

ROOT = Actor.system("test")
HOME = "admin:index"


def sign_in(user: Any, password: str = "correct horse battery staple", **headers: str) -> tuple[Client, Any]:
    client = Client(headers=headers)
    answer = client.post(reverse("admin:login"), {"username": user.username, "password": password})
    return client, answer


def is_in(client: Client) -> bool:
    return client.get(reverse(HOME)).status_code == 200


def test_sign_in_and_out__is_audited(users: Any) -> None:
    """AUTH-1, AU-2."""
    client, answer = sign_in(users.viewer)
    assert answer.status_code == 302 and is_in(client)
    client.post(reverse("admin:logout"))
    assert not is_in(client)
    assert list(Entry.objects.filter(event_type="auth").order_by("id").values_list("event", "actor_id")) == [
        ("login", users.viewer.pk), ("logout", users.viewer.pk),
    ]  # fmt: skip


def test_wrong_password__five_times__locks_out_and_never_stores_what_was_typed(users: Any) -> None:
    """AUTH-1, AU-2: throttled; a mistyped name, which may be a password, is not written down."""
    for _ in range(4):
        assert sign_in(users.viewer, "wrong")[1].status_code == 200
    assert sign_in(users.viewer, "wrong")[1].status_code == 429
    _, answer = sign_in(users.viewer)
    assert answer.status_code == 429 and "15 minutes" in answer.content.decode()
    assert Entry.objects.filter(event="login_failed", resource_id=str(users.viewer.pk)).count() >= 4
    Client().post(reverse("admin:login"), {"username": "hunter2-as-name", "password": "x"})
    assert "hunter2" not in str(list(Entry.objects.values_list("additional_data", "actor_label", "reason")))


def test_session__idle_limit__ends_it(users: Any, settings: Any) -> None:
    """AUTH-3: 15 minutes without activity."""
    client, _ = sign_in(users.viewer)
    session = client.session
    session["seen"] = time.time() - settings.SESSION_IDLE_SECONDS - 1
    session.save()
    answer = client.get(reverse(HOME))
    assert answer.status_code == 302 and "expired=1" in answer["Location"]
    assert not UserSession.objects.filter(user=users.viewer).exists()


@pytest.mark.parametrize(
    ("referer", "back"),
    [
        ("http://testserver/admin/alerting/events/?state=firing", "/admin/alerting/events/?state=firing"),
        ("http://testserver/admin/health/service/add/", "/admin/health/service/add/"),
        ("http://evil.example/admin/alerting/events/", "/admin/"),
        ("http://testserver//evil.example/", "/admin/"),
        ("http://testserver@evil.example/admin/", "/admin/"),
        ("javascript:alert(1)", "/admin/"),
        ("http://[", "/admin/"),
        ("http://testserver/nowhere/", "/admin/"),
        ("http://testserver/admin/login/?next=/admin/", "/admin/"),
        ("", "/admin/"),
    ],
)
def test_session__over_when_a_form_is_sent__says_that_nothing_was_done(users: Any, referer: str, back: str) -> None:
    """AUTH-3: back to the page that the form was on, and nowhere else."""
    client, _ = sign_in(users.operator)
    session = client.session
    session["seen"] = 0.0
    session.save()
    answer = client.post("/admin/alerting/deliveries/retry/", {"delivery": 1}, headers={"referer": referer})
    assert answer.status_code == 302
    assert answer["Location"] == "/admin/login/?" + urlencode({"next": back, "undone": 1})
    assert "Nothing was changed: sign in and do it again." in client.get(answer["Location"]).content.decode()


@pytest.mark.parametrize("path", ["/admin/alerting/silences/add/", "/admin/health/service/add/"])
def test_session__not_there_when_a_form_is_sent__says_the_same(users: Any, path: str) -> None:
    """AUTH-3: however the session ended, on the portal's pages and on Django's own."""
    answer = Client().post(path, {}, headers={"referer": f"http://testserver{path}"})
    assert answer["Location"] == "/admin/login/?" + urlencode({"next": path, "undone": 1})


def test_session__over_on_signing_out__asks_for_nothing_again(users: Any, settings: Any) -> None:
    """AUTH-3: who signs out wants nothing done."""
    client, _ = sign_in(users.viewer)
    session = client.session
    session["seen"] = 0.0
    session.save()
    assert "undone" not in client.post(reverse("admin:logout"))["Location"]


def test_session__absolute_limit__ends_it(users: Any, settings: Any) -> None:
    """AUTH-3: four hours, however active."""
    client, _ = sign_in(users.viewer)
    session = client.session
    session["started"] = time.time() - settings.SESSION_ABSOLUTE_SECONDS - 1
    session["seen"] = time.time()
    session.save()
    assert not is_in(client)


def test_session__a_poll_is_no_activity__a_page_is(users: Any) -> None:
    """AUTH-3: an open dashboard must not keep its session alive by itself."""
    client, _ = sign_in(users.viewer)
    session = client.session
    session["seen"] = old = time.time() - 120
    session.save()
    client.get(reverse("admin:overview_fragment"))
    assert client.session["seen"] == old
    client.get(reverse(HOME))
    assert client.session["seen"] > old


def test_session_key__is_changed_at_sign_in(users: Any) -> None:
    """AUTH-3: no fixation."""
    client, _ = sign_in(users.viewer)
    first = client.cookies["sessionid"].value
    client.post(reverse("admin:login"), {"username": users.operator.username, "password": users.password})
    assert client.cookies["sessionid"].value != first


@pytest.mark.parametrize("end", ["role", "disable", "end_sessions", "password"])
def test_change_of_user__ends_every_session_at_once(users: Any, end: str) -> None:
    """AUTH-3, AM-2: `session_version`, also for the cached user."""
    user = users.operator
    clients = [sign_in(user)[0] for _ in range(3)]
    assert all(is_in(client) for client in clients)
    if end == "role":
        services.set_role(user, Role.VIEWER, by=ROOT)
    elif end == "disable":
        services.disable_user(user, by=ROOT, reason="left the company")
    elif end == "password":
        user.set_password("another long password")
        user.save()
    else:
        assert services.end_sessions(user) == 3
    assert not any(is_in(client) for client in clients)


def test_own_password__changed_on_the_page__keeps_this_session_and_ends_the_others(users: Any) -> None:
    """AUTH-3, AU-2."""
    here, _ = sign_in(users.operator)
    there, _ = sign_in(users.operator)
    assert is_in(here) and is_in(there)
    values = {
        "old_password": users.password,
        "new_password1": "another long password",
        "new_password2": "another long password",
    }
    assert here.post(reverse("admin:password_change"), values).status_code == 302
    assert is_in(here) and not is_in(there)
    assert "password" in Entry.objects.filter(event="object_update").latest("id").changes


def test_role_permissions__changed__bite_at_the_next_request(users: Any) -> None:
    """RBAC-2: cached permissions never outlive a change of the role."""
    client, _ = sign_in(users.operator)
    assert client.get(reverse("admin:circuit_trip")).status_code == 200
    Group.objects.get(name="operator").permissions.remove(Permission.objects.get(codename="trip_breaker"))
    assert client.get(reverse("admin:circuit_trip")).status_code == 403


def test_custom_group__gives_what_it_holds(users: Any) -> None:
    """RBAC-2: a group of one's own can be built from the permissions, and sync leaves it alone."""
    group = Group.objects.create(name="night shift")
    group.permissions.add(Permission.objects.get(codename="trip_breaker"))
    users.viewer.groups.add(group)
    sync_roles()
    client, _ = sign_in(users.viewer)
    assert client.get(reverse("admin:circuit_trip")).status_code == 200
    assert client.get(reverse("admin:circuit_reset")).status_code == 403


def test_roles__drifted__are_put_back_in_step(db: None) -> None:
    """RBAC-2: the table in code decides."""
    operator = Group.objects.get(name="operator")
    operator.permissions.add(Permission.objects.get(codename="view_entry"))
    assert sync_roles() == [f"role operator: {len(permissions_of(Role.OPERATOR))} permissions"]
    names = {f"{p.content_type.app_label}.{p.codename}" for p in operator.permissions.all()}
    assert names == permissions_of(Role.OPERATOR)
    assert sync_roles() == []


def test_table__roles_only_grow() -> None:
    """RBAC-2: whatever a viewer may an operator may, and whatever an operator may an admin may."""
    assert permissions_of(Role.VIEWER) < permissions_of(Role.OPERATOR) < permissions_of(Role.ADMIN)
    assert len({grant.permission for grant in MATRIX}) == len(MATRIX)


def test_services__refuse_whoever_may_not(users: Any) -> None:
    """RBAC-1."""
    operator = Actor.of(users.operator)
    with pytest.raises(PermissionRefused):
        services.set_role(users.viewer, Role.ADMIN, by=operator)
    with pytest.raises(PermissionRefused):
        services.disable_user(users.viewer, by=operator, reason="x")
    with pytest.raises(PermissionRefused):
        services.create_user("new", "a long password", Role.VIEWER, by=operator)


def test_last_active__is_noted_once_a_minute(users: Any) -> None:
    """AM-3."""
    client, _ = sign_in(users.viewer)
    client.get(reverse(HOME))
    first = User.objects.get(pk=users.viewer.pk)
    assert first.last_active_at and first.last_active_ip == "127.0.0.1"
    client.get(reverse(HOME))
    assert User.objects.get(pk=users.viewer.pk).last_active_at == first.last_active_at


def test_forwarded_address__counts_only_from_a_trusted_proxy(users: Any, settings: Any) -> None:
    """AM-3: anybody can write the header."""
    import ipaddress

    sign_in(users.viewer, **{"X-Forwarded-For": "203.0.113.9"})
    assert Entry.objects.get(event="login").remote_addr == "127.0.0.1"
    settings.TRUSTED_PROXIES = [ipaddress.ip_network("127.0.0.0/8")]
    sign_in(users.operator, **{"X-Forwarded-For": "198.51.100.1, 203.0.113.9"})
    assert Entry.objects.filter(event="login").latest("id").remote_addr == "203.0.113.9"


def test_warm_request__needs_no_query(users: Any, django_assert_num_queries: Any) -> None:
    """CB-10: session, user and permissions of a poll come from the cache."""
    circuit_services.init_breaker(by=ROOT)
    client, _ = sign_in(users.operator)
    client.get(reverse("admin:circuit_fragment"))
    with django_assert_num_queries(0):
        client.get(reverse("admin:circuit_fragment"))


def test_change_by_command_line__names_the_os_user(users: Any) -> None:
    """AU-6: also for a plain model change."""
    users.viewer.first_name = "Vera"
    users.viewer.save()
    assert Entry.objects.filter(event="object_update").latest("id").actor_label.endswith("(command line)")


def test_passwords__are_kept_with_argon2() -> None:
    """AUTH-1: in the settings that are shipped."""
    from opsportal.settings import base

    assert base.PASSWORD_HASHERS == ["django.contrib.auth.hashers.Argon2PasswordHasher"]


def test_inactive_user_and_user_without_staff__cannot_come_in(users: Any) -> None:
    """AUTH-1."""
    User.objects.filter(pk=users.viewer.pk).update(is_staff=False)
    assert sign_in(users.viewer)[1].status_code == 200


def test_next_page__of_another_host__is_ignored(users: Any) -> None:
    """AUTH-4: no open redirect."""
    answer = Client().post(
        reverse("admin:login") + "?next=//evil.example/",
        {"username": users.viewer.username, "password": users.password},
    )
    assert answer["Location"].startswith("/admin/")
