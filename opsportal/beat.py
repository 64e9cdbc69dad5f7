"""The scheduler of Celery beat that is safe to run twice: only the holder of a PostgreSQL lock fires (RUN-8)."""

from typing import Any

import structlog
from celery.beat import ScheduleEntry, SchedulingError
from django.db import DatabaseError, InterfaceError, connections
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry
from kombu.exceptions import OperationalError as BrokerError

from opsportal.observability.leader import LeaderLock

log = structlog.stdlib.get_logger(__name__)

# "opsbeat" in ASCII. Advisory locks are per database, so two portals on one server do not meet.
LOCK_KEY = int.from_bytes(b"opsbeat", "big")
TRY_EVERY_SECONDS = 1.0
# Marks the rows that come from CELERY_BEAT_SCHEDULE, so that they go when their entry does (RUN-9).
FROM_SETTINGS = "From the portal's settings; changes made here are lost at the next start."


class RunEntry(ModelEntry):  # type: ignore[misc]
    """A schedule entry that saves only when it ran, not the whole row: somebody may be editing the rest."""

    def save(self) -> None:
        """Write the time and the count of runs. A row deleted meanwhile stays deleted."""
        PeriodicTask.objects.filter(pk=self.model.pk).update(
            last_run_at=self.model.last_run_at, total_run_count=self.model.total_run_count
        )


class AdvisoryLockScheduler(DatabaseScheduler):  # type: ignore[misc]
    """`DatabaseScheduler` that fires only while it holds the lock.

    Another one waits, tries each second, and takes over within about a second of the lock being free, from the
    times that the last one saved. With PostgreSQL away nobody holds the lock: nothing fires, beat stays alive, and
    whoever gets the lock when the server is back goes on. A task fired in the very moment of a crash may be fired
    again by the successor; none is fired by two that both live.
    """

    Entry = RunEntry

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._lock = LeaderLock(LOCK_KEY, application_name="opsportal-beat")
        self._leads = False
        self._schedule: dict[str, ScheduleEntry] = {}
        super().__init__(*args, **kwargs)
        self.max_interval: float = min(self.max_interval, TRY_EVERY_SECONDS)  # type: ignore[has-type]
        # Each firing is saved at once: a successor starts from there.
        self.sync_every_tasks = 1

    def setup_schedule(self) -> None:
        """Nothing yet: the schedule is read from the database, and ours written there, when the lock is taken."""

    @property
    def schedule(self) -> dict[str, ScheduleEntry]:
        """The entries as last read; refreshed from the database only by the one that leads."""
        if not self._leads:
            return self._schedule
        return super().schedule  # type: ignore[no-any-return]

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Fire what is due if the lock is ours; seconds until the next call, at most 1."""
        if not self._lock.hold():
            self._step_down("the lock was lost")
            return TRY_EVERY_SECONDS
        try:
            if not self._leads:
                self._take_over()
            return min(float(super().tick(*args, **kwargs)), TRY_EVERY_SECONDS)
        except (DatabaseError, InterfaceError, BrokerError) as error:
            # The lock's session lives but Django's or the broker's does not: read all again when it does.
            self._step_down(str(error))
            return TRY_EVERY_SECONDS

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        """Send one due task, unless the lock was lost since the tick began (the broker may have kept us waiting)."""
        if not self._lock.hold():
            log.warning("beat_task_left_to_successor", task=entry.task)
            return
        try:
            self.apply_async(entry, producer=producer, advance=False)
        except SchedulingError as error:
            # Its turn is over; it comes again at its next time, when the broker may be back.
            log.warning("beat_task_not_sent", task=entry.task, error=str(error))

    def close(self) -> None:
        """Save what was fired and free the lock, so that a waiting scheduler need not wait longer."""
        try:
            if self._leads:
                super().close()
        finally:
            self._leads = False
            self._lock.release()

    def sync(self) -> None:
        """Save the times of what was fired; never by one that does not lead, whose times are old."""
        if self._leads:
            super().sync()

    def _take_over(self) -> None:
        # Django's connection may date from before the server went away.
        connections.close_all()
        ours = {name: _row_fields(entry) for name, entry in self.app.conf.beat_schedule.items()}
        PeriodicTask.objects.filter(description=FROM_SETTINGS).exclude(name__in=ours).delete()
        self._initial_read = True
        self._heap = None
        self._leads = True
        self.install_default_entries(self.schedule)
        self.update_from_dict(ours)
        log.info("beat_leads", entries=len(self._schedule))

    def _step_down(self, reason: str) -> None:
        if self._leads:
            log.warning("beat_waits", reason=reason)
        self._leads = False
        self._heap = None
        # What is unsaved here is older than what a successor saves.
        self._dirty.clear()


def _row_fields(entry: dict[str, Any]) -> dict[str, Any]:
    """One entry of CELERY_BEAT_SCHEDULE as `ModelEntry.from_entry` wants it.

    Celery calls a message's life "expires"; the database's column, and the only name that is not silently dropped,
    is "expire_seconds".
    """
    options = dict(entry.get("options") or {})
    if "expires" in options:
        options["expire_seconds"] = options.pop("expires")
    return {**entry, "options": options, "description": FROM_SETTINGS}
