"""Old months go: written to a file, read back, noted, and only then dropped by a function of the tables' owner (AU-4).

The application's role may neither drop a table nor write a note by itself. What PostgreSQL looks at before it drops a
month (its own clock, the note, the number of rows) is in migration 0004.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import Error, OperationalError, connection, transaction
from psycopg.errors import LockNotAvailable

from opsportal.audit import archives, recorder
from opsportal.audit.archives import COLUMNS, FORMAT, Month
from opsportal.audit.links import GENESIS, Head, Link, link_hash, read_links, read_messages
from opsportal.audit.models import Archive

log = logging.getLogger(__name__)


class ArchiveRefused(Exception):
    """A month was not archived or not dropped. `sentence` says why; nothing was lost."""

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence
        super().__init__(sentence)


@dataclass(frozen=True)
class Done:
    """What became of a month. `dropped` is false for one that is only archived yet, or in a dry run."""

    month: Month
    rows: int
    path: str
    dropped: bool


def expired_months(now: datetime) -> list[Month]:
    """The months of which every entry is older than the retention, oldest first."""
    limit = now - timedelta(days=settings.AUDIT_RETENTION_DAYS)
    return [month for month in archives.months() if month.until <= limit]


def archive_expired(
    now: datetime, *, most: int | None = None, dry_run: bool = False, by_label: str = ""
) -> Iterator[Done]:
    """Archive and drop the expired months, at most `most` of them, one after the other.

    Raises `ArchiveRefused` at the first that cannot be; a failure is audited.
    """
    folder = archive_folder()
    for month in expired_months(now)[:most]:
        if dry_run:
            yield Done(month, _count(month), str(folder / Archive(partition=month.name).file_name), dropped=False)
            continue
        try:
            yield archive_month(month, folder, now, by_label=by_label)
        except ArchiveRefused as refusal:
            recorder.record(
                "audit_archive",
                outcome="failed",
                actor_label=by_label,
                resource_type="audit_log",
                resource_id=month.name,
                reason=refusal.sentence,
            )
            raise


def archive_folder() -> Path:
    """Where the files go. Raises `ArchiveRefused` when none is configured or it is not there."""
    if not settings.AUDIT_ARCHIVE_DIR:
        raise ArchiveRefused("AUDIT_ARCHIVE_DIR is not set, so nothing is archived and nothing is ever dropped.")
    folder = Path(settings.AUDIT_ARCHIVE_DIR)
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ArchiveRefused(f"AUDIT_ARCHIVE_DIR is {folder}, which is not a folder that can be written to.")
    return folder


def archive_month(month: Month, folder: Path, now: datetime, *, by_label: str = "") -> Done:
    """Write one month to its file unless it has one, then drop it. Both are audited. Raises `ArchiveRefused`."""
    note = Archive.objects.filter(partition=month.name).first()
    if note is None:
        note = _write(month, folder)
        _keep(note, by_label)
    elif problem := archives.check_file(folder / note.file_name, note):
        raise ArchiveRefused(f"{problem}. The month {month.name} stays in the database.")
    _drop(note, now, by_label)
    log.info("audit_month_archived", extra={"partition": month.name, "rows_archived": note.rows, "path": note.path})
    return Done(month, note.rows, note.path, dropped=True)


def _write(month: Month, folder: Path) -> Archive:
    """The month's file, flushed to disk and read back, and what is to be noted of it."""
    note = Archive(partition=month.name, since=month.since, until=month.until)
    path = folder / note.file_name
    part = path.with_suffix(".part")
    try:
        _write_file(part, note)
        note.sha256, note.path = archives.sha256_of(part), str(path)
        note.seal = archives.seal_of(note)
        if problem := archives.check_file(part, note):
            raise ArchiveRefused(f"What was written could not be read back: {problem}. Nothing was dropped.")
        part.replace(path)
        _write_durably(path.with_suffix(".gz.sha256"), f"{note.sha256}  {path.name}\n".encode())
        _flush(folder)
    except OSError as error:
        raise ArchiveRefused(f"{path} cannot be written: {error.strerror}. Nothing was dropped.") from None
    finally:
        part.unlink(missing_ok=True)
    return note


def _write_file(path: Path, note: Archive) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as raw:
        with gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0) as sink:
            _write_lines(sink, note)
        raw.flush()
        os.fsync(raw.fileno())


def _write_lines(sink: gzip.GzipFile, note: Archive) -> None:
    def line(**values: Any) -> None:
        sink.write(json.dumps(values).encode() + b"\n")

    line(format=FORMAT, partition=note.partition, since=note.since.isoformat(), columns=COLUMNS)
    whole = hashlib.sha256()
    note.rows, note.first_seq, note.last_seq = 0, 0, 0
    note.first_hash, note.last_hash = GENESIS, GENESIS
    for link, message in _entries(note):
        line(seq=link.seq, previous=link.previous.hex(), hash=link.hash.hex(), entry=message)
        whole.update(link.seq.to_bytes(8, "big") + link.hash)
        if note.rows == 0:
            note.first_seq, note.first_hash = link.seq, link.hash
        note.rows, note.last_seq, note.last_hash = note.rows + 1, link.seq, link.hash
    note.links_digest = whole.digest()
    line(rows=note.rows, links=note.links_digest.hex())


def _entries(note: Archive) -> Iterator[tuple[Link, str]]:
    """The month's links with their entries' texts, each found sound, in the order of the chain."""
    first, last = _links_of(note)
    after = _link_before(first)
    while after.seq < last:
        links = read_links(after)
        if not links:
            return
        after = Head(links[-1].seq, links[-1].hash)
        wanted = [link for link in links if note.since <= link.entry_at < note.until and link.seq <= last]
        messages = read_messages(wanted)
        for link in wanted:
            event, message = messages.get((link.entry_id, link.entry_at), ("", ""))
            if link_hash(settings.AUDIT_CHAIN_KEY, link.previous, link.seq, message) != link.hash:
                raise ArchiveRefused(
                    f"Record {link.entry_id} ({event or 'gone'}) is not as it was written, so the month "
                    f"{note.partition} stays. Run manage.py audit verify."
                )
            yield link, message


def _links_of(note: Archive) -> tuple[int, int]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")  # one look at every link: seconds at millions
        cursor.execute(
            """SELECT coalesce(min(seq), 1), coalesce(max(seq), 0) FROM audit_link
               WHERE entry_at >= %s AND entry_at < %s""",
            [note.since, note.until],
        )
        first, last = cursor.fetchone()
    return first, last


def _link_before(seq: int) -> Head:
    with connection.cursor() as cursor:
        cursor.execute("SELECT hash FROM audit_link WHERE seq = %s", [seq - 1])
        row = cursor.fetchone()
    return Head(seq - 1, bytes(row[0]) if row else GENESIS)


def _keep(note: Archive, by_label: str) -> None:
    """Note the archived month, together with its audit entry."""
    with _refusing(note, "It was archived but not noted"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute(
            "SELECT audit_note_archive(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                note.partition,
                note.rows,
                note.first_seq,
                note.last_seq,
                bytes(note.first_hash),
                bytes(note.last_hash),
                bytes(note.links_digest),
                note.sha256,
                note.path,
                bytes(note.seal),
            ],
        )
        recorder.record(
            "audit_archive",
            actor_label=by_label,
            resource_type="audit_log",
            resource_id=note.partition,
            details={
                "rows": note.rows,
                "first_seq": note.first_seq,
                "last_seq": note.last_seq,
                "file": note.path,
                "sha256": note.sha256,
            },
        )


def _drop(note: Archive, now: datetime, by_label: str) -> None:
    """Drop the month, together with the audit entry that says so."""
    with _refusing(note, "It is archived and still here"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        limit = now - timedelta(days=settings.AUDIT_RETENTION_DAYS)
        cursor.execute("SELECT audit_drop_partition(%s, %s)", [note.partition, limit])
        recorder.record(
            "audit_drop",
            actor_label=by_label,
            resource_type="audit_log",
            resource_id=note.partition,
            details={"rows": note.rows, "file": note.path},
        )


class _refusing:
    """Turns PostgreSQL's refusal into a sentence; a server that is away stays an error."""

    def __init__(self, note: Archive, state: str) -> None:
        self._note, self._state = note, state

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        if not isinstance(error, Error):
            return
        cause = error.__cause__
        if isinstance(cause, LockNotAvailable):
            why = "somebody is reading it; the next run tries again"
        elif isinstance(error, OperationalError) or cause is None:
            return
        else:
            why = str(cause).splitlines()[0]
        raise ArchiveRefused(f"The month {self._note.partition}: {why}. {self._state}.") from None


def _count(month: Month) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute(
            'SELECT count(*) FROM audit_entry WHERE "timestamp" >= %s AND "timestamp" < %s', [month.since, month.until]
        )
        return int(cursor.fetchone()[0])


def _write_durably(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as sink:
        sink.write(content)
        sink.flush()
        os.fsync(sink.fileno())


def _flush(folder: Path) -> None:
    """So that the new names survive a power cut too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
