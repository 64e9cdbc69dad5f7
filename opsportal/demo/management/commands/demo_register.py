"""`manage.py demo_register`: tell the portal where the demo's services are now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from opsportal.demo.addresses import Addresses
from opsportal.demo.registering import register


class Command(BaseCommand):
    """The running demo platform calls it when a service had to move to another port."""

    help = "Tell the portal where the demo's services are now. The demo platform calls it by itself."

    def add_arguments(self, parser: CommandParser) -> None:
        """Where the ports stand."""
        parser.add_argument("--addresses", type=Path, required=True)

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit code 1 if PostgreSQL does not answer or the file has not all of them."""
        if not settings.IS_DEVELOPMENT:
            raise CommandError("The demo is for development only; ENVIRONMENT says otherwise.")
        try:
            known = register(Addresses(options["addresses"]))
        except KeyError:
            raise CommandError(f"{options['addresses']} does not hold the demo's addresses.") from None
        if not known:
            raise CommandError("PostgreSQL does not answer, and this needs it.")
