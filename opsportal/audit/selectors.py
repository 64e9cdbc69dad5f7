"""What is known of the chain, for pages, metrics and the overview."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import Error
from django.utils import timezone

from opsportal.audit import chain
from opsportal.audit.models import Archive, Link, Run, Verification

#: New links are looked at every minute; after this somebody should ask why they are not.
LATE = timedelta(minutes=10)


@dataclass(frozen=True)
class Mark:
    """A run's last result: when it ended, and up to which link all was well."""

    at: datetime | None
    seq: int


@dataclass(frozen=True)
class ChainStatus:
    """The chain as a whole. `problem` is empty when nothing was found; `late` says that nobody looks any more."""

    head_seq: int
    verified: Mark
    full: Mark
    checkpoint: Mark
    problem: str
    entry_id: int | None
    late: bool
    has_checkpoint_file: bool
    retention_days: int
    archives: bool
    last_archive: Archive | None

    @property
    def waiting(self) -> int:
        """Links that no run has looked at yet."""
        return max(0, self.head_seq - self.verified.seq)


def chain_status(now: datetime | None = None) -> ChainStatus:
    """All of it. Raises `django.db.Error`."""
    rows = {row.kind: row for row in Verification.objects.all()}
    broken = next((rows[kind] for kind in (Run.FULL, Run.NEW) if kind in rows and rows[kind].problem), None)
    head, verified = chain.head().seq, _mark(rows, Run.NEW)
    return ChainStatus(
        head_seq=head,
        verified=verified,
        full=_mark(rows, Run.FULL),
        checkpoint=_mark(rows, Run.CHECKPOINT),
        problem=broken.problem if broken else "",
        entry_id=broken.entry_id if broken else None,
        late=_is_late(verified, (now or timezone.now()) - LATE),
        has_checkpoint_file=chain.checkpoint_file() is not None,
        retention_days=settings.AUDIT_RETENTION_DAYS,
        archives=bool(settings.AUDIT_ARCHIVE_DIR),
        last_archive=Archive.objects.order_by("-since").first(),
    )


def _is_late(verified: Mark, limit: datetime) -> bool:
    """Whether nobody has looked since `limit`; a log that is younger than that is given its time."""
    if verified.at is None:
        return Link.objects.filter(seq=1, entry_at__lt=limit).exists()
    return verified.at < limit


def chain_problem() -> str:
    """What is wrong with the chain, in one sentence; empty when nothing was found."""
    found = Verification.objects.filter(kind__in=[Run.FULL, Run.NEW]).exclude(problem="").order_by("kind").first()
    return found.problem if found else ""


def problem_or_unknown() -> str:
    """As `chain_problem`; empty too with PostgreSQL away, which is told elsewhere."""
    try:
        return chain_problem()
    except Error:
        return ""


def verified_up_to() -> int:
    """The number of the last link that some run has found good, with all before it."""
    row = Verification.objects.filter(kind=Run.NEW).first()
    return row.seq if row else 0


def _mark(rows: dict[str, Verification], kind: Run) -> Mark:
    row = rows.get(kind)
    return Mark(row.finished_at, row.seq) if row else Mark(None, 0)
