"""How far somebody's rights reach: nobody gives, or takes over, what they do not have (RBAC-2).

Without this, the permission to create or to change users would amount to every other one: a new admin's password, or
the one of somebody mightier, is shown to whoever sets it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from django.contrib.auth.models import Permission

from opsportal.accounts.actors import Actor, PermissionRefused
from opsportal.accounts.models import User
from opsportal.accounts.roles import MATRIX, Role, permissions_of, plain_words

#: How many permissions a sentence names before it only counts them.
_NAMED = 3


def held_by(users: Iterable[User]) -> Mapping[int, frozenset[str]]:
    """The permissions of each user as if enabled: who is disabled now has them again once enabled."""
    users = list(users)
    groups = {user.pk: {group.pk for group in user.groups.all()} for user in users}
    of_groups = _permissions("group", set().union(*groups.values()))
    own = _permissions("user", set(groups))
    return {pk: frozenset(own[pk]).union(*(of_groups[group] for group in found)) for pk, found in groups.items()}


def _permissions(owner: str, ids: Collection[int]) -> Mapping[int, set[str]]:
    found: dict[int, set[str]] = defaultdict(set)
    rows = Permission.objects.filter(**{f"{owner}__in": ids}).values_list(owner, "content_type__app_label", "codename")
    for pk, app, codename in rows:
        found[pk].add(f"{app}.{codename}")
    return found


def why_not_give(role: Role, *, by: Actor) -> str:
    """Why `by` may not make anybody this; empty if they may. Needs every permission of the role."""
    lacking = _lacking(by, permissions_of(role))
    return f"You may not give the role {role}: you may not {_named(lacking)} yourself." if lacking else ""


def require_to_give(role: Role, *, by: Actor) -> None:
    """Raise `PermissionRefused` unless `by` may make somebody this."""
    if words := why_not_give(role, by=by):
        raise PermissionRefused(by.label, _lacking(by, permissions_of(role))[0], words=words)


def why_not_over(user: User, held: Collection[str], *, by: Actor, shuts_out: bool = False) -> str:
    """Why `by` may not change this user, who has the permissions `held`; empty if they may.

    Disabling and ending sessions (`shuts_out`) give nobody anything: whoever may all that an admin may can do that to
    everybody, so that a superuser whose account was stolen can be stopped.
    """
    if by.user is None or by.user.is_superuser or by.user.pk == user.pk:
        return ""
    if shuts_out and not _lacking(by, [grant.permission for grant in MATRIX]):
        return ""
    if user.is_superuser:
        return f"{user.get_username()} is a superuser: only another superuser may do this."
    lacking = _lacking(by, held)
    return f"{user.get_username()} may {_named(lacking)}, which you may not. Ask an admin." if lacking else ""


def require_over(user: User, *, by: Actor, shuts_out: bool = False) -> None:
    """Raise `PermissionRefused` unless `by` may change this user."""
    held = held_by([user])[user.pk]
    if words := why_not_over(user, held, by=by, shuts_out=shuts_out):
        raise PermissionRefused(by.label, "accounts.change_user", words=words)


def _lacking(by: Actor, permissions: Iterable[str]) -> list[str]:
    """Those that `by` does not have, in the order of the table, others behind."""
    order = {grant.permission: number for number, grant in enumerate(MATRIX)}
    lacking = (permission for permission in permissions if not by.may(permission))
    return sorted(lacking, key=lambda permission: (order.get(permission, len(order)), permission))


def _named(permissions: list[str]) -> str:
    words = [plain_words(permission) for permission in permissions[:_NAMED]]
    if len(permissions) > _NAMED:
        words.append(f"{len(permissions) - _NAMED} more")
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]
