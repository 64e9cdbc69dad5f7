"""Who may do what: the one table (RBAC-2). `manage.py prepare` keeps groups and their permissions in step with it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.db import transaction


class Role(StrEnum):
    """The three roles; each is a Django group of the same name."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


@dataclass(frozen=True)
class Grant:
    """One row of the matrix: a permission, what it allows in plain words, and the roles that have it."""

    permission: str
    allows: str
    viewer: bool
    operator: bool
    admin: bool

    def given_to(self, role: Role) -> bool:
        """Whether the role has this permission."""
        return bool(getattr(self, role.value))


MATRIX: tuple[Grant, ...] = (
    #     permission                 allows                                  viewer operator admin
    Grant("circuit.view_breaker", "see the circuit breaker", True, True, True),
    Grant("circuit.trip_breaker", "trip the circuit breaker", False, True, True),
    Grant("circuit.reset_breaker", "reset the circuit breaker", False, True, True),
    Grant("health.view_service", "see the health of the services", True, True, True),
    Grant("health.add_service", "add services", False, True, True),
    Grant("health.change_service", "change services", False, True, True),
    Grant("health.delete_service", "remove services", False, True, True),
    Grant("health.view_maintenance", "see planned maintenance", True, True, True),
    Grant("health.add_maintenance", "plan maintenance", False, True, True),
    Grant("health.change_maintenance", "change and end planned maintenance", False, True, True),
    Grant("health.delete_maintenance", "cancel planned maintenance", False, True, True),
    Grant("alerting.view_rule", "see alert rules", True, True, True),
    Grant("alerting.add_rule", "create alert rules", False, True, True),
    Grant("alerting.change_rule", "change alert rules", False, True, True),
    Grant("alerting.delete_rule", "delete alert rules", False, False, True),
    Grant("alerting.arm_rule", "let a rule trip the circuit breaker", False, False, True),
    Grant("alerting.view_channel", "see alert channels, masked", True, True, True),
    Grant("alerting.add_channel", "set up alert channels", False, False, True),
    Grant("alerting.change_channel", "change alert channels and their credentials", False, False, True),
    Grant("alerting.delete_channel", "delete alert channels", False, False, True),
    Grant("alerting.test_channel", "send test notifications", False, True, True),
    Grant("alerting.view_event", "see alerts", True, True, True),
    Grant("alerting.acknowledge_event", "acknowledge and resolve alerts", False, True, True),
    Grant("alerting.view_delivery", "see deliveries and the poison queue", True, True, True),
    Grant("alerting.retry_delivery", "retry deliveries", False, True, True),
    Grant("alerting.resolve_delivery", "resolve poisoned deliveries", False, True, True),
    Grant("alerting.view_silence", "see silences", True, True, True),
    Grant("alerting.add_silence", "silence alerts", False, True, True),
    Grant("alerting.change_silence", "change and end silences", False, True, True),
    Grant("audit.view_entry", "read the audit log", False, False, True),
    Grant("audit.export_entry", "export the audit log", False, False, True),
    Grant("accounts.view_user", "see the portal's users", False, False, True),
    Grant("accounts.add_user", "create users", False, False, True),
    Grant("accounts.change_user", "change and disable users", False, False, True),
    Grant("accounts.view_strategy", "see strategies and who may trade them", False, False, True),
    Grant("accounts.add_strategy", "create strategies", False, False, True),
    Grant("accounts.change_strategy", "change strategies", False, False, True),
    Grant("accounts.grant_strategy", "grant and revoke strategies", False, False, True),
    Grant("apikeys.view_apikey", "see API keys", False, False, True),
    Grant("apikeys.add_apikey", "create and rotate API keys", False, False, True),
    Grant("apikeys.revoke_apikey", "revoke API keys", False, False, True),
    Grant("sysconfig.view_section", "see the system configuration", False, False, True),
    Grant("sysconfig.change_section", "change the system configuration", False, False, True),
)


def permissions_of(role: Role) -> frozenset[str]:
    """The `app.codename` permissions of a role."""
    return frozenset(grant.permission for grant in MATRIX if grant.given_to(role))


def lowest_role_with(permission: str) -> Role | None:
    """The least powerful role that has the permission, to tell a refused person whom to ask."""
    grant = next((row for row in MATRIX if row.permission == permission), None)
    return next((role for role in Role if grant and grant.given_to(role)), None)


def plain_words(permission: str) -> str:
    """What a permission allows, for people."""
    return next((row.allows for row in MATRIX if row.permission == permission), permission)


@transaction.atomic
def sync_roles() -> list[str]:
    """Make the three groups hold exactly the table's permissions; custom groups are left alone.

    Returns a line per change. Raises `LookupError` when the table names a permission no model declares.
    """
    from django.contrib.auth.models import Group, Permission

    known: dict[str, Any] = {
        f"{app}.{codename}": pk
        for pk, app, codename in Permission.objects.values_list("pk", "content_type__app_label", "codename")
    }
    unknown = [grant.permission for grant in MATRIX if grant.permission not in known]
    if unknown:
        raise LookupError(f"the permission table names unknown permissions: {', '.join(unknown)}")
    changes = []
    for role in Role:
        group, created = Group.objects.get_or_create(name=role.value)
        wanted = {known[permission] for permission in permissions_of(role)}
        present = set(group.permissions.values_list("pk", flat=True))
        if wanted != present:
            group.permissions.set(wanted)
        if created or wanted != present:
            changes.append(f"role {role.value}: {len(wanted)} permissions")
    return changes
