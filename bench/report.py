"""What a run was asked to do, and how its figures are shown and kept."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

RESULTS = Path(__file__).with_name("results")


@dataclass(frozen=True)
class Options:
    """Counts and times of a run; the defaults take about half an hour."""

    sessions: int = 100
    seconds: int = 3
    rounds: int = 3
    writers: int = 8
    steady_seconds: float = 5.0
    changes: int = 30
    pollers: int = 20
    services: int = 5_000
    rows: int = 1_000_000
    prometheus: bool = True
    wrk: bool = True


@dataclass(frozen=True)
class Table:
    """A title, a head and rows of text."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self) -> str:
        """Columns in line: the first to the left, figures to the right."""
        lines = [self.head, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.head))]
        printed = [
            "  ".join(cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(cells))
            for cells in (list(zip(line, widths, strict=True)) for line in lines)
        ]
        return "\n".join([self.title, *(f"  {line}" for line in printed), ""])


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of the values do not exceed; 0.0 without values."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 1000) // 1000) - 1)] if ordered else 0.0


def machine() -> dict[str, Any]:
    """What the figures were measured on, and how busy others kept it in the second before."""
    return {
        "cpus": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "busy_percent": psutil.cpu_percent(interval=1.0),
    }


def save(found: dict[str, Any]) -> Path:
    """Write the figures with their date to a file of their own in bench/results/."""
    now = datetime.now(UTC)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{now:%Y%m%dT%H%M%SZ}.json"
    content = {"at": now.isoformat(timespec="seconds"), **found}
    path.write_text(json.dumps(content, indent=2, default=_plain) + "\n", encoding="utf-8")
    return path


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else str(value)
