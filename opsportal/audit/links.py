"""The links of the chain: what each covers, and whether a stretch of them is as it was written (AU-5)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import connection

GENESIS = bytes(32)
#: The lowest id that PostgreSQL can keep. The sequence begins at 1; what is below was put in by hand.
LOWEST_ID = -(2**63)
#: Links looked at by one pair of statements: some 0.1 s, and a few MB.
CHUNK = 5_000

#: The text of an entry that the chain covers, as SQL over alias `e`. Migration 0002 holds the same text inside the
#: trigger; a test compares the two.
MESSAGE_SQL = """jsonb_build_array(
    e.id, (extract(epoch FROM e."timestamp") * 1000000)::bigint, e.event_id, e.event, e.event_type, e.outcome,
    e.actor_id, e.actor_label, e.source, e.cid, host(e.remote_addr), e.resource_type, e.resource_id, e.reason,
    e.content_type_id, e.object_pk, e.object_id, e.object_repr, e.action, e.changes, e.changes_text,
    e.serialized_data, e.additional_data, e.remote_port, e.actor_email
)::text"""


@dataclass(frozen=True)
class Head:
    """A link by its number and its hash; number 0 is the nothing before the first."""

    seq: int
    hash: bytes


START = Head(0, GENESIS)


@dataclass(frozen=True)
class Verdict:
    """The outcome of a verification. `problem` is empty when every record is as it was written.

    `reached` is the last good link: the first `checked` records are sound.
    """

    reached: Head
    problem: str = ""
    entry_id: int | None = None

    @property
    def checked(self) -> int:
        """How many records from the first on are sound."""
        return self.reached.seq

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.problem


@dataclass(frozen=True)
class Link:
    """A row of the chain with the hash of the one before it."""

    seq: int
    hash: bytes
    entry_id: int
    entry_at: datetime
    previous: bytes


#: Says of links without an entry which are those of a month that was archived and dropped.
Archived = Callable[[Link], bool]


def link_hash(key: str, previous: bytes, seq: int, message: str) -> bytes:
    """HMAC-SHA256 over the previous hash, the sequence number (8 bytes, big-endian) and the entry's text."""
    return hmac.digest(key.encode(), previous + seq.to_bytes(8, "big") + message.encode(), hashlib.sha256)


def read_links(after: Head, *, limit: int = CHUNK) -> list[Link]:
    """The next links, in order. The hash before each is that of the row before it, for the first that of `after`."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT seq, hash, entry_id, entry_at FROM audit_link WHERE seq > %s ORDER BY seq LIMIT %s",
            [after.seq, limit],
        )
        rows = cursor.fetchall()
    found, previous = [], after.hash
    for seq, stored, entry_id, entry_at in rows:
        found.append(Link(seq, bytes(stored), entry_id, entry_at, previous))
        previous = bytes(stored)
    return found


#: Entries by id and time, as a link names them: their events and texts.
Messages = dict[tuple[int, datetime], tuple[str, str]]


def read_messages(links: Iterable[Link]) -> Messages:
    """What each link covers; entries that are gone are left out.

    The moments of the links keep PostgreSQL to their months.
    """
    links = list(links)
    if not links:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            f"""SELECT e.id, e."timestamp", e.event, {MESSAGE_SQL} FROM audit_entry e
                WHERE e.id = ANY(%s) AND e."timestamp" BETWEEN %s AND %s""",  # noqa: S608  a constant
            [
                [link.entry_id for link in links],
                min(link.entry_at for link in links),
                max(link.entry_at for link in links),
            ],
        )
        return {(row[0], row[1]): (row[2], row[3]) for row in cursor.fetchall()}


def check_links(after: Head, *, known: Mapping[int, bytes], archived: Archived, limit: int = CHUNK) -> Verdict:
    """Recompute the next links and name the first that is not as it was written.

    `known` are heads that went to the second sink. Nothing was left to look at when `reached` is `after`.
    """
    links = read_links(after, limit=limit)
    messages = read_messages(links)
    reached = after
    for link in links:
        problem = _problem(link, reached, messages, known, archived)
        if problem:
            return Verdict(reached, problem, link.entry_id)
        reached = Head(link.seq, link.hash)
    return Verdict(reached)


def _problem(
    link: Link,
    before: Head,
    messages: Messages,
    known: Mapping[int, bytes],
    archived: Archived,
) -> str:
    event, message = messages.get((link.entry_id, link.entry_at), ("gone", None))
    name = f"record {link.entry_id} ({event}, {link.entry_at:%Y-%m-%d %H:%M:%S} UTC)"
    if link.seq != before.seq + 1:
        return f"link {before.seq + 1} was removed, just before {name}"
    if message is not None:
        expected = link_hash(settings.AUDIT_CHAIN_KEY, before.hash, link.seq, message)
        if not hmac.compare_digest(expected, link.hash):
            return f"{name} was changed, or its link was"
    elif _is_elsewhere(link.entry_id):
        return f"record {link.entry_id} was changed: its time is not {link.entry_at:%Y-%m-%d %H:%M:%S} UTC any more"
    elif not archived(link):
        return f"{name} was removed"
    if link.seq in known and not hmac.compare_digest(known[link.seq], link.hash):
        return f"{name} differs from the checkpoint: the chain was rewritten"
    return ""


def _is_elsewhere(entry_id: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM audit_entry WHERE id = %s)", [entry_id])
        return bool(cursor.fetchone()[0])


def find_unlinked(first_id: int, last_id: int) -> tuple[int, str] | None:
    """The first entry among these ids that was put in past the chain, and what to say of it."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT e.id, e.event, e."timestamp" FROM audit_entry e WHERE e.id >= %s AND e.id <= %s
               AND NOT EXISTS (SELECT 1 FROM audit_link l WHERE l.entry_id = e.id AND l.entry_at = e."timestamp")
               ORDER BY e.id LIMIT 1""",
            [first_id, last_id],
        )
        row = cursor.fetchone()
    if row is None:
        return None
    return row[0], f"record {row[0]} ({row[1]}, {row[2]:%Y-%m-%d %H:%M:%S} UTC) was inserted past the chain"


def next_entry_id(first_id: int) -> int | None:
    """The lowest id of an entry from this one on, so that a gap of any size is one step; None when there is none."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT min(id) FROM audit_entry WHERE id >= %s", [first_id])
        found: int | None = cursor.fetchone()[0]
    return found


def newest_entry_id() -> int:
    """The highest id of an entry; 0 in an empty log."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id), 0) FROM audit_entry")
        return int(cursor.fetchone()[0])
