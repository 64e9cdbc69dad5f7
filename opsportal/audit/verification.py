"""Verification that goes on by itself: new links every minute, the whole chain once a day, a bit at a time (AU-5).

No run holds a transaction or a worker for long: it looks at some thousands of links at once, notes how far it has
come, and stops when its time is up. The next one goes on from there.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

from django.db import transaction
from django.utils import timezone

from opsportal.audit import archives, chain, links, recorder
from opsportal.audit.links import Head, Verdict
from opsportal.audit.models import Archive, Run, Verification

log = logging.getLogger(__name__)

FULL_EVERY = timedelta(days=1)


@dataclass(frozen=True)
class Known:
    """What a run goes by: the heads in the second sink, and the months that are archived."""

    heads: dict[int, bytes]
    gone: archives.Gone

    @classmethod
    def now(cls, *, tail: bool) -> Known:
        """As it is at the moment; with `tail` only the newest heads."""
        return cls(chain.read_checkpoints(chain.checkpoint_file(), tail=tail), archives.Gone())


def verify_new(*, seconds: float, by_label: str = "") -> Verdict:
    """Look at the links since the last good one, for at most about `seconds`. A new problem is audited."""
    row, _ = Verification.objects.get_or_create(
        kind=Run.NEW, defaults={"started_at": timezone.now(), "hash": links.GENESIS}
    )
    return _walk(row, monotonic() + seconds, by_label)


def verify_all(now: datetime, *, seconds: float, by_label: str = "") -> Verdict | None:
    """Begin the daily look at the whole chain, or go on with it, for at most about `seconds`; None when none is due."""
    row = Verification.objects.filter(kind=Run.PASS).first()
    if row is None or row.finished_at:
        if row and row.started_at > now - FULL_EVERY:
            return None
        row, _ = Verification.objects.update_or_create(
            kind=Run.PASS,
            defaults={
                "started_at": now,
                "finished_at": None,
                "seq": 0,
                "hash": links.GENESIS,
                "problem": "",
                "entry_id": None,
                "ids_seen": 0,
                "notes_seen": 0,
            },
        )
    until = monotonic() + seconds
    verdict = _walk(row, until, by_label)
    if verdict.ok:
        if verdict.checked < chain.head().seq:
            return verdict  # the time is up; the next run goes on
        rest = _finish_pass(row, verdict, until)
        if rest is None:
            return verdict
        verdict = rest
    Verification.objects.filter(kind=Run.PASS).update(finished_at=timezone.now(), problem=verdict.problem)
    note_full(verdict, row.started_at, by_label=by_label)
    return verdict


def _finish_pass(row: Verification, reached: Verdict, until: float) -> Verdict | None:
    """What remains when every link is sound, as far as there is time; None when there is more to do."""
    if problem := chain.cut_off(chain.read_checkpoints(chain.checkpoint_file(), tail=True)):
        return Verdict(reached.reached, problem)
    if found := links.find_unlinked(links.LOWEST_ID, 0):
        return Verdict(reached.reached, found[1], found[0])  # ids that no sequence gives
    newest, notes = links.newest_entry_id(), list(Archive.objects.all())
    missing = {note.partition for note in archives.gone()}
    while row.ids_seen < newest or row.notes_seen < len(notes):
        if monotonic() >= until:
            return None
        if row.ids_seen < newest:
            first = links.next_entry_id(row.ids_seen + 1) or newest
            row.ids_seen = min(chain.last_of(first), newest)
            if found := links.find_unlinked(first, row.ids_seen):
                return Verdict(reached.reached, found[1], found[0])
        else:
            note, row.notes_seen = notes[row.notes_seen], row.notes_seen + 1
            if problem := archives.check_note(note, is_gone=note.partition in missing):
                return Verdict(reached.reached, problem)
        row.save(update_fields=["ids_seen", "notes_seen"])
    return reached


def verify_at_once(*, checkpoints: Path | None, archive: Path | None = None, by_label: str = "") -> Verdict:
    """The whole chain in one go, the files of archived months too when their folder is given; noted and audited."""
    started = timezone.now()
    verdict = chain.verify(checkpoints=checkpoints)
    if verdict.ok and archive:
        verdict = Verdict(verdict.reached, archives.check_files(archive))
    note_full(verdict, started, by_label=by_label, archive=str(archive or ""))
    return verdict


def note_full(verdict: Verdict, started_at: datetime, *, by_label: str = "", **details: Any) -> None:
    """Keep what a look at the whole chain has found, and audit it. A sound chain clears what was found before."""
    with transaction.atomic():
        Verification.objects.update_or_create(kind=Run.FULL, defaults=_found(verdict, started_at))
        if verdict.ok:
            Verification.objects.filter(kind=Run.NEW, seq__lte=verdict.checked).update(
                seq=verdict.reached.seq,
                hash=verdict.reached.hash,
                problem="",
                entry_id=None,
                finished_at=timezone.now(),
            )
        _audit(verdict, by_label, **details)
    if not verdict.ok:
        log.error("audit_chain_broken", extra={"problem": verdict.problem, "entry_id": verdict.entry_id})


def _walk(row: Verification, until: float, by_label: str) -> Verdict:
    """From the row's link on until the end, a problem, or the time is up; the row follows."""
    known = Known.now(tail=row.kind == Run.NEW)
    verdict = Verdict(Head(row.seq, bytes(row.hash)))
    while monotonic() < until:
        before = verdict.reached
        verdict = _changed_mark(before) or links.check_links(before, known=known.heads, archived=known.gone.covers)
        moved = Verification.objects.filter(kind=row.kind, seq=before.seq).update(
            seq=verdict.reached.seq,
            hash=verdict.reached.hash,
            problem=verdict.problem,
            entry_id=verdict.entry_id,
            **({"started_at": timezone.now(), "finished_at": timezone.now()} if row.kind == Run.NEW else {}),
        )
        if not moved or not verdict.ok or verdict.reached == before:
            break  # another process is ahead, something is wrong, or all was seen
    if not verdict.ok and verdict.problem != row.problem and row.kind == Run.NEW:
        _audit(verdict, by_label)
        log.error("audit_chain_broken", extra={"problem": verdict.problem, "entry_id": verdict.entry_id})
    return verdict


def _changed_mark(mark: Head) -> Verdict | None:
    """A problem when the link we stopped at is not the one it was: the chain was cut off, or written anew."""
    if mark.seq == 0:
        return None
    link = links.read_links(Head(mark.seq - 1, links.GENESIS), limit=1)
    if link and (link[0].seq, link[0].hash) == (mark.seq, mark.hash):
        return None
    return Verdict(mark, f"link {mark.seq} was verified before and is not the same any more: the chain was rewritten")


def _found(verdict: Verdict, started_at: datetime) -> dict[str, Any]:
    return {
        "started_at": started_at,
        "finished_at": timezone.now(),
        "seq": verdict.reached.seq,
        "hash": verdict.reached.hash,
        "problem": verdict.problem,
        "entry_id": verdict.entry_id,
    }


def _audit(verdict: Verdict, by_label: str, **details: Any) -> None:
    recorder.record(
        "audit_verify",
        outcome="success" if verdict.ok else "failed",
        actor_label=by_label,
        resource_type="audit_log",
        reason=verdict.problem,
        details={"sound": verdict.checked, **{name: value for name, value in details.items() if value}},
    )
