"""`manage.py demo_platform`: run the pretend trading platform until stopped."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from opsportal.demo.addresses import Addresses
from opsportal.demo.registering import register
from opsportal.demo.roster import LISTENERS
from opsportal.embedded.dotenv import run_folder


class Command(BaseCommand):
    """Runs eight services, their streams, a trader who obeys the breaker, and the world outside."""

    help = (
        "Run the pretend trading platform: eight services with a health reply each, Redis streams that fill and drain, "
        "one order a second while the breaker is OPEN, readings pushed to the portal, a mail server and providers that "
        "receive its alerts, and mishaps. `manage.py demo` provokes more of them."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """How often what happens."""
        parser.add_argument(
            "--trip-every",
            type=int,
            default=settings.DEMO_TRIP_EVERY,
            help="mean number of orders between its own trips; 0 for never",
        )
        parser.add_argument(
            "--mishaps",
            action="store_true",
            default=settings.DEMO_MISHAPS,
            help="services degrade, die and return, and consumers stall, by themselves",
        )
        parser.add_argument("--no-mishaps", action="store_false", dest="mishaps", help="nothing happens by itself")
        parser.add_argument("--pace", type=float, default=1.0, help="how many times faster the mishaps follow")
        parser.add_argument("--seed", type=int, default=None, help="repeat the same mishaps")
        parser.add_argument(
            "--addresses",
            type=Path,
            default=run_folder(settings.BASE_DIR) / "demo.json",
            help="file with the services' ports; made when absent",
        )

        parser.add_argument(
            "--portal",
            default=f"http://127.0.0.1:{os.environ['PORT']}" if os.environ.get("PORT") else "",
            help="the portal's own address, to push readings to; by default that of PORT, and none without it",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Make the services known to the portal, then become the platform, which runs until SIGTERM or Ctrl-C."""
        if not settings.IS_DEVELOPMENT:
            raise CommandError("The demo is for development only; ENVIRONMENT says otherwise.")
        if options["pace"] <= 0:
            raise CommandError("--pace must be greater than 0; --no-mishaps is for none at all.")
        addresses = Addresses(options["addresses"])
        addresses.choose(LISTENERS)
        program = [
            *(sys.executable, "-m", "opsportal.demo", f"--addresses={options['addresses'].resolve()}"),
            *(f"--dialect={settings.CIRCUIT_DIALECT}", f"--trip-every={options['trip_every']}"),
            f"--pace={options['pace'] if options['mishaps'] else 0}",
            *([f"--seed={options['seed']}"] if options["seed"] is not None else []),
            *([f"--portal={options['portal']}"] if options["portal"] else []),
            *(["--registered"] if register(addresses) else []),
        ]
        # The platform needs nothing of Django, which would cost it 70 MB.
        os.chdir(settings.BASE_DIR)
        os.execve(sys.executable, program, {**os.environ, "REDIS_URL": settings.REDIS_URL})  # noqa: S606
