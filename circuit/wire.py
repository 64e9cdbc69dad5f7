"""The breaker as it lies in Redis: both dialects read, one written (CB-2, CB-3). No I/O here."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from circuit.models import State
from opsportal.accounts.stepup import REASON_MAX
from opsportal.observability.sanitise import mask_text

Dialect = Literal["canonical", "json"]

STATE_KEY = "circuit_breaker:state"
REASON_KEY = "circuit_breaker:last_trip_reason"
AT_KEY = "circuit_breaker:last_trip_at"
HISTORY_KEY = "circuit_breaker:trip_history"
#: Ours alone: what the portal wrote last, by whom, and so what somebody else has changed since.
NOTE_KEY = "opsportal:circuit:note"
SPOOL_KEY = "opsportal:circuit:spool"
SPOOL_REFUSED_KEY = "opsportal:circuit:spool:refused"
COOLDOWN_KEY = "opsportal:circuit:reset_cooldown"

#: A reason of ours is never longer; one of another writer is cut.
#: Platform builds cap the history at this many entries.
HISTORY_LENGTH = 1000


@dataclass(frozen=True)
class Note:
    """What the portal wrote last, kept beside the platform's keys."""

    id: str  # of the transition
    state: str | None  # the raw text of STATE_KEY at that time
    at: str | None  # the raw text of AT_KEY at that time
    to_state: State
    by: str
    source: str
    since: str  # ISO 8601 UTC: when `to_state` began
    trip_by: str = ""  # who tripped it last, kept over a reset
    trip_source: str = ""

    def dump(self) -> str:
        """The text kept in Redis."""
        return json.dumps(self.__dict__, separators=(",", ":"))

    @classmethod
    def parse(cls, raw: str | None) -> Note | None:
        """The note, or None when there is none or it is not one of ours."""
        try:
            fields = json.loads(raw or "")
            uuid.UUID(fields["id"])
            return cls(**{**fields, "to_state": State(fields["to_state"])})
        except (ValueError, TypeError, KeyError, AttributeError):
            return None


@dataclass(frozen=True)
class Snapshot:
    """The four raw texts of one atomic read; None where a key is missing or of another type."""

    state: str | None
    reason: str | None
    at: str | None
    note: str | None


@dataclass(frozen=True)
class Decoded:
    """What a snapshot says."""

    state: State
    dialect: Dialect | None
    reason: str
    at: datetime | None
    at_raw: str  # the text of a time that could not be read, else empty
    note: Note | None  # None when somebody else has written since the portal last looked
    problem: str

    @property
    def since(self) -> datetime | None:
        """When the present state began, as far as is known."""
        return parse_instant(self.note.since) if self.note else None


def decode(raw: Snapshot) -> Decoded:
    """Understand a snapshot in either dialect. Anything unexpected is UNKNOWN, with a sentence that says why."""
    fields, dialect, problem = parse_state(raw.state)
    state = State.UNKNOWN
    if not problem:
        wire = str(fields.get("state"))
        if wire in (State.OPEN, State.TRIPPED, State.QUIET_PERIOD):
            state = State(wire)
        else:
            problem = f"The platform reports a state that the portal does not know: “{wire[:40]}”."
    reason = str(fields.get("trip_reason") or raw.reason or "")
    at_raw = str(fields.get("tripped_at") or raw.at or "")
    at = parse_instant(at_raw)
    note = Note.parse(raw.note)
    if note and (note.state, note.at) != (raw.state, raw.at):
        note = None  # somebody else has written since
    return Decoded(
        state=state,
        dialect=dialect,
        reason=mask_text(reason)[:REASON_MAX],  # somebody else may have written it
        at=at,
        at_raw="" if at else at_raw,
        note=note,
        problem=problem,
    )


def parse_state(raw: str | None) -> tuple[dict[str, Any], Dialect | None, str]:
    """The fields of a STATE_KEY text, its dialect, and a sentence when it says nothing (then the fields are empty)."""
    if raw is None:
        return {}, None, "Redis holds no breaker state. Nobody has initialised it, or Redis has lost its data."
    if not raw.lstrip().startswith("{"):
        return {"state": raw}, "canonical", ""
    try:
        fields = json.loads(raw)
    except ValueError:
        return {}, "json", "The breaker state in Redis is broken JSON."
    return fields, "json", ""


def parse_instant(text: str) -> datetime | None:
    """An ISO 8601 time as aware UTC; a time without zone counts as UTC. None when it is not one."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def instant_text(moment: datetime) -> str:
    """ISO 8601 UTC, as the platform writes it."""
    return moment.astimezone(UTC).isoformat()


def encode_state(dialect: str, raw: Snapshot, to_state: State, *, reason: str, by: str, now: datetime) -> str:
    """The new text of STATE_KEY. In the JSON dialect every field that the platform keeps there survives."""
    if dialect == "canonical":
        return to_state.value
    fields: dict[str, Any] = {
        "tripped_at": None,
        "trip_reason": None,
        "trip_details": None,
        "reset_at": None,
        "reset_by": None,
        "trip_count_today": 0,
    }
    previous, seen, problem = parse_state(raw.state)
    if seen == "json" and not problem:
        fields |= previous
    fields["state"] = to_state.value
    if to_state == State.TRIPPED:
        tripped_before = parse_instant(str(fields["tripped_at"] or ""))
        same_day = tripped_before is not None and tripped_before.date() == now.astimezone(UTC).date()
        count = fields["trip_count_today"] if isinstance(fields["trip_count_today"], int) else 0
        fields |= {
            "tripped_at": instant_text(now),
            "trip_reason": reason,
            "trip_details": {"by": by},
            "reset_at": None,
            "reset_by": None,
            "trip_count_today": count + 1 if same_day else 1,
        }
    else:
        fields |= {"reset_at": instant_text(now), "reset_by": by}
    return json.dumps(fields)


def history_member(*, transition_id: str, reason: str, by: str, now: datetime) -> str:
    """One member of the platform's trip history (JSON dialect)."""
    return json.dumps({"tripped_at": instant_text(now), "reason": reason, "details": {"by": by, "id": transition_id}})


def version_of(raw: Snapshot) -> str:
    """A short token that changes whenever the breaker's state, trip time or last transition does.

    A form carries it, so that an answer to an old page is recognised (12 hex digits of a SHA-256; not a secret).
    """
    text = "\x1f".join(part if part is not None else "\x00" for part in (raw.state, raw.reason, raw.at, raw.note))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
