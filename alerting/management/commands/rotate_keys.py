"""`manage.py rotate_keys`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from alerting.services.resealing import NAMED, Resealed, reseal_all
from opsportal.accounts.commands import ActionCommand, acting, add_as_user


class Command(ActionCommand):
    """Encrypts anew what lies encrypted in the database."""

    help = (
        "Encrypt channels and waiting deliveries anew with the first key of FIELD_ENCRYPTION_KEYS, so that the keys "
        "after it can be taken out. The portal goes on meanwhile; run it again if it was stopped."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Only who acts."""
        parser.set_defaults(action="rotate")
        add_as_user(parser)

    def _rotate(self, options: dict[str, Any]) -> None:
        done = reseal_all(by=acting(options), report=self._tell)
        lost = [part for part in done if part.unreadable]
        for part in lost:
            named = ", ".join(str(number) for number in part.unreadable[:NAMED])
            more = len(part.unreadable) - NAMED
            self.stderr.write(f"No key opens these {part.what}: {named}{f' and {more} more' if more > 0 else ''}.")
        if lost:
            raise CommandError(
                "Some rows were sealed by a key that is missing from FIELD_ENCRYPTION_KEYS. Put it back and run this "
                "again, or enter those channels anew. Everything else was encrypted with the first key."
            )
        self.stdout.write("Everything is encrypted with the first key. The keys after it can be taken out.")

    def _tell(self, part: Resealed) -> None:
        self.stdout.write(f"{part.what}: {part.looked_at:,} looked at, {part.changed:,} encrypted anew")
