"""Nothing reaches a log handler unsanitised, and no log line breaks the application."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import logging.handlers
import queue
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from opsportal.observability import context
from opsportal.observability.logs import configure_structlog, logging_config

SECRET = "hunter2secret"
MAIL = "bob@example.com"


class Keeper(logging.Handler):
    """A handler of somebody else's: keeps the raw records and prints all that a record has."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.stream = io.StringIO()
        self.setFormatter(logging.Formatter("%(message)s %(note)s", defaults={"note": ""}))

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.stream.write(self.format(record) + repr(record.__dict__) + "\n")


@pytest.fixture
def foreign() -> Iterator[tuple[logging.Logger, Keeper]]:
    """A child logger that does not propagate, with a handler added after everything was configured."""
    logger = logging.getLogger("somebody.elses.child")
    keeper = Keeper()
    logger.addHandler(keeper)
    logger.propagate = False
    logger.setLevel("DEBUG")
    yield logger, keeper
    logger.removeHandler(keeper)
    logger.propagate = True


@pytest.fixture
def portal_lines() -> Iterator[Any]:
    """What the portal's own handler would print as JSON, as a function that parses it."""
    stream = io.StringIO()
    config = logging_config(fmt="json", level="DEBUG")
    spec = config["formatters"]["portal"]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(spec.pop("()")(**spec))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel("DEBUG")
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.removeHandler(handler)
    root.setLevel(level)


class Subject:
    """An object whose text is personal."""

    def __str__(self) -> str:
        return f"{MAIL} password={SECRET}"

    __repr__ = __str__


def test_foreign_handler__message_args_extra__are_sanitised(foreign: tuple[logging.Logger, Keeper]) -> None:
    """SLA-5: no handler can bypass the sanitiser."""
    logger, keeper = foreign
    logger.info("login of %s with password=%s", MAIL, SECRET)
    logger.info("mapping %(who)s", {"who": MAIL})
    logger.info("object %s", Subject(), extra={"note": Subject(), "password": SECRET, "nested": {"token": SECRET}})
    logger.info({"token": SECRET, "who": MAIL})
    logger.info(Subject())
    logger.handle(logging.makeLogRecord({"levelno": 20, "msg": f"password={SECRET}", "message": MAIL, "email": MAIL}))
    shown = keeper.stream.getvalue()
    assert len(keeper.records) == 6
    assert SECRET not in shown
    assert "bob@" not in shown
    assert "***@example.com" in shown


def test_foreign_handler__exception_and_stack__are_sanitised(foreign: tuple[logging.Logger, Keeper]) -> None:
    """SLA-5: tracebacks carry values too, and a handler may print `exc_info` itself."""
    logger, keeper = foreign
    try:
        try:
            raise ValueError(f"redis://:{SECRET}@127.0.0.1/0")
        except ValueError as error:
            raise RuntimeError(f"mail to {MAIL}") from error
    except RuntimeError:
        logger.exception("failed", stack_info=True)
    shown = keeper.stream.getvalue()
    assert SECRET not in shown
    assert "bob@" not in shown
    assert "RuntimeError: mail to ***@example.com" in shown
    assert "redis://:***@127.0.0.1/0" in shown
    assert keeper.records[0].exc_info is None


def test_foreign_handler__what_a_logger_filter_adds__is_sanitised(foreign: tuple[logging.Logger, Keeper]) -> None:
    """SLA-5: the sanitiser stands after the logger's filters."""
    logger, keeper = foreign

    def add_mail(record: logging.LogRecord) -> bool:
        record.user_email = MAIL
        return True

    logger.addFilter(add_mail)
    try:
        logger.info("x")
    finally:
        logger.removeFilter(add_mail)
    assert "bob@" not in keeper.stream.getvalue()


def test_foreign_handler__structlog_event__is_sanitised(foreign: tuple[logging.Logger, Keeper]) -> None:
    """SLA-5: structlog's events pass the same point."""
    logger, keeper = foreign
    structlog.stdlib.get_logger(logger.name).warning("sent", to=MAIL, api_key=SECRET, d={"password": SECRET})
    shown = keeper.stream.getvalue()
    assert "sent" in shown
    assert SECRET not in shown
    assert "bob@" not in shown


def test_foreign_handler__queue_to_another_thread__is_sanitised(foreign: tuple[logging.Logger, Keeper]) -> None:
    """SLA-5: a queue handler sees only what was sanitised."""
    logger, _keeper = foreign
    waiting: queue.Queue[logging.LogRecord] = queue.Queue()
    handler = logging.handlers.QueueHandler(waiting)
    logger.addHandler(handler)
    try:
        logger.info("password=%s", SECRET)
    finally:
        logger.removeHandler(handler)
    assert SECRET not in repr(waiting.get_nowait().__dict__)


def test_logger__made_before_the_pipeline__is_covered() -> None:
    """SLA-5: configuring twice changes nothing, and loggers made earlier are covered."""
    configure_structlog()
    assert logging.Logger.callHandlers.__module__ == "opsportal.observability.records"


class Hostile:
    """Cannot be printed."""

    def __str__(self) -> str:
        raise RuntimeError(f"password={SECRET}")

    __repr__ = __str__


def test_log_line__cannot_be_formatted__neither_raises_nor_leaks(
    foreign: tuple[logging.Logger, Keeper], portal_lines: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """A log line must never crash the application, nor print its raw arguments on standard error."""
    logger, keeper = foreign
    logger.info("%d items for %s", MAIL)
    logger.info("%s", Hostile())
    logger.info(Hostile(), extra={"note": Hostile()})
    plain = logging.getLogger("plain")
    plain.warning("%d", MAIL)
    structlog.stdlib.get_logger("plain").warning("event", hostile=Hostile(), nan=float("nan"), **{"1": {2: {3}}})
    structlog.stdlib.get_logger("plain").warning("event %d", MAIL)
    assert len(keeper.records) == 3
    assert len(portal_lines()) >= 2
    everything = keeper.stream.getvalue() + json.dumps(portal_lines()) + capfd.readouterr().err
    assert "bob@" not in everything
    assert SECRET not in everything


def test_json_line__inside_a_request__has_the_fields_people_search_by(portal_lines: Any) -> None:
    """SLA-5: request_id, user and action on each line, whichever way it was logged."""
    with (
        context.bind(request_id="req-12345678", actor_label="olive", source="api"),
        structlog.contextvars.bound_contextvars(action="circuit_trip"),
    ):
        structlog.stdlib.get_logger("portal.test").info("circuit_tripped", category="manual")
        logging.getLogger("portal.test").info("plain %s", "line", extra={"status_code": 409})
    ours, plain = portal_lines()
    for line in (ours, plain):
        assert line["request_id"] == "req-12345678"
        assert line["user"] == "olive"
        assert line["action"] == "circuit_trip"
        assert line["source"] == "api"
        assert line["level"] == "info"
        assert line["logger"] == "portal.test"
        assert line["timestamp"].endswith("Z")
    assert list(ours)[:4] == ["timestamp", "level", "event", "logger"]
    assert ours["event"] == "circuit_tripped"
    assert plain["event"] == "plain line"
    assert plain["status_code"] == 409


def test_json_line__extra_named_like_a_field__cannot_forge_it(portal_lines: Any) -> None:
    """A caller's extra must not pass for level, logger or event."""
    logging.getLogger("portal.test").warning("real", extra={"event": "forged", "level": "forged", "logger": "forged"})
    [line] = portal_lines()
    assert (line["event"], line["level"], line["logger"]) == ("real", "warning", "portal.test")


def test_json_line__bound_values__are_sanitised(portal_lines: Any) -> None:
    """AC-5: what was bound to the context is added late, and sanitised all the same."""
    with context.bind(actor_label=MAIL, request_id="r" * 8), structlog.contextvars.bound_contextvars(note=MAIL):
        logging.getLogger("x").info("plain")
        structlog.stdlib.get_logger("x").info("ours")
    assert "bob@" not in json.dumps(portal_lines())


def test_json_line__exception__is_one_line_with_the_traceback(portal_lines: Any) -> None:
    """One line a fact: a traceback is a field."""
    for log in (structlog.stdlib.get_logger("x"), logging.getLogger("x")):
        try:
            raise KeyError("password=" + SECRET)
        except KeyError:
            log.exception("failed")
    lines = portal_lines()
    assert len(lines) == 2
    for line in lines:
        assert line["exception"].startswith("Traceback")
        assert SECRET not in json.dumps(line)


@pytest.mark.parametrize("fmt", ["json", "console"])
def test_logging_config__both_formats__are_accepted_by_the_standard_library(fmt: Any) -> None:
    """LOG_FORMAT: the dictionary is one that `dictConfig` takes."""
    configurator = logging.config.DictConfigurator(logging_config(fmt=fmt, level="INFO"))
    formatter = configurator.configure_formatter(configurator.config["formatters"]["portal"])
    record = logging.makeLogRecord({"msg": "hello", "levelname": "INFO", "levelno": 20, "name": "x"})
    assert "hello" in formatter.format(record)
