"""Beat may run twice: one fires, the other takes over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import psycopg
import pytest
from celery import Celery
from celery.schedules import schedule
from django.conf import settings
from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks
from redis import Redis

from opsportal.beat import FROM_SETTINGS, LOCK_KEY, AdvisoryLockScheduler
from opsportal.embedded import EmbeddedPostgres, EmbeddedRedis
from opsportal.observability.leader import LeaderLock
from tests.servers import superuser_url
from tests.waiting import until

QUEUE = "beat-test"


@pytest.fixture
def celery_app() -> Iterator[Celery]:
    app = Celery("beat-test", set_as_current=False, broker=settings.REDIS_URL)
    app.conf.update(
        task_default_queue=QUEUE,
        result_expires=None,
        broker_connection_max_retries=1,
        broker_connection_retry_on_startup=True,
        task_publish_retry=False,
        beat_schedule={"tick": {"task": "test.tick", "schedule": schedule(3600.0), "options": {"expires": 7}}},
    )
    yield app
    app.close()


@pytest.fixture
def beats(transactional_db: None, celery_app: Celery) -> Iterator[Callable[[], AdvisoryLockScheduler]]:
    made: list[AdvisoryLockScheduler] = []

    def make() -> AdvisoryLockScheduler:
        made.append(AdvisoryLockScheduler(app=celery_app))
        return made[-1]

    yield make
    for beat in made:
        beat.close()


def tick(beat: AdvisoryLockScheduler, times: int = 5) -> float:
    """Let `beat` do all that is due now; the delay it asks for in the end."""
    delay = 0.0
    for _ in range(times):
        delay = beat.tick()
    return delay


def sent(redis: Redis) -> int:
    return redis.llen(QUEUE)  # type: ignore[return-value]


def make_due() -> None:
    PeriodicTask.objects.filter(name="tick").update(last_run_at=datetime(2020, 1, 1, tzinfo=UTC))
    PeriodicTasks.update_changed()


def end_lock_sessions() -> None:
    """What a dying server or a cut cable does to whoever holds the lock."""
    with psycopg.connect(superuser_url(), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'opsportal-beat'"
        )


def test_two_beats__one_task_due__is_sent_once(beats: Callable[[], AdvisoryLockScheduler], redis: Redis) -> None:
    """RUN-8: beat is safe to run twice."""
    first, second = beats(), beats()
    tick(first)
    make_due()
    for _ in range(4):
        tick(first)
        tick(second)
    assert sent(redis) == 1
    assert first._leads
    assert not second._leads


def test_second_beat__first_closes__takes_over_from_the_saved_times(
    beats: Callable[[], AdvisoryLockScheduler], redis: Redis
) -> None:
    """RUN-8: the successor neither misses the task nor repeats what was just fired."""
    first, second = beats(), beats()
    tick(first)
    make_due()
    tick(first)
    tick(second)
    assert sent(redis) == 1
    first.close()
    until(lambda: tick(second) <= 1.0 and second._leads, what="the second leads once the first's session has ended")
    assert sent(redis) == 1, "fired again what the first had fired"
    make_due()
    tick(second)
    assert sent(redis) == 2


def test_second_beat__first_dies_without_a_word__does_not_repeat_what_it_fired(
    beats: Callable[[], AdvisoryLockScheduler], redis: Redis
) -> None:
    """RUN-8: each firing is saved at once, not when the scheduler closes."""
    first, second = beats(), beats()
    tick(first)
    for _ in range(3):
        make_due()
        tick(first)
    assert sent(redis) == 3
    end_lock_sessions()
    tick(second)
    assert second._leads
    assert sent(redis) == 3


def test_leader__its_session_is_cut__waits_and_never_fires_beside_the_other(
    beats: Callable[[], AdvisoryLockScheduler], redis: Redis
) -> None:
    """RUN-8: losing the lock's connection ends the right to fire, before the next task."""
    first, second = beats(), beats()
    tick(first)
    make_due()
    end_lock_sessions()
    tick(second)  # finds its own waiting session cut as well, and connects again
    tick(second)
    assert second._leads
    tick(first)
    assert not first._leads
    assert sent(redis) == 1


def test_leader__lock_lost_within_the_tick__leaves_the_task_to_the_successor(
    beats: Callable[[], AdvisoryLockScheduler], redis: Redis
) -> None:
    """RUN-8: the lock is asked for again just before a task is sent."""
    first, second = beats(), beats()
    tick(first)
    end_lock_sessions()
    tick(second)
    entry = next(iter(first._schedule.values()))
    first.apply_entry(entry)
    assert sent(redis) == 0


def test_beat__postgresql_stops_and_returns__survives_and_goes_on(
    beats: Callable[[], AdvisoryLockScheduler], redis: Redis, postgres_server: EmbeddedPostgres
) -> None:
    """RUN-8: with PostgreSQL away beat fires nothing and lives; when it is back, so is beat."""
    beat = beats()
    tick(beat)
    assert beat._leads
    with postgres_server.stopped():
        assert tick(beat, 2) == 1.0
        assert not beat._leads
    tick(beat)
    assert beat._leads
    make_due()
    tick(beat)
    assert sent(redis) == 1


def test_beat__starts_while_postgresql_is_down__does_not_crash(
    beats: Callable[[], AdvisoryLockScheduler], postgres_server: EmbeddedPostgres
) -> None:
    """RUN-8: the order in which the processes start does not matter."""
    with postgres_server.stopped():
        beat = beats()
        assert beat.tick() == 1.0
    tick(beat)
    assert beat._leads


def test_beat__redis_down__lives_and_sends_when_it_is_back(
    beats: Callable[[], AdvisoryLockScheduler], redis: Redis, redis_server: EmbeddedRedis
) -> None:
    """A broker that is away costs turns, not the process."""
    beat = beats()
    tick(beat)
    make_due()
    with redis_server.stopped():
        tick(beat, 2)
    make_due()
    tick(beat)
    assert sent(redis) == 1


def test_take_over__schedule_of_the_settings__is_written_with_its_expiry(
    beats: Callable[[], AdvisoryLockScheduler],
) -> None:
    """RUN-9: a row whose entry left the settings goes; a row of somebody's own stays."""
    interval = IntervalSchedule.objects.create(every=1, period="hours")
    PeriodicTask.objects.create(name="gone", task="x", interval=interval, description=FROM_SETTINGS)
    PeriodicTask.objects.create(name="own", task="x", interval=interval)
    tick(beats())
    assert set(PeriodicTask.objects.values_list("name", flat=True)) == {"own", "tick"}
    assert PeriodicTask.objects.get(name="tick").expire_seconds == 7


def test_saving_a_run__somebody_edits_the_row__keeps_the_edit(
    beats: Callable[[], AdvisoryLockScheduler],
) -> None:
    """Saving when a task ran writes the two columns of the run and no other."""
    beat = beats()
    tick(beat)
    PeriodicTask.objects.filter(name="tick").update(enabled=False)
    entry = next(beat._schedule["tick"])
    entry.save()
    row = PeriodicTask.objects.get(name="tick")
    assert not row.enabled
    assert row.total_run_count == 1


@pytest.mark.django_db(transaction=True)
def test_leader_lock__held__is_refused_to_others_until_released() -> None:
    """One lock, one holder; free again as soon as the server has seen the holder's connection end."""
    one, other = (LeaderLock(LOCK_KEY, application_name="test") for _ in range(2))
    try:
        assert one.hold()
        assert one.hold()
        assert not other.hold()
        one.release()
        deadline = time.monotonic() + 5
        while not other.hold():
            assert time.monotonic() < deadline, "the lock was not freed"
    finally:
        one.release()
        other.release()
