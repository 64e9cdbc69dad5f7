"""`manage.py seed_services`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from health.registry import Listed, UnreadableList, parse_services, read_services_file
from health.services import seed_services
from opsportal.accounts.actors import Actor


class Command(BaseCommand):
    """Creates the services that are written down and not there yet. Safe to run at every start."""

    help = (
        "Create the services named in SERVICES and SERVICES_FILE that are not there yet; those there keep what was "
        "made of them. Each bad entry is named, the others are created; exit code 1 if there was a bad one."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Another file."""
        parser.add_argument(
            "--file", type=Path, help="read this file (JSON, or TOML with [[services]]) instead of the settings"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """A line per change on stdout, a line per problem on stderr."""
        try:
            listed = _listed(options["file"])
        except UnreadableList as error:
            raise CommandError(error.sentence) from None
        try:
            done = seed_services(listed.entries, by=Actor.command_line())
        except Error:
            raise CommandError("PostgreSQL does not answer, and this needs it. Nothing was changed.") from None
        for line in done.changes:
            self.stdout.write(line)
        if options["verbosity"] and not done.changes:
            self.stdout.write(f"{len(listed.entries)} services are written down; nothing was to be made.")
        problems = [*listed.problems, *done.problems]
        for problem in problems:
            self.stderr.write(problem)
        if problems:
            raise CommandError(f"{len(problems)} of the entries could not be used; the others were.")


def _listed(file: Path | None) -> Listed:
    if file is not None:
        return read_services_file(file)
    listed = parse_services(settings.SERVICES)
    if settings.SERVICES_FILE:
        listed += read_services_file(Path(settings.SERVICES_FILE))
    return listed
