"""`manage.py audit verify|checkpoint|export|archive`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error
from django.utils import timezone

from opsportal.audit import chain, recorder, retention, verification
from opsportal.audit.export import Ordered, export
from opsportal.audit.forms import EntryFilter

_FILTERS = tuple(EntryFilter.base_fields)


class Command(BaseCommand):
    """Looks after the audit log. Each run is audited itself, under the name that the operating system knows (AU-6)."""

    help = (
        "verify: recompute the chain and name the first wrong record. checkpoint: write the head to the second sink. "
        "export: the entries to standard output. archive: write months older than the retention to files and drop them."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The four actions and what each takes."""
        actions = parser.add_subparsers(dest="action", required=True)
        verify = actions.add_parser("verify", help="exit code 0 when the log is intact, 1 when it is not")
        verify.add_argument("--archive", type=Path, help="also read the files of archived months in this folder")
        for each in (verify, actions.add_parser("checkpoint", help="write the head to the second sink")):
            each.add_argument("--checkpoints", type=Path, help="checkpoint file; default: AUDIT_CHECKPOINT_FILE")
        exports = actions.add_parser("export", help="entries to standard output, oldest first")
        exports.add_argument("--format", choices=["jsonl", "csv"], default="jsonl")
        for name in _FILTERS:
            exports.add_argument(
                f"--{name.replace('_', '-')}", default="", help=str(EntryFilter.base_fields[name].label)
            )
        archive = actions.add_parser("archive", help="archive and drop months older than AUDIT_RETENTION_DAYS")
        archive.add_argument("--dry-run", action="store_true", help="only say what would be done")

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit code 0 when done and, for verify, the log is intact."""
        try:
            getattr(self, "_" + options["action"])(options)
        except Error:
            raise CommandError("PostgreSQL does not answer, so the audit log cannot be read. Try again.") from None

    def _verify(self, options: dict[str, Any]) -> None:
        path = options["checkpoints"] or chain.checkpoint_file()
        verdict = verification.verify_at_once(checkpoints=path, archive=options["archive"])
        if not verdict.ok:
            raise CommandError(
                f"the audit log is NOT intact: {verdict.problem}. {verdict.checked} records before it are sound. "
                "Keep the database as it is and tell whoever is responsible for audits."
            )
        sink = f"checked against {path}" if path else "no checkpoint file is configured: a cut-off end would go unseen"
        files = f"; archived months checked in {options['archive']}" if options["archive"] else ""
        self.stdout.write(f"audit log intact: {verdict.checked} records verified; {sink}{files}")

    def _checkpoint(self, options: dict[str, Any]) -> None:
        head = chain.checkpoint()
        recorder.record("audit_checkpoint", resource_type="audit_log", details={"seq": head.seq})
        self.stdout.write(f"checkpoint: record {head.seq}, head {head.hash.hex()}")

    def _export(self, options: dict[str, Any]) -> None:
        form = EntryFilter({name: options[name] for name in _FILTERS})
        if not form.is_valid():
            told = [f"{form.fields[name].label}: {' '.join(map(str, errors))}" for name, errors in form.errors.items()]
            raise CommandError("; ".join(told))
        for piece in export(Ordered(options["format"], form.filters(), form.given())):
            self.stdout.write(piece, ending="")

    def _archive(self, options: dict[str, Any]) -> None:
        dry, seen = options["dry_run"], False
        try:
            for done in retention.archive_expired(timezone.now(), dry_run=dry):
                seen = True
                verb = "would be archived to" if dry else "archived and dropped:"
                self.stdout.write(f"{done.month.name}: {done.rows} records {verb} {done.path}")
        except retention.ArchiveRefused as refusal:
            raise CommandError(refusal.sentence) from None
        if not seen:
            self.stdout.write("no month is older than the retention; nothing to do")
