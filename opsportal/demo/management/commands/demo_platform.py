"""`manage.py demo_platform`: run the pretend trading platform until stopped."""

from __future__ import annotations

import signal
from typing import Any

import redis
from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from opsportal.demo.platform import Platform


class Command(BaseCommand):
    """Trades pretend orders, obeying the breaker."""

    help = "Run the pretend trading platform: one order a second while the breaker is OPEN, now and then a trip."

    def add_arguments(self, parser: CommandParser) -> None:
        """How often it trips."""
        parser.add_argument(
            "--trip-every",
            type=int,
            default=settings.DEMO_TRIP_EVERY,
            help="mean number of orders between its own trips; 0 for never",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGTERM or Ctrl-C."""
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        client = redis.Redis.from_url(settings.REDIS_URL, decode_responses=True, socket_timeout=2)
        try:
            Platform(client, dialect=settings.CIRCUIT_DIALECT, trip_every=options["trip_every"]).run()
        except KeyboardInterrupt:
            return
