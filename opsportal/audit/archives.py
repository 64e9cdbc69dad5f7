"""Months of the log that were written to files and dropped: what is known of them, and whether it holds (AU-4)."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection

from opsportal.audit.links import Link, link_hash
from opsportal.audit.models import Archive

FORMAT = "opsportal-audit-1"
#: What the text of an entry holds, in this order; that of `links.MESSAGE_SQL`.
COLUMNS = (
    "id", "timestamp_us", "event_id", "event", "event_type", "outcome", "actor_id", "actor_label", "source", "cid",
    "remote_addr", "resource_type", "resource_id", "reason", "content_type_id", "object_pk", "object_id", "object_repr",
    "action", "changes", "changes_text", "serialized_data", "additional_data", "remote_port", "actor_email",
)  # fmt: skip
_READ = 1 << 20


@dataclass(frozen=True)
class Month:
    """A partition of the log by its name, from `since` up to but not including `until`."""

    name: str
    since: datetime
    until: datetime


def months() -> list[Month]:
    """The partitions that exist, oldest first, without the default one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, since, until FROM audit_partition_bounds() ORDER BY since")
        return [Month(name, since.astimezone(UTC), until.astimezone(UTC)) for name, since, until in cursor.fetchall()]


def gone() -> list[Archive]:
    """What was noted of the months that were archived and are not in the database any more."""
    present = {month.name for month in months()}
    return [note for note in Archive.objects.all() if note.partition not in present]


class Gone:
    """Says of a link whether its entry was archived and dropped with its month.

    The link's number decides, for nobody without the key can give it another: what was written after a month was
    archived is not covered by that month's note, whatever its time. The time alone could be changed with a missing
    entry's link. A foreign link between those of a month is one too many for its note, which `check_note` sees.

    Looks again before it says no: a month may go while the chain is read.
    """

    def __init__(self) -> None:
        self._notes: list[Archive] | None = None

    def covers(self, link: Link) -> bool:
        """Whether the entry of this link may rightly be missing."""
        if self._notes is not None and self._covered(link):
            return True
        self._notes = gone()
        return self._covered(link)

    def _covered(self, link: Link) -> bool:
        return any(
            note.first_seq <= link.seq <= note.last_seq and note.since <= link.entry_at < note.until
            for note in self._notes or []
        )


def seal_of(note: Archive) -> bytes:
    """What ties a note to the chain's key, so that nobody without it can write one."""
    fields = [note.partition, note.rows, note.first_seq, note.last_seq, note.path, note.sha256]
    fields += [moment.astimezone(UTC).isoformat() for moment in (note.since, note.until)]
    parts = [bytes(part).hex() for part in (note.first_hash, note.last_hash, note.links_digest)]
    text = json.dumps(["opsportal audit archive", *fields, *parts], ensure_ascii=True)
    return hmac.digest(settings.AUDIT_CHAIN_KEY.encode(), text.encode(), hashlib.sha256)


def check_notes() -> str:
    """What is wrong with the notes of archived months, or with the links they left; empty when nothing is."""
    missing = {note.partition for note in gone()}
    problems = (check_note(note, is_gone=note.partition in missing) for note in Archive.objects.all())
    return next(filter(None, problems), "")


def check_note(note: Archive, *, is_gone: bool) -> str:
    """As `check_notes`, for one month."""
    if not hmac.compare_digest(seal_of(note), bytes(note.seal)):
        return f"the note of the archived month {note.partition} was changed, or was not written by this portal"
    if is_gone and _left_by(note) != (note.rows, bytes(note.links_digest)):
        return f"the links of the archived month {note.partition} are not those that were archived"
    return ""


def _left_by(note: Archive) -> tuple[int, bytes]:
    """The links without entries in this month: how many, and SHA-256 over the number and the hash of each."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT count(*), sha256(coalesce(string_agg(int8send(l.seq) || l.hash, ''::bytea ORDER BY l.seq), ''))
               FROM audit_link l
               WHERE l.seq BETWEEN %(first)s AND %(last)s AND l.entry_at >= %(since)s AND l.entry_at < %(until)s
               AND NOT EXISTS (SELECT 1 FROM audit_entry e WHERE e.id = l.entry_id
                               AND e."timestamp" >= %(since)s AND e."timestamp" < %(until)s)""",
            {"first": note.first_seq, "last": note.last_seq, "since": note.since, "until": note.until},
        )
        count, digest = cursor.fetchone()
    return count, bytes(digest)


def check_files(folder: Path) -> str:
    """What is wrong with the files of archived months in this folder; empty when nothing is."""
    for note in Archive.objects.all():
        if problem := check_file(folder / note.file_name, note):
            return problem
    return ""


def check_file(path: Path, note: Archive) -> str:
    """Read a month's file back: its digest, every link in it, and that they are those that were noted."""
    try:
        if sha256_of(path) != note.sha256:
            return f"the file {path.name} is not the one that was written: its SHA-256 differs"
        return _check_lines(path, note)
    except FileNotFoundError:
        return f"the file {path.name} is missing from {path.parent}"
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        return f"the file {path.name} cannot be read ({type(error).__name__})"


def _check_lines(path: Path, note: Archive) -> str:
    whole = hashlib.sha256()
    rows, seq, previous = 0, 0, b""
    lines = read_file(path)
    if next(lines).get("format") != FORMAT:
        return f"the file {path.name} is not an archive of the audit log"
    for line in lines:
        if "seq" not in line:
            break
        before, stored = bytes.fromhex(line["previous"]), bytes.fromhex(line["hash"])
        consecutive = line["seq"] == seq + 1
        if line["seq"] <= seq or (consecutive and rows and before != previous):
            return f"the file {path.name} has link {line['seq']} out of its place"
        if link_hash(settings.AUDIT_CHAIN_KEY, before, line["seq"], line["entry"]) != stored:
            return f"link {line['seq']} in the file {path.name} was changed"
        whole.update(line["seq"].to_bytes(8, "big") + stored)
        rows, seq, previous = rows + 1, line["seq"], stored
    if (rows, whole.digest()) != (note.rows, bytes(note.links_digest)):
        return f"the file {path.name} does not hold the {note.rows} records that were archived"
    return ""


def read_file(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a month's file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def sha256_of(path: Path) -> str:
    """The digest of a file, in hexadecimal digits."""
    whole = hashlib.sha256()
    with path.open("rb") as source:
        while block := source.read(_READ):
            whole.update(block)
    return whole.hexdigest()
