"""The contract of a health reply (HM-3): what `GET {base}/health` must answer, and how a broken reply is explained."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Set
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from health.probes.base import Cause
from opsportal.observability.sanitise import clip

MAX_VALUE = 60
MAX_REASON = 200
#: Where `details` may say in words why a service is not healthy, in order of preference.
REASONS = ("reason", "message", "error")

_WINDOW = 8
_ISO = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d")
#: Go and Java write "never" as the year 1, others as the first day of Unix time.
_NEVER_BEFORE = 1971


def _iso_time(value: object) -> object:
    """ISO 8601 only: Pydantic by itself also takes seconds since 1970 for a time."""
    if value is None or (isinstance(value, str) and _ISO.match(value) and not value.startswith("9999")):
        return value
    raise PydanticCustomError("time", "not a time")


Time = Annotated[datetime | None, BeforeValidator(_iso_time)]


class HealthReply(BaseModel):
    """What a service answers to `GET /health`. Unknown fields are welcome; an optional field may be null or absent."""

    model_config = ConfigDict(extra="ignore", title="Health reply")

    status: Literal["healthy", "degraded", "unhealthy"] = Field(
        description="healthy: does its work. degraded: does its work, but slowly or partly. unhealthy: does not."
    )
    service: str = Field(
        min_length=1, max_length=100, description="The service's own name, the one it is registered under."
    )
    version: str | None = Field(None, max_length=100, description="The running version.")
    timestamp: Time = Field(None, description="When the reply was made, ISO 8601 with its zone.")
    details: Any = Field(
        None, description="Anything else. A text under reason, message or error is shown to the operators."
    )
    last_operation_at: Time = Field(None, description="When the service last did its work with success, ISO 8601.")
    last_signal_at: Time = Field(None, description="When the last signal was made.")
    last_order_at: Time = Field(None, description="When the last order was placed.")
    last_processed_at: Time = Field(None, description="When the last item was processed.")
    last_orchestration_at: Time = Field(None, description="When the last orchestration ended.")
    last_message_at: Time = Field(None, description="When the last message was handled.")
    last_reconciliation_at: Time = Field(None, description="When the last reconciliation ended.")
    last_risk_check_at: Time = Field(None, description="When the last risk check was made.")


OPERATIONS = tuple(name for name in HealthReply.model_fields if name.startswith("last_"))
TIMES = frozenset({"timestamp", *OPERATIONS})
_OPERATIONS = frozenset(OPERATIONS)


class Broken(ValueError):
    """A reply that breaks the contract. `field`: the field that does, else empty; `sentence`: why, in plain words."""

    def __init__(self, field: str, sentence: str, cause: Cause) -> None:
        super().__init__(sentence)
        self.field = field
        self.sentence = sentence
        self.cause = cause


def parse_reply(body: bytes) -> HealthReply:
    """The reply in `body`.

    Raises `Broken` for anything that is not one JSON object in UTF-8 which obeys the contract. A field given twice
    and the numbers NaN and Infinity, which JSON does not have, break it too: two readers could disagree on them.
    """
    try:
        reply = HealthReply.model_validate_json(body)
    except ValidationError as error:
        raise _explained(error, body) from None
    if body.count(b'"status"') > 1 or body.count(b'"service"') > 1 or b"NaN" in body or b"Infinity" in body:
        _read_strictly(body)
    return reply


def latest_operation(reply: HealthReply) -> tuple[str, datetime] | None:
    """The newest of the last-operation fields and its time in UTC; None when the service gives none.

    A time without a zone is read as UTC. A time before 1971 is how many languages write "never", and counts as none.
    """
    newest: tuple[str, datetime] | None = None
    for name, value in given_times(reply, _OPERATIONS):
        if value.year < _NEVER_BEFORE:
            continue
        moment = in_utc(value)
        if newest is None or moment > newest[1]:
            newest = (name, moment)
    return newest


def given_times(reply: HealthReply, names: Set[str]) -> Iterator[tuple[str, datetime]]:
    """Those fields among `names` in which the reply gives a time, and the time as it was given."""
    for name in reply.model_fields_set & names:
        value = getattr(reply, name)
        if value is not None:
            yield name, value


def in_utc(value: datetime) -> datetime:
    """`value` in UTC; with no zone it is UTC already."""
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def own_words(reply: HealthReply) -> str:
    """Why the service is not healthy, as its `details` tell it: masked, at most 200 characters; often empty."""
    details = reply.details
    if isinstance(details, str):
        return shown_text(details, MAX_REASON)
    if not isinstance(details, dict):
        return ""
    for name in REASONS:
        text = details.get(name)
        if isinstance(text, str) and (words := shown_text(text, MAX_REASON)):
            return words
    parts = [f"{name} is {part['status']}" for name, part in details.items() if _is_bad_part(part)]
    return shown_text(", ".join(parts), MAX_REASON)


def shown_text(text: str, limit: int) -> str:
    """`text` fit for a page or a row: masked, on one line, no control characters, at most `limit` characters."""
    plain = "".join(c if c.isprintable() else " " for c in text[: limit * _WINDOW])
    masked = clip(" ".join(plain.split()), limit * _WINDOW)
    return masked if len(masked) <= limit else f"{masked[: limit - 1]}…"


def shown_value(value: object) -> str:
    """A value of a reply as JSON would write it, masked, at most 60 characters; containers by their kind."""
    if isinstance(value, str):
        return f'"{shown_text(value, MAX_VALUE - 2)}"'
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return shown_text(json.dumps(value, default=str), MAX_VALUE)


def json_schema() -> dict[str, Any]:
    """The contract as JSON Schema (2020-12), as published in docs/contracts/health.schema.json."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **HealthReply.model_json_schema()}


# ---------------------------------------------------------------- explaining
def _is_bad_part(part: object) -> bool:
    return (
        isinstance(part, dict) and isinstance(part.get("status"), str) and part["status"] in ("degraded", "unhealthy")
    )


def _explained(error: ValidationError, body: bytes) -> Broken:
    first = error.errors(include_url=False)[0]
    kind, value = first["type"], first.get("input")
    if kind == "json_invalid":
        return Broken("", _not_json(body, str(first["ctx"]["error"])), Cause.NOT_JSON)
    if not first["loc"]:
        return Broken("", f"The reply is {shown_value(value)}; it must be a JSON object.", Cause.NOT_JSON)
    field = str(first["loc"][0])
    if kind == "missing":
        return Broken(field, f"`{field}` is missing.", Cause.FIELD)
    return Broken(field, f"`{field}` {_fault(field, kind, value)}", Cause.FIELD)


def _fault(field: str, kind: str, value: object) -> str:
    if kind == "string_too_short":
        return "is empty."
    if kind == "string_too_long":
        return f"is {len(str(value))} characters long; at most 100 are allowed."
    if field == "status":
        return f"is {shown_value(value)}; it must be healthy, degraded or unhealthy."
    if field in TIMES:
        return f"is {shown_value(value)}; it must be a time in ISO 8601 such as 2026-01-31T09:30:00Z."
    return f"is {shown_value(value)}; it must be a text."


def _not_json(body: bytes, error: str) -> str:
    if not body.strip():
        return "The reply is empty."
    if body.startswith(b"\xef\xbb\xbf"):
        return "The reply is not JSON: it begins with a byte order mark."
    if "recursion limit" in error:
        return "The reply is nested too deeply: more than 200 levels."
    try:
        text = body[: MAX_VALUE * _WINDOW].decode("utf-8", "strict" if len(body) <= MAX_VALUE * _WINDOW else "ignore")
    except UnicodeDecodeError:
        return "The reply is not JSON: it is not UTF-8 text."
    if not text.lstrip().startswith("{"):
        return f"The reply is not JSON: it begins with {shown_value(text.strip())}."
    return f"The reply is not JSON: {error}."


def _read_strictly(body: bytes) -> None:
    """Raises `Broken` for what two readers of JSON could read differently."""
    outermost: list[tuple[str, Any]] = []

    def remember(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal outermost
        outermost = pairs  # objects are completed from the inside out: the last one is the outermost
        return dict(pairs)

    def refuse(constant: str) -> None:
        raise Broken("", f"The reply is not JSON: it contains {constant}, which JSON does not have.", Cause.NOT_JSON)

    json.loads(body, object_pairs_hook=remember, parse_constant=refuse)
    names = [name for name, _ in outermost]
    for name in HealthReply.model_fields:
        if (times := names.count(name)) > 1:
            raise Broken(name, f"`{name}` is given {times} times; it must be given once.", Cause.FIELD)
