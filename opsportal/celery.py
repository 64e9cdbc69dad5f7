"""The Celery application, and what travels with a task besides its arguments."""

import logging.config
import os
import time
from typing import Any

import structlog
from celery import Celery, Task
from celery.signals import (
    before_task_publish,
    setup_logging,
    task_failure,
    task_postrun,
    task_prerun,
    worker_process_shutdown,
    worker_shutdown,
)

from opsportal.observability import context

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsportal.settings")

HEADER = "opsportal_context"

log = structlog.stdlib.get_logger(__name__)

app = Celery("opsportal")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


def _use_portal_logging(**_kwargs: Any) -> None:
    """Being connected keeps Celery from installing handlers of its own; ours is Django's LOGGING."""
    from django.conf import settings

    logging.config.dictConfig(settings.LOGGING)


def _send_context(headers: dict[str, Any] | None = None, **_kwargs: Any) -> None:
    if headers is not None:
        headers[HEADER] = context.to_headers(context.current())


class _Runs:
    """Tasks that are running in this process: how to undo what was bound for each, and when it began."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[Any, Any, float]] = {}

    def begin(self, task_id: str, task: Task, sent: context.RequestContext) -> None:
        token = context.push(
            request_id=sent.request_id or context.new_request_id(),
            ip=sent.ip,
            source="task",
            actor_id=sent.actor_id,
            actor_label=sent.actor_label,
        )
        bound = structlog.contextvars.bind_contextvars(task=task.name, task_id=task_id)
        self._open[task_id] = (token, bound, time.perf_counter())

    def end(self, task_id: str) -> float | None:
        """Undo what `begin` bound; seconds since then, None for a task that never began here."""
        opened = self._open.pop(task_id, None)
        if opened is None:
            return None
        token, bound, started = opened
        context.pop(token)
        try:
            structlog.contextvars.reset_contextvars(**bound)
        except ValueError:
            structlog.contextvars.clear_contextvars()
        return time.perf_counter() - started


_runs = _Runs()


def _bind_context(task_id: str, task: Task, **_kwargs: Any) -> None:
    # A worker spreads the message's headers over the request; an eager call keeps them apart.
    sent = task.request.get(HEADER) or (task.request.headers or {}).get(HEADER)
    _runs.begin(task_id, task, context.from_headers(sent))


def _unbind_context(task_id: str, task: Task, state: str | None = None, **_kwargs: Any) -> None:
    sent = context.current()
    seconds = _runs.end(task_id)
    if seconds is not None:
        # Failures were told by celery.app.trace, with their traceback; the rest is for whoever debugs.
        log.debug(
            "task_finished",
            task=task.name,
            task_id=task_id,
            state=state,
            request_id=sent.request_id,
            duration_ms=round(seconds * 1000, 1),
        )


def _count_failure(sender: Task, **_kwargs: Any) -> None:
    from opsportal.observability.metrics import TASK_FAILURES

    TASK_FAILURES.labels(task=sender.name).inc()


def _forget_child(pid: int | None = None, **_kwargs: Any) -> None:
    from opsportal.observability.metrics import forget_process

    forget_process(pid or os.getpid())


def _forget_worker(**_kwargs: Any) -> None:
    _forget_child(pid=os.getpid())


setup_logging.connect(_use_portal_logging)
before_task_publish.connect(_send_context)
task_prerun.connect(_bind_context)
task_postrun.connect(_unbind_context)
task_failure.connect(_count_failure)
worker_process_shutdown.connect(_forget_child)
worker_shutdown.connect(_forget_worker)
