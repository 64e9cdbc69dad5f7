"""`manage.py audit verify|checkpoint`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from opsportal.audit import chain


class Command(BaseCommand):
    """Verifies the audit log, or writes a checkpoint of it."""

    help = "verify: recompute the chain and name the first wrong record. checkpoint: write the head to the second sink."

    def add_arguments(self, parser: CommandParser) -> None:
        """The action, and where the checkpoints are."""
        parser.add_argument("action", choices=["verify", "checkpoint"])
        parser.add_argument("--checkpoints", type=Path, help="checkpoint file; default: AUDIT_CHECKPOINT_FILE")

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit code 0 when the log is intact, 1 when it is not or cannot be read."""
        try:
            self._run(options)
        except Error:
            raise CommandError("PostgreSQL does not answer, so the audit log cannot be read. Try again.") from None

    def _run(self, options: dict[str, Any]) -> None:
        if options["action"] == "checkpoint":
            head = chain.checkpoint()
            self.stdout.write(f"checkpoint: record {head.seq}, head {head.hash.hex()}")
            return
        path = options["checkpoints"] or chain.checkpoint_file()
        verdict = chain.verify(checkpoints=path)
        if not verdict.ok:
            raise CommandError(
                f"the audit log is NOT intact: {verdict.problem}. {verdict.checked} records before it are sound. "
                "Keep the database as it is and tell whoever is responsible for audits."
            )
        sink = f"checked against {path}" if path else "no checkpoint file is configured: a cut-off end would go unseen"
        self.stdout.write(f"audit log intact: {verdict.checked} records verified; {sink}")
