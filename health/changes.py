"""The recorded changes of status, newest first, page by page (HM-8). Reads PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from health.models import Status

PAGE = 50
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Cursor:
    """A place in the list: what comes after it is older."""

    at: datetime
    id: int

    def __str__(self) -> str:
        """For an address: microseconds since EPOCH and the id."""
        return f"{(self.at - EPOCH) // _MICROSECOND}-{self.id}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """The opposite of str(). Raises ValueError, in words for people, for anything else."""
        at, _, number = text.partition("-")
        digits = at + number
        try:
            if not (at and number and len(digits) <= 36 and digits.isascii() and digits.isdigit()):
                raise ValueError
            if int(number) >= 2**63:
                raise ValueError
            return cls(EPOCH + timedelta(microseconds=int(at)), int(number))
        except (ValueError, OverflowError) as error:
            raise ValueError("This is not a place in the list of changes.") from error


@dataclass(frozen=True)
class Change:
    """One recorded change of status.

    `at`: when it was recorded; `began_at`: when the first result of the new kind came. `seconds`: how long the former
    status had lasted, None when that is not known. `caused_by`: name of the service whose failure explains it, or "".
    """

    id: int
    service_id: int
    service_name: str
    at: datetime
    began_at: datetime
    from_status: Status
    to_status: Status
    cause: str
    field: str
    sentence: str
    caused_by: str
    planned: bool
    seconds: float | None


@dataclass(frozen=True)
class Changes:
    """A page of changes, newest first. `older`: where the next page begins; None on the last."""

    rows: tuple[Change, ...]
    older: Cursor | None


def transitions(service_id: int | None = None, before: Cursor | None = None, limit: int = PAGE) -> Changes:
    """The changes of one service, or of all, that are older than `before`. Raises `django.db.Error`."""
    conditions = ["true"]
    given: dict[str, Any] = {"limit": limit + 1}
    if service_id is not None:
        conditions.append("t.service_id = %(service)s")
        given["service"] = service_id
    if before is not None:
        conditions.append("(t.at, t.id) < (%(at)s, %(id)s)")
        given |= {"at": before.at, "id": before.id}
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT t.id, t.service_id, t.service_name, t.at, t.began_at, t.from_status, t.to_status, t.cause, t.field,
                t.sentence, coalesce(parent.name, ''), t.planned,
                extract(epoch FROM t.began_at - former.began_at)::float8
            FROM (SELECT * FROM health_transition t WHERE {" AND ".join(conditions)}
                  ORDER BY t.at DESC, t.id DESC LIMIT %(limit)s) AS t
            LEFT JOIN health_service parent ON parent.id = t.caused_by_id
            LEFT JOIN LATERAL (
                SELECT p.began_at FROM health_transition p
                WHERE p.service_id = t.service_id AND (p.at, p.id) < (t.at, t.id)
                ORDER BY p.at DESC, p.id DESC LIMIT 1
            ) AS former ON true
            ORDER BY t.at DESC, t.id DESC
            """,  # noqa: S608  (the conditions above)
            given,
        )
        found = cursor.fetchall()
    rows = tuple(_change(*row) for row in found[:limit])
    return Changes(rows, Cursor(rows[-1].at, rows[-1].id) if len(found) > limit else None)


def _change(*row: Any) -> Change:
    known = dict(zip((each.name for each in fields(Change)), row, strict=True))
    known |= {name: Status(known[name]) for name in ("from_status", "to_status")}
    if known["seconds"] is not None:
        known["seconds"] = max(0.0, known["seconds"])  # a clock that went back
    return Change(**known)
