"""The context of a request: bound at the door, gone at the end, carried to the task."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest
import structlog
from celery import shared_task
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from kombu.connection import Connection

import opsportal.celery as portal_celery
from opsportal.observability import context
from opsportal.observability.middleware import RequestContextMiddleware, bind_user

View = Callable[[HttpRequest], HttpResponse]


def run(view: View, path: str = "/x", **headers: str) -> HttpResponse:
    """One request through the middleware alone."""
    response = RequestContextMiddleware(view)(RequestFactory().get(path, headers=headers))
    assert isinstance(response, HttpResponse)
    return response


class Person(AnonymousUser):
    """A signed-in user without a database."""

    pk = 7  # type: ignore[assignment]
    is_authenticated = True  # type: ignore[assignment]

    def get_username(self) -> str:
        return "olive"


@pytest.mark.parametrize("given", ["abc-DEF_1.2", "x" * 64, "12345678"])
def test_middleware__acceptable_request_id__is_kept(given: str) -> None:
    """SLA-5: a proxy's request id runs through."""
    assert run(lambda request: HttpResponse(), **{"x-request-id": given})["X-Request-ID"] == given


@pytest.mark.parametrize(
    "given", ["", "short", "x" * 65, "with space 123", "new\nline123", "ünïcödé-123", "<script>alert(1)"]
)
def test_middleware__unacceptable_request_id__is_replaced(given: str) -> None:
    """SLA-5: what would spoil a log or a header is not repeated."""
    got = run(lambda request: HttpResponse(), **{"x-request-id": given})["X-Request-ID"]
    assert got != given
    assert len(got) == 32


def test_middleware__inside_and_after__context_is_bound_and_gone() -> None:
    """SLA-5: nothing of one request is left for the next in the same thread."""
    seen: list[context.RequestContext] = []

    def view(request: HttpRequest) -> HttpResponse:
        request.user = Person()
        bind_user(request)
        structlog.contextvars.bind_contextvars(action="left behind")
        seen.append(context.current())
        return HttpResponse()

    with context.bind(actor_label="somebody earlier", actor_id=1):
        response = run(view, "/api/v1/circuit")
        assert context.current().actor_label == "somebody earlier"
    assert seen == [
        context.RequestContext(
            request_id=response["X-Request-ID"], ip="127.0.0.1", source="api", actor_id=7, actor_label="olive"
        )
    ]
    assert context.current() == context.RequestContext()
    assert structlog.contextvars.get_contextvars() == {}


def test_middleware__anonymous__binds_no_actor() -> None:
    """A visitor is nobody, not the last one who was somebody."""

    def view(request: HttpRequest) -> HttpResponse:
        request.user = AnonymousUser()
        bind_user(request)
        return HttpResponse(context.current().actor_label)

    with context.bind(actor_label="somebody earlier"):
        assert run(view).content == b""


def test_middleware__view_raises__context_is_gone_all_the_same() -> None:
    """An error must not leave its context to the next request."""

    def view(request: HttpRequest) -> HttpResponse:
        raise SystemExit

    with pytest.raises(SystemExit):
        run(view)
    assert context.current() == context.RequestContext()


@pytest.mark.parametrize(
    ("path", "level"),
    [
        ("/admin/circuit/", "INFO"),
        ("/api/v1/circuit/trip", "INFO"),
        ("/api/v1/observations", "DEBUG"),
        ("/admin/circuit/fragment/", "DEBUG"),
        ("/metrics", "DEBUG"),
        ("/livez", "DEBUG"),
        ("/readyz", "DEBUG"),
        ("/health", "DEBUG"),
    ],
)
def test_middleware__request_finished__is_one_line_at_its_level(
    path: str, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    """SLA-5: polls and probes do not drown what people did; queries stay out of the line."""
    with caplog.at_level("DEBUG", logger="opsportal.observability.middleware"):
        run(lambda request: HttpResponse(status=204), f"{path}?token=x")
    [record] = [r for r in caplog.records if r.name == "opsportal.observability.middleware"]
    assert record.levelname == level
    assert isinstance(record.msg, dict)
    assert {**record.msg, "duration_ms": 0}.items() >= {
        "event": "request_finished", "method": "GET", "path": path, "status": 204, "duration_ms": 0,
    }.items()  # fmt: skip


def test_middleware__machines_values_refused__are_told(caplog: pytest.LogCaptureFixture) -> None:
    """SLA-5: what was taken is in its own tables, what was refused is nowhere but here."""
    with caplog.at_level("INFO", logger="opsportal.observability.middleware"):
        run(lambda request: HttpResponse(status=422), "/api/v1/observations")
    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_portal__any_page__answers_with_a_request_id(client: Client) -> None:
    """SLA-5: the middleware is in the stack, before everything else."""
    assert len(client.get("/livez")["X-Request-ID"]) == 32


def test_bind__unknown_field__is_refused() -> None:
    """A typing mistake must not go unnoticed."""
    with pytest.raises(TypeError), context.bind(requestid="x"):
        pass


@pytest.mark.parametrize("sent", [None, "text", {}, {"actor_id": "7", "source": "evil", "ip": 5, "request_id": None}])
def test_from_headers__malformed__falls_back(sent: object) -> None:
    """A message of an older or foreign sender must still run."""
    got = context.from_headers(sent)
    assert (got.request_id, got.ip, got.actor_id) == ("", None, None)


seen_in_task: list[tuple[context.RequestContext, dict[str, object]]] = []


@shared_task(name="tests.observe_context", bind=True)  # type: ignore[untyped-decorator]
def observe_context(self: object, *, fail: bool = False) -> None:
    """Notes what it sees."""
    seen_in_task.append((context.current(), structlog.contextvars.get_contextvars()))
    if fail:
        raise ValueError("asked to")


def test_shared_task__in_any_django_process__belongs_to_the_portals_app() -> None:
    """Otherwise `.delay()` in the web process would look for a broker of Celery's defaults."""
    assert observe_context.app is portal_celery.app


def test_task__published_in_a_request__carries_its_context_to_the_message(celery_messages: Connection) -> None:
    """SLA-5: from web to task; the header is in the message itself."""
    with context.bind(request_id="req-12345678", actor_id=7, actor_label="olive", ip="203.0.113.9", source="portal"):
        observe_context.apply_async(queue="context-test")
    message = celery_messages.SimpleQueue("context-test").get(timeout=5)  # type: ignore[no-untyped-call]
    assert context.from_headers(message.headers[portal_celery.HEADER]) == context.RequestContext(
        request_id="req-12345678", actor_id=7, actor_label="olive", ip="203.0.113.9", source="portal"
    )


@pytest.fixture
def celery_messages(redis: object) -> Iterator[Connection]:
    """The broker, to look at what was sent."""
    with portal_celery.app.connection_for_read() as connection:
        yield connection


def test_task__runs__under_the_senders_context_and_leaves_none(caplog: pytest.LogCaptureFixture) -> None:
    """SLA-5: request id and actor in the task's log lines and audit entries, source task."""
    seen_in_task.clear()
    sent = context.RequestContext(request_id="req-12345678", actor_id=7, actor_label="olive", source="portal")
    with context.bind(request_id="outer-request"):
        observe_context.apply(headers={portal_celery.HEADER: context.to_headers(sent)}, task_id="t-1")
        assert context.current().request_id == "outer-request"
    [(bound, fields)] = seen_in_task
    assert bound == context.RequestContext(request_id="req-12345678", actor_id=7, actor_label="olive", source="task")
    assert fields == {"task": "tests.observe_context", "task_id": "t-1"}
    assert structlog.contextvars.get_contextvars() == {}


def test_task__from_beat_or_a_stranger__gets_a_request_id_of_its_own() -> None:
    """SLA-5: each run can be found in the log."""
    seen_in_task.clear()
    observe_context.apply()
    assert len(seen_in_task[0][0].request_id) == 32


def test_task__fails__is_counted_and_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """Failures are never silent: a count by task, and one error line."""
    from opsportal.observability.metrics import TASK_FAILURES

    before = TASK_FAILURES.labels(task="tests.observe_context")._value.get()
    with caplog.at_level(logging.ERROR, logger="celery.app.trace"):
        observe_context.apply(kwargs={"fail": True})
    assert TASK_FAILURES.labels(task="tests.observe_context")._value.get() == before + 1
    assert context.current() == context.RequestContext()
    [record] = [r for r in caplog.records if r.name == "celery.app.trace"]
    assert "ValueError: asked to" in (record.exc_text or "") + str(record.msg)
