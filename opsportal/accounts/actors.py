"""Who acts: a person, or the portal itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from opsportal.accounts.roles import lowest_role_with, plain_words
from opsportal.accounts.scopes import opened_by, scope_for, scope_named
from opsportal.audit.recorder import command_line_label

if TYPE_CHECKING:
    from opsportal.accounts.models import User


class PermissionRefused(Exception):
    """Somebody tried what their role, or the scopes of their key, do not allow. Nothing was changed.

    `missing` is the permission. `scope` is the scope that the key would need; empty when it is the role that lacks it.
    `words` say why, where the permission alone does not.
    """

    def __init__(self, actor_label: str, missing: str, *, scope: str = "", words: str = "") -> None:
        self.actor_label = actor_label
        self.missing = missing
        self.scope = scope
        self.words = words
        super().__init__(missing)

    @property
    def sentence(self) -> str:
        """What is missing and who has it, in plain words."""
        if self.words:
            return self.words
        if self.scope:
            return f"The API key may not {plain_words(self.missing)}: it lacks the scope “{self.scope}”."
        role = lowest_role_with(self.missing)
        holder = f" The role “{role}” may." if role else ""
        return f"You may not {plain_words(self.missing)}.{holder} An administrator can change your role."


@dataclass(frozen=True)
class Actor:
    """Who does something. `user` is None for the portal's own tasks and for the command line.

    `scopes` are those of the API key that a machine acts with for its owner, the user; None for a person.
    """

    label: str
    user: User | None = None
    scopes: frozenset[str] | None = None

    @classmethod
    def of(cls, user: User) -> Self:
        """A signed-in person."""
        return cls(label=user.get_username(), user=user)

    @classmethod
    def command_line(cls) -> Self:
        """Whoever runs `manage.py`: trusted as the machine trusts them, named in the audit log (AU-6)."""
        return cls(label=command_line_label())

    @classmethod
    def system(cls, name: str) -> Self:
        """A task of the portal, or something seen from outside."""
        return cls(label=name)

    def may(self, permission: str) -> bool:
        """Whether the actor has the permission. Tasks and the command line have all; a key has what its owner has."""
        if self.scopes is not None and permission not in opened_by(self.scopes):
            return False
        return self.user is None or self.user.has_perm(permission)

    def may_use(self, scope: str) -> bool:
        """Whether this scope is in force: one of the key's, if there is a key, and its owner has now what it opens."""
        found = scope_named(scope)
        if found is None or (self.scopes is not None and scope not in self.scopes):
            return False
        if self.user is None:
            return True
        if found.permissions:
            return any(self.may(permission) for permission in found.permissions)
        return self.user.is_active and (self.user.is_superuser or found.suits(self.user.role))

    def require_use(self, scope: str) -> None:
        """Raise `PermissionRefused` unless the scope is in force."""
        if self.may_use(scope):
            return
        found = scope_named(scope)
        allows = found.allows if found else "do this"
        if self.scopes is not None and scope not in self.scopes:
            raise PermissionRefused(
                self.label, scope, scope=scope, words=f"The API key may not {allows}: it lacks the scope “{scope}”."
            )
        role = f" The role “{found.least_role}” may." if found and found.least_role else ""
        raise PermissionRefused(
            self.label, scope, words=f"You may not {allows}.{role} An administrator can change your role."
        )

    def require(self, permission: str) -> None:
        """Raise `PermissionRefused` unless the actor has the permission."""
        if self.may(permission):
            return
        scope = ""
        if self.scopes is not None and permission not in opened_by(self.scopes):
            scope = scope_for(permission)
        raise PermissionRefused(self.label, permission, scope=scope)

    @classmethod
    def of_key(cls, owner: User, prefix: str, scopes: frozenset[str]) -> Self:
        """A machine that acts for the owner of its key. The prefix names the key (AK-9)."""
        return cls(label=f"{owner.get_username()} ({prefix})", user=owner, scopes=scopes)
