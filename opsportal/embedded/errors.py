"""What the embedded servers raise."""

from __future__ import annotations

from pathlib import Path

LOG_TAIL_BYTES = 4096


class EmbeddedServerError(RuntimeError):
    """An embedded server, or the start around it, failed.

    The text is one line (what happened, what to do); when `log` is given, the last lines of that
    file follow, indented.
    """

    def __init__(self, what: str, *, log: Path | None = None, lines: int = 8) -> None:
        self.what = what
        self.tail = tail(log, lines=lines) if log is not None else ""
        super().__init__(f"{what}\n{self.tail}" if self.tail else what)


def tail(log: Path, *, lines: int) -> str:
    """The last `lines` lines of a log, indented by four spaces; empty if it cannot be read."""
    try:
        with log.open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - LOG_TAIL_BYTES))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])
