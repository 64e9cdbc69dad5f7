"""Reads the chain: verification and checkpoints (AU-5)."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

log = logging.getLogger(__name__)

GENESIS = bytes(32)

#: The text of an entry that the chain covers, as SQL over alias `e`. Migration 0002 holds the same text inside the
#: trigger; a test compares the two.
MESSAGE_SQL = """jsonb_build_array(
    e.id, (extract(epoch FROM e."timestamp") * 1000000)::bigint, e.event_id, e.event, e.event_type, e.outcome,
    e.actor_id, e.actor_label, e.source, e.cid, host(e.remote_addr), e.resource_type, e.resource_id, e.reason,
    e.content_type_id, e.object_pk, e.object_id, e.object_repr, e.action, e.changes, e.changes_text,
    e.serialized_data, e.additional_data, e.remote_port, e.actor_email
)::text"""


@dataclass(frozen=True)
class Verdict:
    """The outcome of a verification. `problem` is empty when every record is as it was written."""

    checked: int
    problem: str = ""
    entry_id: int | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.problem


@dataclass(frozen=True)
class Head:
    """The newest link."""

    seq: int
    hash: bytes


def head() -> Head:
    """The newest link of the chain; sequence 0 with 32 zero bytes when the log is empty."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT seq, hash FROM audit_link ORDER BY seq DESC LIMIT 1")
        row = cursor.fetchone()
    return Head(row[0], bytes(row[1])) if row else Head(0, GENESIS)


def link_hash(key: str, previous: bytes, seq: int, message: str) -> bytes:
    """HMAC-SHA256 over the previous hash, the sequence number (8 bytes, big-endian) and the entry's text."""
    return hmac.digest(key.encode(), previous + seq.to_bytes(8, "big") + message.encode(), hashlib.sha256)


def verify(*, checkpoints: Path | None = None) -> Verdict:
    """Recompute the whole chain and name the first record that was changed, removed, inserted or cut off.

    `checkpoints` is the second sink written by `checkpoint`; without it a removed end cannot be told from a log that
    simply ended earlier. Reads in batches; one consistent snapshot.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        cursor.execute("SET LOCAL statement_timeout = 0")
        known = _read_checkpoints(checkpoints)
        verdict = _verify_links(known)
        if verdict.ok:
            verdict = _find_unlinked(verdict.checked)
    return verdict


def _verify_links(known: dict[int, bytes]) -> Verdict:
    previous, checked = GENESIS, 0
    with connection.chunked_cursor() as cursor:
        cursor.execute(
            f"""SELECT l.seq, l.hash, l.entry_id, l.entry_at, e.id, e.event, {MESSAGE_SQL}
                FROM audit_link l LEFT JOIN audit_entry e ON e.id = l.entry_id ORDER BY l.seq"""  # noqa: S608  a constant
        )
        for seq, stored, entry_id, entry_at, found, event, message in cursor:
            name = f"record {entry_id} ({event or 'gone'}, {entry_at:%Y-%m-%d %H:%M:%S} UTC)"
            if seq != checked + 1:
                return Verdict(checked, f"link {checked + 1} was removed, just before {name}", entry_id)
            if found is None:
                return Verdict(checked, f"{name} was removed", entry_id)
            expected = link_hash(settings.AUDIT_CHAIN_KEY, previous, seq, message)
            if not hmac.compare_digest(expected, bytes(stored)):
                return Verdict(checked, f"{name} was changed, or its link was", entry_id)
            if seq in known and not hmac.compare_digest(known[seq], expected):
                return Verdict(checked, f"{name} differs from the checkpoint: the chain was rewritten", entry_id)
            previous, checked = expected, seq
    last = max(known, default=0)
    if last > checked:
        return Verdict(checked, f"the log was cut off: a checkpoint knows {last} records, {checked} are left")
    return Verdict(checked)


def _find_unlinked(checked: int) -> Verdict:
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT e.id, e.event, e."timestamp" FROM audit_entry e
               WHERE NOT EXISTS (SELECT 1 FROM audit_link l WHERE l.entry_id = e.id) ORDER BY e.id LIMIT 1"""
        )
        row = cursor.fetchone()
    if row is None:
        return Verdict(checked)
    return Verdict(
        checked, f"record {row[0]} ({row[1]}, {row[2]:%Y-%m-%d %H:%M:%S} UTC) was inserted past the chain", row[0]
    )


def checkpoint_file() -> Path | None:
    """The second sink, when one is configured."""
    return Path(settings.AUDIT_CHECKPOINT_FILE) if settings.AUDIT_CHECKPOINT_FILE else None


def checkpoint(now: datetime | None = None) -> Head:
    """Write the newest link to the log and, when configured, to the checkpoint file (JSON lines, flushed to disk)."""
    newest = head()
    if newest.seq == 0:
        return newest
    at = (now or timezone.now()).isoformat()
    log.info("audit_checkpoint", extra={"chain_seq": newest.seq, "chain_head": newest.hash.hex()})
    path = checkpoint_file()
    if path and max(_read_checkpoints(path), default=0) < newest.seq:
        with path.open("a", encoding="utf-8") as sink:
            sink.write(json.dumps({"seq": newest.seq, "head": newest.hash.hex(), "at": at}) + "\n")
            sink.flush()
            os.fsync(sink.fileno())
    return newest


def _read_checkpoints(path: Path | None) -> dict[int, bytes]:
    if path is None or not path.exists():
        return {}
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            item = json.loads(line)
            found[int(item["seq"])] = bytes.fromhex(item["head"])
        except (ValueError, KeyError, TypeError):
            log.error("audit_checkpoint_unreadable")  # a torn last line after a crash; the others still count
    return found
