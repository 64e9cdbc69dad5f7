"""Sanitises every log record before any handler sees it (SLA-5).

A sanitising formatter or handler filter is forgotten by the next handler that somebody adds. All loggers hand
their records to handlers in one place, `logging.Logger.callHandlers`; a record factory would be too early
(`extra` is added after it). So the sanitiser stands there, whatever handlers, formatters or propagation rules a
logger has, and whenever they were added.
"""

import logging
import traceback
from collections.abc import Mapping
from typing import Any

from opsportal.observability.sanitise import clip, clip_traceback, sanitise, sanitise_named

MESSAGE_LIMIT = 8_000

# What every record has; all else came from `extra` or a filter.
STANDARD_ATTRIBUTES = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
# How structlog hands its logger to its formatter: objects, never printed.
_STRUCTLOG_ATTRIBUTES = frozenset(("_logger", "_name"))

_call_handlers = logging.Logger.callHandlers


class CleanEvent(dict[str, Any]):
    """An event that has been through the sanitiser, so that it need not go twice."""


def install_record_sanitiser() -> None:
    """Put the sanitiser before the handlers of every logger, present and future. Idempotent."""
    logging.Logger.callHandlers = _call_handlers_sanitised  # type: ignore[method-assign,assignment]


def sanitise_record(record: logging.LogRecord) -> None:
    """Replace message, arguments, extra attributes, traceback and stack of `record` by sanitised ones.

    Arguments are merged into the message, and `exc_info` becomes `exc_text`, since a handler could print either raw.
    Never raises: a record that cannot be sanitised loses its content, not its place.
    """
    try:
        _sanitise_message(record)
        _sanitise_traces(record)
        for name in record.__dict__.keys() - STANDARD_ATTRIBUTES - _STRUCTLOG_ATTRIBUTES:
            record.__dict__[name] = sanitise_named(name, record.__dict__[name])
    except Exception:
        _blank(record)


def _call_handlers_sanitised(logger: logging.Logger, record: logging.LogRecord) -> None:
    sanitise_record(record)
    _call_handlers(logger, record)


def _sanitise_message(record: logging.LogRecord) -> None:
    if isinstance(record.msg, CleanEvent) and not record.args:
        return
    if isinstance(record.msg, Mapping) and not record.args:
        record.msg = CleanEvent(sanitise(record.msg))
        return
    try:
        message = record.getMessage()
    except Exception:
        # Wrong arguments for the template: the line still tells what was meant.
        message = f"{record.msg} {sanitise(record.args)}"
    record.msg = clip(message, MESSAGE_LIMIT)
    record.args = ()
    if "message" in record.__dict__:
        record.message = record.msg


def _sanitise_traces(record: logging.LogRecord) -> None:
    if record.exc_info and record.exc_info[0] is not None:
        record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip()
    record.exc_info = None
    if record.exc_text:
        record.exc_text = clip_traceback(record.exc_text)
    if record.stack_info:
        record.stack_info = clip_traceback(record.stack_info)


def _blank(record: logging.LogRecord) -> None:
    for name in record.__dict__.keys() - STANDARD_ATTRIBUTES - _STRUCTLOG_ATTRIBUTES:
        del record.__dict__[name]
    record.msg = "[a log record could not be sanitised and was left out]"
    record.args = ()
    record.exc_info = None
    record.exc_text = None
    record.stack_info = None
    record.__dict__.pop("message", None)
