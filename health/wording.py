"""Figures of the health pages as people read them."""

from __future__ import annotations

import math

UNITS = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))


def latency_text(microseconds: float | None) -> str:
    """A latency with its unit and about three digits: `0.85 ms`, `4.2 ms`, `421 ms`, `1.42 s`; a dash for None."""
    if microseconds is None:
        return "–"
    milliseconds = microseconds / 1000
    if milliseconds < 0.995:
        return f"{milliseconds:.2f} ms"
    if milliseconds < 9.95:
        return f"{milliseconds:.1f} ms"
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    return f"{milliseconds / 1000:.2f} s"


def count_text(number: int, one: str, many: str) -> str:
    """A count with its noun: `1 probe`, `120,420 probes`."""
    return f"{number:,} {one if number == 1 else many}"


def share_text(share: float | None) -> str:
    """A share of 0 to 1 in per cent, cut and never rounded up: only what is whole reads `100 %`; a dash for None."""
    if share is None:
        return "–"
    if share >= 1:
        return "100 %"
    cut = math.floor(share * 10_000 + 1e-6) / 100
    return f"{cut:.2f} %" if cut >= 90 else f"{cut:.1f} %"


def span_text(seconds: float | None) -> str:
    """A length of time in its two largest units: `2 h 5 min`, `40 s`, `0 s`; empty for None."""
    if seconds is None:
        return ""
    rest, parts = max(0, round(seconds)), []
    for unit, size in UNITS:
        amount, rest = divmod(rest, size)
        if amount:
            parts.append(f"{amount} {unit}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"
