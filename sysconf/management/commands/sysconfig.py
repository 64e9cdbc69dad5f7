"""`manage.py sysconfig get SECTION`."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sysconf.errors import StoredInvalid, Unreadable
from sysconf.sections import all_sections
from sysconf.selectors import read_section


class Command(BaseCommand):
    """Shows the configuration on the command line. It is changed on its page, where a change is reviewed."""

    help = "Print a section of the system configuration as JSON."

    def add_arguments(self, parser: CommandParser) -> None:
        """One action."""
        actions = parser.add_subparsers(dest="action", required=True)
        get = actions.add_parser("get", help="print what holds now")
        get.add_argument("section", choices=[section.key for section in all_sections()])

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the section; what cannot be used is one sentence and exit code 1."""
        try:
            reading = read_section(options["section"])
        except (StoredInvalid, Unreadable) as refusal:
            raise CommandError(refusal.sentence) from None
        shown = {"section": reading.section.key, "version": reading.version, "values": reading.values}
        self.stdout.write(json.dumps(shown, indent=2))
