"""`manage.py circuit status|init|trip|reset`."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandParser

from circuit import services
from circuit.models import Category, Source
from circuit.selectors import read_breaker
from opsportal.accounts.commands import ActionCommand, acting, add_as_user


class Command(ActionCommand):
    """Shows and changes the breaker from the command line."""

    help = "Show, initialise, trip or reset the circuit breaker. OPEN means trading, TRIPPED means halted."

    def add_arguments(self, parser: CommandParser) -> None:
        """The four actions."""
        actions = parser.add_subparsers(dest="action", required=True)
        status = actions.add_parser("status", help="print the state; exit code 0 for OPEN, 3 for anything else")
        status.add_argument("--json", action="store_true", help="as JSON")
        init = actions.add_parser("init", help="create the state OPEN where Redis has none")
        init.add_argument("--reason", default="First start")
        init.add_argument(
            "--acknowledge", action="store_true", help="OPEN is meant although a state was recorded before"
        )
        trip = actions.add_parser("trip", help="halt trading")
        trip.add_argument("--reason", required=True)
        trip.add_argument("--category", default=Category.MANUAL.value, choices=Category.values)
        reset = actions.add_parser("reset", help="allow trading again")
        reset.add_argument("--reason", required=True, help="at least 20 characters")
        reset.add_argument("--acknowledge", action="store_true", help="you have checked why trading was halted")
        for parser_ in (init, trip, reset):
            add_as_user(parser_)

    def _status(self, options: dict[str, Any]) -> None:
        reading = read_breaker()
        if options["json"]:
            values = {
                "state": reading.state.value,
                "label": str(reading.state.label),
                "last_trip_reason": reading.decoded.reason,
                "last_trip_at": reading.decoded.at.isoformat() if reading.decoded.at else None,
                "stale": reading.stale,
            }
            self.stdout.write(json.dumps(values))
        else:
            self.stdout.write(f"{reading.state.value} · {reading.state.label}")
            if reading.decoded.at or reading.decoded.reason:
                when = reading.decoded.at.isoformat() if reading.decoded.at else "time unknown"
                self.stdout.write(f"last trip: {when}: {reading.decoded.reason}")
            if reading.stale:
                self.stderr.write("Redis does not answer: this is the last recorded state, not a reading.")
            elif reading.decoded.problem:
                self.stderr.write(reading.decoded.problem)
        if reading.stale or reading.state != "OPEN":
            raise SystemExit(3)

    def _init(self, options: dict[str, Any]) -> None:
        services.init_breaker(by=acting(options), reason=options["reason"], acknowledged=options["acknowledge"])
        self.stdout.write("OPEN · trading")

    def _trip(self, options: dict[str, Any]) -> None:
        done = services.trip_breaker(
            by=acting(options), reason=options["reason"], category=options["category"], source=Source.CLI
        )
        self.stdout.write("TRIPPED · halted")
        if not done.recorded:
            self.stderr.write("PostgreSQL does not answer; the audit record is kept and written when it is back.")

    def _reset(self, options: dict[str, Any]) -> None:
        services.reset_breaker(
            by=acting(options), reason=options["reason"], acknowledged=options["acknowledge"], source=Source.CLI
        )
        self.stdout.write("OPEN · trading")
