"""Back-pressure: new alerts are refused while too many deliveries wait (AD-8). PostgreSQL knows how many."""

from __future__ import annotations


def require_room() -> None:
    """Raise `QueueFull` while the gate is closed; closes and opens it. Call it before an ingest's transaction."""
    raise NotImplementedError
