"""Who and what the code at hand is working for: bound once at the door, read by logs and audit alike."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, cast, get_args

Source = Literal["portal", "api", "cli", "task", "rule"]
SOURCES: tuple[str, ...] = get_args(Source)


@dataclass(frozen=True, slots=True)
class RequestContext:
    """One piece of work. `request_id` is empty outside of any; `ip` is the client's, proxies resolved."""

    request_id: str = ""
    ip: str | None = None
    source: Source = "cli"
    actor_id: int | None = None
    actor_label: str = ""


_NOTHING_BOUND = RequestContext()
_context: ContextVar[RequestContext] = ContextVar("opsportal_request_context", default=_NOTHING_BOUND)


def new_request_id() -> str:
    """A fresh request id: 32 hexadecimal digits."""
    return uuid.uuid4().hex


def current() -> RequestContext:
    """The context of the work at hand; all defaults when nothing is bound."""
    return _context.get()


@contextmanager
def bind(**fields: Any) -> Iterator[RequestContext]:
    """Change the named fields of the current context inside the block; what was before returns after it.

    Raises TypeError for a field that `RequestContext` does not have.
    """
    token = push(**fields)
    try:
        yield _context.get()
    finally:
        pop(token)


def push(**fields: Any) -> Token[RequestContext]:
    """As `bind`, for callers whose start and end are two functions; undo with `pop`."""
    return _context.set(replace(_context.get(), **fields))


def pop(token: Token[RequestContext]) -> None:
    """Undo the `push` that gave `token`."""
    try:
        _context.reset(token)
    except ValueError:
        # The end runs in another context than the start (a task pool's thread): nothing here to restore.
        _context.set(_NOTHING_BOUND)


def bind_actor(*, actor_id: int | None, actor_label: str) -> None:
    """Name the actor of the current work, until the door that bound the rest unbinds it."""
    _context.set(replace(_context.get(), actor_id=actor_id, actor_label=actor_label))


def to_headers(context: RequestContext) -> dict[str, Any]:
    """`context` as plain values that travel with a task's message."""
    return asdict(context)


def from_headers(headers: object) -> RequestContext:
    """What `to_headers` made, checked field by field; unknown or malformed values fall back to defaults."""
    if not isinstance(headers, dict):
        return _NOTHING_BOUND
    actor_id = headers.get("actor_id")
    source = headers.get("source")
    ip = headers.get("ip")
    return RequestContext(
        request_id=str(headers.get("request_id") or "")[:64],
        ip=ip if isinstance(ip, str) else None,
        source=cast(Source, source) if source in SOURCES else "task",
        actor_id=actor_id if isinstance(actor_id, int) else None,
        actor_label=str(headers.get("actor_label") or "")[:254],
    )
