"""`manage.py seed_demo`: the demo's users and the first OPEN."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from circuit import services
from circuit.errors import Refused
from circuit.models import Transition
from circuit.selectors import read_breaker
from opsportal.accounts.actors import Actor
from opsportal.accounts.models import User
from opsportal.accounts.roles import Role
from opsportal.accounts.services import create_user


class Command(BaseCommand):
    """Creates the demo's sign-ins, once."""

    help = "Create the users viewer, operator and admin with the passwords of a file that is made when absent."

    def add_arguments(self, parser: CommandParser) -> None:
        """Where the passwords are kept."""
        parser.add_argument("--credentials", type=Path, required=True)

    def handle(self, *args: Any, **options: Any) -> None:
        """Safe to run at every start: what is there stays."""
        if not settings.IS_DEVELOPMENT:
            raise CommandError("The demo is for development only; ENVIRONMENT says otherwise.")
        passwords = _passwords(options["credentials"])
        for role in Role:
            user = User.objects.filter(username=role.value).first()
            if user is None:
                create_user(role.value, passwords[role.value], role, by=Actor.system("demo"))
            elif not user.check_password(passwords[role.value]):
                user.set_password(passwords[role.value])  # the file was deleted and made anew
                user.save(update_fields=["password"])
        self._open_breaker()

    def _open_breaker(self) -> None:
        """OPEN at the very first start only; later starts leave whatever is there, UNKNOWN included."""
        if read_breaker().raw.state is None and not Transition.objects.exists():
            try:
                services.init_breaker(by=Actor.system("demo"), reason="First start of the demo")
            except Refused as refusal:
                raise CommandError(refusal.sentence) from None


def _passwords(path: Path) -> dict[str, str]:
    if path.exists():
        stored: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        return stored
    passwords = {role.value: secrets.token_urlsafe(12) for role in Role}
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(passwords, file, indent=2)
    temporary.replace(path)
    return passwords
