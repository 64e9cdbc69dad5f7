"""How the portal logs: structlog and the standard library, one pipeline, one line a fact."""

import json
import logging
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, Literal

import structlog

from opsportal.observability import context
from opsportal.observability.records import STANDARD_ATTRIBUTES, CleanEvent, install_record_sanitiser
from opsportal.observability.sanitise import clip_traceback, sanitise

Event = MutableMapping[str, Any]

_LEADING = ("timestamp", "level", "event", "logger", "request_id", "user", "action")

# Libraries that tell each step of work that is ours to tell, or that speak every second.
_QUIET_LOGGERS = (
    "amqp",
    "celery.app.trace",
    "celery.beat",
    "celery.bootsteps",
    "celery.redirected",
    "celery.utils.functional",
    "celery.worker.strategy",
    "django.db.backends",
    "django_celery_beat.schedulers",
    "factory",
    "faker",
    "kombu",
    "redis",
)


def logging_config(*, fmt: Literal["json", "console"], level: str) -> dict[str, Any]:
    """Django's LOGGING: one handler on standard error, everything through it.

    `fmt` is "json" (one object a line) or "console" (for people); `level` the name of the least level shown.
    """
    renderer = _console() if fmt == "console" else structlog.processors.JSONRenderer(serializer=_to_json)
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "portal": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": [
                    structlog.contextvars.merge_contextvars,
                    add_context,
                    add_record_fields,
                    sanitise_event,
                ],
                "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, order_fields, renderer],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "portal"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # Django's defaults give these handlers of their own; ours is on the root.
            "django": {"handlers": [], "level": level, "propagate": True},
            "django.server": {"handlers": [], "level": level, "propagate": True},
            **{name: {"level": "WARNING"} for name in _QUIET_LOGGERS},
        },
    }


def configure_structlog() -> None:
    """Send structlog through the standard library, and sanitise what passes there. Idempotent."""
    install_record_sanitiser()
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            add_context,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            merge_positional,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            sanitise_event,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def add_context(_logger: Any, _method: str, event: Event) -> Event:
    """Say which request and whose work the line belongs to, where that is known."""
    bound = context.current()
    if bound.request_id:
        event.setdefault("request_id", bound.request_id)
        event.setdefault("source", bound.source)
    if bound.actor_label:
        event.setdefault("user", bound.actor_label)
    return event


def merge_positional(_logger: Any, _method: str, event: Event) -> Event:
    """Put positional arguments into the event's text; arguments that do not fit stay beside it."""
    args = event.pop("positional_args", ())
    if args:
        try:
            event["event"] = str(event["event"]) % args
        except Exception:
            # A wrong template must not fail the work that it describes.
            event["arguments"] = args
    return event


def add_record_fields(_logger: Any, _method: str, event: Event) -> Event:
    """Give a record of the standard library the fields that structlog's events have."""
    record: logging.LogRecord = event["_record"]
    for name in record.__dict__.keys() - STANDARD_ATTRIBUTES:
        event.setdefault(name, record.__dict__[name])
    event["level"] = record.levelname.lower()
    event["logger"] = record.name
    event["timestamp"] = datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z")
    if record.exc_text:
        event["exception"] = record.exc_text
    if record.stack_info:
        event["stack"] = event.pop("stack_info", record.stack_info)
    return event


def sanitise_event(_logger: Any, _method: str, event: Event) -> Event:
    """Take secrets and personal data out of every field; structlog's own underscored fields stay."""
    own = {name: event.pop(name) for name in ("_record", "_from_structlog") if name in event}
    traces = {name: event.pop(name) for name in ("exception", "stack") if name in event}
    clean = CleanEvent(sanitise(event))
    clean.update({name: clip_traceback(str(trace)) for name, trace in traces.items()})
    clean.update(own)
    return clean


def order_fields(_logger: Any, _method: str, event: Event) -> Event:
    """The fields that people look for first, first."""
    ordered = {name: event[name] for name in _LEADING if name in event}
    ordered.update(event)
    return ordered


def _console() -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)


def _to_json(event: Event, **_options: Any) -> str:
    return json.dumps(event, default=str, allow_nan=False)
