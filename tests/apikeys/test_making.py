"""Making a key: what is checked, what is written, what is not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.utils import timezone

from apikeys import services
from apikeys.draft import drafted
from apikeys.models import ApiKey
from opsportal.accounts.actors import Actor, PermissionRefused
from opsportal.accounts.refusals import InvalidInput
from opsportal.accounts.services import disable_user
from opsportal.audit import recorder
from opsportal.audit.models import Entry
from tests.apikeys.conftest import REASON
from tests.desk import DESK
from tests.factories import UserFactory


def create(users: Any, **changes: Any) -> ApiKey:
    values = {"by": DESK, "owner": users.operator, "name": "risk engine", "scopes": ["read:circuit"]}
    return services.create_key(**{**values, **changes})[0]


def test_key__made__has_what_was_asked_and_is_audited(users: Any) -> None:
    """AK-3, AK-8, AU-2, AU-3, AK-9: the entry names prefix and last 4, never key, salt or digest."""
    now = timezone.now()
    key, new = services.create_key(
        by=Actor.of(users.admin),
        owner=users.operator,
        name="  risk   engine ",
        scopes=["write:orders", "read:circuit"],
        expires_in_days="30",
        networks=["10.1.2.3", "10.20.0.0/16", "2001:DB8::/32", "::ffff:192.0.2.0/120"],
        now=now,
    )
    key.refresh_from_db()
    assert (key.name, key.scopes, key.created_by) == (
        "risk engine", ["read:circuit", "write:orders"], users.admin.username
    )  # fmt: skip
    assert key.networks == ["10.1.2.3/32", "10.20.0.0/16", "2001:db8::/32", "192.0.2.0/24"]
    assert key.expires_at == now + timedelta(days=30)
    entry = Entry.objects.get(event="api_key_create")
    assert (entry.resource_id, entry.outcome, entry.actor_label) == (key.prefix, "success", users.admin.username)
    written = repr([getattr(entry, field.attname) for field in Entry._meta.concrete_fields])
    assert key.last4 in written and "write:orders" in written
    for secret in (new.text, new.text[16:], key.salt, key.digest):
        assert secret not in written


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""), ("name", "   "), ("name", "x" * 101), ("name", "a\x00b"), ("name", "a\nb"), ("name", "a\ud800b"),
        ("name", "tp_live_abcdefgh" + "x" * 35), ("name", "for bob@example.com"), ("name", 5), ("name", None),
        ("name", "x" * 1_000_000),
        ("scopes", []), ("scopes", ["read:everything"]), ("scopes", ["read:circuit", "read:circuit"]),
        ("scopes", ["\x00"]), ("scopes", ["{sentence}"]), ("scopes", ["y" * 1_000_000]), ("scopes", ["tp_live_abcdefgh" + "x" * 35]), ("scopes", [None]),
        ("expires_in_days", 0), ("expires_in_days", -1), ("expires_in_days", 3_651), ("expires_in_days", "1.5"),
        ("expires_in_days", 10**400), ("expires_in_days", "9" * 5_000), ("expires_in_days", "soon"),
        ("expires_in_days", True), ("expires_in_days", float("inf")), ("expires_in_days", "\x00"),
        ("networks", ["10.0.0.1/8"]), ("networks", ["2001:db8::1/32"]), ("networks", ["10.0.0.0/33"]),
        ("networks", ["example.com"]), ("networks", ["fe80::1%eth0"]), ("networks", ["\x00"]), ("networks", ["1" * 5_000]),
        ("networks", [f"10.0.{n}.0/24" for n in range(51)]), ("networks", ["tp_live_abcdefgh" + "x" * 35]),
    ],
)  # fmt: skip
def test_value__wrong__is_named_in_a_plain_sentence(users: Any, field: str, value: Any) -> None:
    """AK-3, Q-5: nothing is made, nothing of a pasted key is said back."""
    with pytest.raises(InvalidInput) as refused:
        create(users, **{field: value})
    assert refused.value.field == field
    assert refused.value.sentence.endswith((".", "?")) and len(refused.value.sentence) < 400
    assert "x" * 35 not in refused.value.sentence and "\x00" not in refused.value.sentence
    assert not ApiKey.objects.exists() and not Entry.objects.filter(event="api_key_create").exists()


def test_network__host_bits_set__says_what_may_be_meant() -> None:
    """AK-8: a likely slip is explained, not only refused."""
    with pytest.raises(InvalidInput, match=r"Did you mean the network 10.0.0.0/8, or 10.0.0.1 alone\?"):
        drafted(name="x", scopes=["read:circuit"], networks=["10.0.0.1/8"])


def test_owner__lacks_what_a_scope_opens__is_told_what(users: Any) -> None:
    """AK-3: a key that would open nothing is not made."""
    with pytest.raises(InvalidInput, match="may not reset the circuit breaker and trip the circuit breaker") as refused:
        create(users, owner=users.viewer, scopes=["write:circuit", "read:orders"])
    assert refused.value.field == "scopes"
    assert create(users, owner=users.viewer, scopes=["read:orders"]).pk


def test_owner__disabled__is_refused(users: Any) -> None:
    """AK-4."""
    disable_user(users.operator, by=DESK, reason="Has left the desk.")
    with pytest.raises(InvalidInput, match="is disabled"):
        create(users)


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_maker__not_an_admin__is_refused(users: Any, role: str) -> None:
    """RBAC-1: making, rotating and revoking need the permission in the service itself."""
    by = Actor.of(getattr(users, role))
    key = create(users)
    with pytest.raises(PermissionRefused):
        create(users, by=by, name="other")
    with pytest.raises(PermissionRefused):
        services.rotate_key(key, by=by)
    with pytest.raises(PermissionRefused):
        services.revoke_key(key, by=by, reason=REASON)
    assert ApiKey.objects.filter(revoked_at=None, pending_since=None).count() == 1


def test_maker__custom_role_without_trip__cannot_lend_itself_the_operators_rights(users: Any) -> None:
    """RBAC-2, AK-3: nobody gives, also by a key of somebody mightier, what they do not have."""
    keeper = Group.objects.create(name="key keeper")
    may = ["view_apikey", "add_apikey", "view_breaker", "change_user"]
    keeper.permissions.set(Permission.objects.filter(codename__in=may))
    person: Any = UserFactory()  # type: ignore[no-untyped-call]
    person.groups.add(keeper)
    by = Actor.of(person)
    with pytest.raises(PermissionRefused):
        create(users, by=by, scopes=["write:circuit"])
    mighty = create(users, scopes=["write:circuit"])
    with pytest.raises(PermissionRefused):
        services.rotate_key(mighty, by=by)
    assert create(users, by=by, name="reader").pk


def test_name__of_a_live_key_of_the_owner__is_refused(users: Any) -> None:
    """AK-2: a form that is sent twice makes one key; another owner, or a revoked key, is not in the way."""
    key = create(users)
    with pytest.raises(InvalidInput, match="has a key named “risk engine” already") as refused:
        create(users)
    assert refused.value.field == "name" and ApiKey.objects.count() == 1
    create(users, owner=users.admin)
    services.revoke_key(key, by=DESK, reason=REASON)
    create(users)


def test_audit__cannot_be_written__no_key_is_left(users: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """AU-3: both or neither, for each of the three changes."""
    key = create(users)

    def fail(*_args: Any, **_more: Any) -> None:
        raise RuntimeError("the log is full")

    monkeypatch.setattr(recorder, "record", fail)
    for change in (
        lambda: create(users, name="other"),
        lambda: services.rotate_key(key, by=DESK),
        lambda: services.revoke_key(key, by=DESK, reason=REASON),
    ):
        with pytest.raises(RuntimeError, match="the log is full"):
            change()
    only = ApiKey.objects.get()
    assert only.revoked_at is None and only.pending_since is None
