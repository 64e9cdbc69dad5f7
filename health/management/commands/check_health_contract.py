"""`manage.py check_health_contract URL…`: whether services answer as the portal expects."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from health.contract import TIMES, HealthReply, given_times, in_utc, json_schema, latest_operation, shown_text
from health.models import DEFAULT_TIMEOUT, Status
from health.probes.base import ProbeResult, Target
from health.probes.http import examine, open_session
from health.wording import latency_text

#: Clocks of two machines may differ this much before a time counts as in the future.
CLOCK_TOLERANCE = timedelta(seconds=30)


class Command(BaseCommand):
    """Lets a service team see what the portal sees. Needs neither PostgreSQL nor Redis."""

    help = "Check that services answer GET /health as the contract wants. Exit code 1 when one does not."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Addresses, and what is expected of them."""
        parser.add_argument("urls", nargs="*", metavar="URL", help="base URL, or the full address ending in /health")
        parser.add_argument("--service", default="", metavar="NAME", help="the name it is to call itself; default: any")
        parser.add_argument("--timeout", type=float, default=DEFAULT_TIMEOUT, help="seconds for a reply, 0.1 to 60")
        parser.add_argument("--schema", action="store_true", help="print the contract as JSON Schema and end")

    def handle(self, *args: Any, **options: Any) -> None:
        """One block for each URL."""
        if options["schema"]:
            self.stdout.write(json.dumps(json_schema(), indent=2))
            return
        if not options["urls"]:
            raise CommandError("Name at least one URL, for example http://orders:8080.")
        if not 0.1 <= options["timeout"] <= 60:
            raise CommandError("--timeout must be 0.1 to 60 seconds.")
        targets = [
            Target(number, options["service"], _health_url(url), options["timeout"])
            for number, url in enumerate(options["urls"])
        ]
        broken = 0
        for target, (result, reply) in zip(targets, asyncio.run(_examine_all(targets)), strict=True):
            kept = result.status not in (Status.VIOLATION, Status.UNREACHABLE)
            broken += not kept
            self._tell(target, result, reply if kept else None)
        if broken:
            raise SystemExit(1)

    def _tell(self, target: Target, result: ProbeResult, reply: HealthReply | None) -> None:
        where = shown_text(target.url, 300)
        if reply is None:
            self.stdout.write(f"{where}: {self.style.ERROR('BROKEN' if result.answered else 'NO REPLY')}")
            self.stdout.write(f"  {result.sentence}")
            if result.answered:
                self.stdout.write(f"  answered in {latency_text(result.latency_us)}")
            return
        self.stdout.write(f"{where}: {self.style.SUCCESS('ok')}")
        version = f" {result.version}" if result.version else ""
        self.stdout.write(f"  {shown_text(reply.service, 100)}{version} is {reply.status}")
        if result.sentence:
            self.stdout.write(f"  {result.sentence}")
        self.stdout.write(f"  answered in {latency_text(result.latency_us)}")
        for warning in warnings(reply, datetime.now(UTC)):
            self.stdout.write(f"  {self.style.WARNING('warning:')} {warning}")


def warnings(reply: HealthReply, now: datetime) -> list[str]:
    """What keeps the contract and yet will mislead: times without a zone, in the future, or none at all."""
    found = []
    for name, value in sorted(given_times(reply, TIMES)):
        if value.tzinfo is None:
            found.append(f"`{name}` has no zone; it is read as UTC.")
        if value.year > 1971 and in_utc(value) > now + CLOCK_TOLERANCE:
            found.append(f"`{name}` lies in the future.")
    if latest_operation(reply) is None:
        found.append("no last-operation field: nobody will see when it last did its work.")
    return found


def _health_url(url: str) -> str:
    bare = url.rstrip("/")
    return bare if bare.endswith("/health") else f"{bare}/health"


async def _examine_all(targets: list[Target]) -> list[tuple[ProbeResult, HealthReply | None]]:
    async with open_session() as session:
        return await asyncio.gather(*(examine(session, target) for target in targets))
