"""Who acts: a person, or the portal itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from opsportal.accounts.roles import lowest_role_with, plain_words
from opsportal.audit.recorder import command_line_label

if TYPE_CHECKING:
    from opsportal.accounts.models import User


class PermissionRefused(Exception):
    """Somebody tried what their role does not allow. `missing` is the permission; nothing was changed."""

    def __init__(self, actor_label: str, missing: str) -> None:
        self.actor_label = actor_label
        self.missing = missing
        super().__init__(missing)

    @property
    def sentence(self) -> str:
        """What is missing and who has it, in plain words."""
        role = lowest_role_with(self.missing)
        holder = f" The role “{role}” may." if role else ""
        return f"You may not {plain_words(self.missing)}.{holder} An administrator can change your role."


@dataclass(frozen=True)
class Actor:
    """Who does something. `user` is None for the portal's own tasks and for the command line."""

    label: str
    user: User | None = None

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
        """Whether the actor has the permission. Tasks and the command line have all."""
        return self.user is None or self.user.has_perm(permission)

    def require(self, permission: str) -> None:
        """Raise `PermissionRefused` unless the actor has the permission."""
        if not self.may(permission):
            raise PermissionRefused(self.label, permission)
