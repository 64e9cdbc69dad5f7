"""A real worker on the real broker: what travels with a message arrives."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from celery import shared_task
from celery.contrib.testing.worker import start_worker

from opsportal.celery import app
from opsportal.observability import context

QUEUE = "worker-test"
_seen: list[context.RequestContext] = []
_arrived = threading.Event()


@shared_task(name="tests.outer")  # type: ignore[untyped-decorator]
def outer() -> None:
    """Sends another task, as services do."""
    inner.apply_async(queue=QUEUE)


@shared_task(name="tests.inner", bind=True, max_retries=1)  # type: ignore[untyped-decorator]
def inner(self) -> None:  # type: ignore[no-untyped-def]
    """Fails once, so that it is sent again by a retry."""
    _seen.append(context.current())
    if self.request.retries == 0:
        raise self.retry(countdown=0)
    _arrived.set()


@pytest.fixture
def worker(transactional_db: None) -> Iterator[None]:
    with start_worker(app, pool="solo", queues=[QUEUE], perform_ping_check=False, shutdown_timeout=20):
        yield


def test_task_of_a_task__retried__still_carries_the_request_that_began_it(worker: None) -> None:
    """SLA-5: one request id from the web to the last task."""
    _seen.clear()
    _arrived.clear()
    with context.bind(request_id="req-12345678", actor_id=7, actor_label="olive", source="portal"):
        outer.apply_async(queue=QUEUE)
    assert _arrived.wait(20)
    expected = context.RequestContext(request_id="req-12345678", actor_id=7, actor_label="olive", source="task")
    assert _seen == [expected, expected]
