"""The Procfile: the portal's processes and the command of each."""

from __future__ import annotations

import shlex
from pathlib import Path

from honcho.environ import parse_procfile  # type: ignore[import-untyped]

WORKERS = "--workers"


def commands(procfile: Path) -> dict[str, str]:
    """The command of each process, by its name, as it stands there."""
    return dict(parse_procfile(procfile.read_text(encoding="utf-8")).processes)


def arguments(procfile: Path, name: str, *, port: int = 0, host: str = "%h") -> list[str]:
    """The arguments that start this process on this port, under this host name (Celery's `%h`).

    Raises KeyError if the Procfile has no such line.
    """
    return shlex.split(commands(procfile)[name].replace("$PORT", str(port)).replace("%h", host))


def web_workers(procfile: Path) -> int:
    """How many processes answer requests. Raises ValueError if the `web` line does not say."""
    command = arguments(procfile, "web")
    return int(command[command.index(WORKERS) + 1])
