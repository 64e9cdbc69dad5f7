"""One service in the sweep."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from health.catalogue import Known
from health.judging import Track
from health.models import Status
from health.probes.base import Cause, ProbeResult, Target
from health.store import Record


@dataclass(slots=True)
class Slot:
    """One service in the sweep: when it is due, and what it last said."""

    known: Known
    target: Target
    duration: Any
    due: float
    #: The probe that is under way.
    task: asyncio.Task[None] | None = None
    track: Track = field(default_factory=Track)
    last: ProbeResult | None = None
    probed: float | None = None
    reply: ProbeResult | None = None
    replied: float | None = None
    reply_status: Status = Status.UNKNOWN
    last_operation_at: str = ""
    last_operation: str = ""
    version: str = ""
    latency_us: int | None = None

    def take(self, result: ProbeResult, now: float) -> None:
        """Remember a result; what an unanswered one cannot tell stays as it was."""
        self.last, self.probed = result, now
        if not result.answered:
            return
        self.replied, self.reply_status, self.latency_us = now, result.status, result.latency_us
        if result.status == Status.VIOLATION:
            return
        self.version = result.version
        if result.last_operation_at:
            self.last_operation_at = result.last_operation_at.isoformat()
            self.last_operation = result.last_operation

    def record(self, now: float) -> Record:
        """What the dashboards are told."""
        last, track = self.last, self.track

        def age(then: float | None) -> int | None:
            return None if then is None else int((now - then) * 1000)

        return Record(
            status=track.status.value,
            since_age=age(track.since),
            reply_status=self.reply_status.value,
            reply_age=age(self.replied),
            probe_age=age(self.probed),
            latency_us=self.latency_us,
            unconfirmed=track.candidate.value if track.unconfirmed else -1,
            seen=track.seen,
            needed=track.needed,
            cause=last.cause.value if last else "",
            field=last.field if last else "",
            sentence=last.sentence if last else "",
            version=self.version,
            last_operation_at=self.last_operation_at,
            last_operation=self.last_operation,
        )

    def restore(self, record: Record, age_ms: int, now: float) -> None:
        """Go on from what an earlier sweeper left."""

        def then(age: int | None) -> float | None:
            return None if age is None else now - (age + age_ms) / 1000

        self.track = Track(status=Status(record.status), since=then(record.since_age))
        self.probed, self.replied = then(record.probe_age), then(record.reply_age)
        self.reply_status, self.latency_us = Status(record.reply_status), record.latency_us
        self.version = record.version
        self.last_operation_at, self.last_operation = record.last_operation_at, record.last_operation
        if self.probed is not None:
            newest = Status(record.unconfirmed if record.unconfirmed >= 0 else record.status)
            self.last = ProbeResult(
                newest, record.latency_us, Cause(record.cause), field=record.field, sentence=record.sentence
            )
