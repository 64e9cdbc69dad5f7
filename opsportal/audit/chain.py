"""The chain as a whole: verification and checkpoints (AU-5)."""

from __future__ import annotations

import json
import logging
import os
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from opsportal.audit import archives, links
from opsportal.audit.links import GENESIS, MESSAGE_SQL, Head, Verdict, link_hash
from opsportal.audit.models import Run, Verification

__all__ = ["GENESIS", "MESSAGE_SQL", "Head", "Verdict", "checkpoint", "checkpoint_file", "head", "link_hash", "verify"]

log = logging.getLogger(__name__)

#: Ids compared with the chain in one statement.
IDS = 100_000
_HIGHEST_ID = 2**63 - 1
#: Bytes at the end of the second sink that hold the last half a day.
_TAIL = 65_536


def head() -> Head:
    """The newest link of the chain; sequence 0 with 32 zero bytes when the log is empty."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT seq, hash FROM audit_link ORDER BY seq DESC LIMIT 1")
        row = cursor.fetchone()
    return Head(row[0], bytes(row[1])) if row else links.START


def verify(*, checkpoints: Path | None = None) -> Verdict:
    """Recompute the whole chain and name the first record that was changed, removed, inserted or cut off.

    `checkpoints` is the second sink written by `checkpoint`; without it a removed end cannot be told from a log that
    simply ended earlier. Reads in batches; one consistent snapshot. Months that were archived and dropped are held
    against what was noted of them; their files are looked at by `archives.check_files`.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor.execute("SET LOCAL statement_timeout = 0")
        known = read_checkpoints(checkpoints)
        gone = archives.Gone()
        verdict = Verdict(links.START)
        while verdict.ok:
            step = links.check_links(verdict.reached, known=known, archived=gone.covers)
            if step == verdict:
                break
            verdict = step
        if verdict.ok and (problem := cut_off(known)):
            verdict = Verdict(verdict.reached, problem)
        return _finish(verdict) if verdict.ok else verdict


def _finish(reached: Verdict) -> Verdict:
    """What remains to be asked when every link is sound: rows past the chain, and the archived months."""
    seen = links.LOWEST_ID - 1
    while (first := links.next_entry_id(seen + 1)) is not None:
        seen = last_of(first)
        if found := links.find_unlinked(first, seen):
            return Verdict(reached.reached, found[1], found[0])
        if seen == _HIGHEST_ID:
            break
    return Verdict(reached.reached, archives.check_notes())


def last_of(first_id: int) -> int:
    """The last id that is compared with the chain together with this one."""
    return min(first_id + IDS - 1, _HIGHEST_ID)


def cut_off(known: dict[int, bytes]) -> str:
    """What to say when a checkpoint knows more records than there are; the heads must have been read before."""
    last, newest = max(known, default=0), head().seq
    return f"the log was cut off: a checkpoint knows {last} records, {newest} are left" if last > newest else ""


def checkpoint_file() -> Path | None:
    """The second sink, when one is configured."""
    return Path(settings.AUDIT_CHECKPOINT_FILE) if settings.AUDIT_CHECKPOINT_FILE else None


def checkpoint(now: datetime | None = None) -> Head:
    """Write the newest link to the log and, when configured, to the checkpoint file (JSON lines, flushed to disk).

    Raises OSError when the file cannot be written.
    """
    newest = head()
    if newest.seq == 0:
        return newest
    at = now or timezone.now()
    log.info("audit_checkpoint", extra={"chain_seq": newest.seq, "chain_head": newest.hash.hex()})
    path = checkpoint_file()
    if path and max(read_checkpoints(path, tail=True), default=0) < newest.seq:
        with path.open("a", encoding="utf-8") as sink:
            sink.write(json.dumps({"seq": newest.seq, "head": newest.hash.hex(), "at": at.isoformat()}) + "\n")
            sink.flush()
            os.fsync(sink.fileno())
    Verification.objects.update_or_create(
        kind=Run.CHECKPOINT,
        defaults={"started_at": at, "finished_at": at, "seq": newest.seq, "hash": newest.hash},
    )
    return newest


def read_checkpoints(path: Path | None, *, tail: bool = False) -> dict[int, bytes]:
    """The heads in the second sink, by number, with `tail` only the newest; none without one."""
    if path is None or not path.exists():
        return {}
    found = {}
    for line in _lines(path, tail):
        try:
            item = json.loads(line)
            found[int(item["seq"])] = bytes.fromhex(item["head"])
        except (ValueError, KeyError, TypeError):
            log.error("audit_checkpoint_unreadable")  # a torn last line after a crash; the others still count
    return found


def _lines(path: Path, tail: bool) -> list[str]:
    with path.open("rb") as source:
        size = source.seek(0, os.SEEK_END)
        start = max(0, size - _TAIL) if tail else 0
        source.seek(start)
        lines = source.read().decode("utf-8", "replace").splitlines()
    return lines[1:] if start else lines  # the first is a piece of one
