"""A revoked key opens nothing any more: everywhere, at once, also with Redis stopped."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client
from django.test import Client
from django.utils import timezone

from apikeys import recognising, services
from apikeys.models import ApiKey
from opsportal.accounts.refusals import InvalidInput, WrongState
from opsportal.audit.models import Entry
from tests.apikeys.conftest import REASON, bearer
from tests.desk import DESK
from tests.waiting import until

SELF = "/api/v1/apikeys/self"


def status(key: str) -> int:
    return int(Client().get(SELF, **bearer(key)).status_code)


def test_revocation__is_written_announced_and_audited(
    made: Any, redis: redis_client.Redis, django_capture_on_commit_callbacks: Any
) -> None:
    """AK-5: reason, `revoked_at`, and the mark in Redis for five minutes; a reader sees the mark before the row."""
    key, text = made()
    assert status(text) == 200
    with django_capture_on_commit_callbacks(execute=False):
        done = services.revoke_key(key, by=DESK, reason=f"  Seen in a chat:   {text} ")
        assert redis.get(f"api_key_revoked:{key.prefix}") == "1", "before the commit"
    assert done.announced and 290 <= redis.ttl(f"api_key_revoked:{key.prefix}") <= 300
    key.refresh_from_db()
    assert key.revoked_at is not None and key.revoked_by == "desk"
    assert key.revoke_reason == f"Seen in a chat: {key.prefix}…***"
    entry = Entry.objects.get(event="api_key_revoke")
    assert (entry.resource_id, entry.reason, entry.actor_label) == (key.prefix, key.revoke_reason, "desk")
    assert status(text) == status(text) == 401


def test_mark__is_set_again_on_commit(
    made: Any, redis: redis_client.Redis, django_capture_on_commit_callbacks: Any
) -> None:
    """AK-5: it outlives every copy of the row that was read until the commit."""
    key, _ = made()
    with django_capture_on_commit_callbacks(execute=True):
        services.revoke_key(key, by=DESK, reason=REASON)
        redis.flushall()
    assert redis.exists(f"api_key_revoked:{key.prefix}")


def test_mark_alone__without_the_row__is_enough(made: Any, redis: redis_client.Redis) -> None:
    """AK-5: cache first: what another process has announced counts, whatever this one remembers."""
    key, text = made()
    assert status(text) == 200
    redis.set(f"api_key_revoked:{key.prefix}", "1")
    assert status(text) == 401


def test_mark__on_a_busy_key__is_seen_within_a_quarter_of_a_second(
    made: Any, redis: redis_client.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AK-5: what Redis last said of a key serves no longer."""
    key, text = made()
    assert [status(text) for _ in range(3)] == [200] * 3
    redis.set(f"api_key_revoked:{key.prefix}", "1")
    assert recognising.MARK_SECONDS <= 0.25
    later = time.monotonic() + recognising.MARK_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert status(text) == 401


def test_row_alone__without_the_mark__is_enough_once_the_copy_is_old(
    made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AK-5: database second: a revocation that Redis never heard of bites within `ROW_SECONDS`, under a second."""
    key, text = made()
    assert status(text) == 200
    ApiKey.objects.filter(pk=key.pk).update(revoked_at=timezone.now())
    assert status(text) == 200, "believed for less than a second"
    assert recognising.ROW_SECONDS < 1
    later = time.monotonic() + recognising.ROW_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert status(text) == 401


def test_row__read_slowly__is_as_old_as_the_beginning_of_the_reading(
    made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AK-5: what was asked for before a revocation and came after it is not taken for fresh."""
    key, _ = made()
    began = time.monotonic()
    moments = iter([began, began + 5])
    monkeypatch.setattr(time, "monotonic", lambda: next(moments, began + 5))
    known = recognising._read(key.prefix)
    assert known is not None and known.read_at == began


@pytest.mark.parametrize("reason", ["", "   ", "nineteen characters", "a" + " " * 40 + "b", "\x00" * 30, "x" * 1_001])
def test_reason__too_short_or_unfit__is_refused(made: Any, reason: str, redis: redis_client.Redis) -> None:
    """AK-5: 20 characters after trimming; nothing happens to the key."""
    key, text = made()
    with pytest.raises(InvalidInput) as refused:
        services.revoke_key(key, by=DESK, reason=reason)
    assert refused.value.field == "reason" and status(text) == 200
    assert not redis.exists(f"api_key_revoked:{key.prefix}")


def test_revocation__twice__second_says_who_and_when(made: Any) -> None:
    """AK-5: the first reason stays."""
    key, _ = made(name="gateway")
    services.revoke_key(key, by=DESK, reason=REASON)
    with pytest.raises(WrongState, match=r"“gateway” was revoked by desk at .* UTC"):
        services.revoke_key(key, by=DESK, reason="Another reason, long enough.")
    assert Entry.objects.filter(event="api_key_revoke").count() == 1


def test_old_key__of_a_rotation__stays_valid_until_it_is_revoked(made: Any) -> None:
    """AK-6, AK-5: and then the new one is not touched."""
    old, old_text = made()
    _, new = services.rotate_key(old, by=DESK)
    assert status(old_text) == status(new.text) == 200
    services.revoke_key(old, by=DESK, reason=REASON)
    assert (status(old_text), status(new.text)) == (401, 200)


OTHER_PROCESS = f"""
import sys, time, django
django.setup()
from django.test import Client
from django.test.utils import setup_test_environment
setup_test_environment()
key = sys.stdin.readline().strip()
while True:
    began = time.time()
    print(began, Client().get({SELF!r}, HTTP_AUTHORIZATION=f"Bearer {{key}}").status_code, flush=True)
    time.sleep(0.01)
"""


@contextlib.contextmanager
def another_process(key: str, notes: Path) -> Iterator[Callable[[], list[tuple[float, int]]]]:
    """A second process that calls with the key without pause; gives a function that reads its answers so far."""
    with notes.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", OTHER_PROCESS], stdin=subprocess.PIPE, stdout=out, stderr=subprocess.DEVNULL
        )

    def read() -> list[tuple[float, int]]:
        assert process.poll() is None, "the other process ended"
        lines = notes.read_text().split("\n")[:-1]
        return [(float(began), int(code)) for began, code in (line.split() for line in lines)]

    assert process.stdin
    try:
        process.stdin.write(f"{key}\n".encode())
        process.stdin.flush()
        yield read
    finally:
        process.kill()
        process.communicate(timeout=10)


@pytest.mark.parametrize(("redis_stopped", "within"), [(False, 0.3), (True, 1.0)])
def test_revocation__in_another_process__bites_within_a_second(
    transactional_db: None, made: Any, redis_server: Any, tmp_path: Path, redis_stopped: bool, within: float
) -> None:
    """AK-5: with Redis in a quarter of a second, without it in a second, in a process that has just used the key."""
    key, text = made()
    with another_process(text, tmp_path / "answers") as read, contextlib.ExitStack() as stack:
        until(lambda: len(read()) >= 5)
        if redis_stopped:
            stack.enter_context(redis_server.stopped())
        done = services.revoke_key(key, by=DESK, reason=REASON)
        revoked = time.time()
        assert done.announced is not redis_stopped
        until(lambda: read()[-1][0] > revoked + within + 0.2)
        answers = read()
    assert {code for began, code in answers if began < revoked - 1} <= {200}
    assert {code for began, code in answers if began > revoked + within} == {401}


def test_revocation__redis_back_and_empty_again__stays_dead(
    transactional_db: None, made: Any, redis_server: Any, redis: redis_client.Redis
) -> None:
    """AK-5: Redis was down when it happened and knows nothing of it; no copy of the row is believed for long."""
    key, text = made()
    assert status(text) == 200
    elsewhere = dict(recognising._rows)
    with redis_server.stopped():
        services.revoke_key(key, by=DESK, reason=REASON)
    redis.flushall()
    recognising._rows.update(elsewhere)  # as in a process that took no part in it
    until(lambda: status(text) == 401, seconds=recognising.ROW_SECONDS + 2)
    assert status(text) == 401
