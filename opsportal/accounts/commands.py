"""What the commands of the domains share: who acts, and refusals as one sentence with exit code 1."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from opsportal.accounts.actors import Actor, PermissionRefused
from opsportal.accounts.models import User
from opsportal.accounts.refusals import Refused
from opsportal.accounts.services import audit_refusal


def add_as_user(parser: CommandParser) -> None:
    """The option `--as USER`."""
    parser.add_argument("--as", dest="as_user", metavar="USER", help="act as this user, with their permissions")


def acting(options: dict[str, Any]) -> Actor:
    """Whoever `--as` names, else the command line. Raises `CommandError` if that is no active user."""
    name = options["as_user"]
    if not name:
        return Actor.command_line()
    user = User.objects.filter(username=name, is_active=True).first()
    if user is None:
        raise CommandError(f"There is no active user “{name}”.")
    return Actor.of(user)


class ActionCommand(BaseCommand):
    """A command whose first argument, `action`, names the method that does it: `_trip` for `trip`."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the action; a refusal is one sentence and exit code 1."""
        try:
            getattr(self, "_" + options["action"])(options)
        except Refused as refusal:
            raise CommandError(refusal.sentence) from None
        except PermissionRefused as refusal:
            user = User.objects.get(username=options["as_user"])
            where = f"manage.py {type(self).__module__.rpartition('.')[2]} {options['action']}"
            audit_refusal(refusal, user=user, where=where, method="command")
            raise CommandError(refusal.sentence) from None
        except Error:
            raise CommandError("PostgreSQL does not answer, and this needs it. Nothing was changed.") from None
