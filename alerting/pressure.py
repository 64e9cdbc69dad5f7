"""Back-pressure: new alerts are refused while too many deliveries wait (AD-8). PostgreSQL knows how many.

What counts is every open delivery: pending ones and those that will be tried again, merged ones included. Whether the
gate is closed is a row, so that all processes agree and a restart changes nothing.
"""

from __future__ import annotations

import logging
import time

from django.conf import settings
from django.db import connection

from alerting.claiming import OPEN
from alerting.errors import QueueFull
from alerting.metrics import QUEUE_FULL

log = logging.getLogger(__name__)

#: So long a process may believe that the queue is shallow; and shallow is less than this share of full.
BELIEVED_SECONDS = 0.25
SHALLOW = 0.25

# Counting ends where it makes no difference any more: the queue may be deeper than full.
_READ = f"""
SELECT g.closed, (SELECT count(*) FROM (SELECT FROM alerting_delivery WHERE {OPEN} LIMIT %s) AS waiting)
FROM alerting_gate g WHERE g.id = 1
"""  # noqa: S608 - our own constants
_CLOSE = "UPDATE alerting_gate SET closed = true, since = statement_timestamp() WHERE id = 1 AND NOT closed"
_OPEN = "UPDATE alerting_gate SET closed = false, since = statement_timestamp() WHERE id = 1 AND closed"

_shallow_until = 0.0


def require_room() -> None:
    """Raise `QueueFull` while the gate is closed; closes and opens it. Call it before an ingest's transaction.

    Raises `django.db.Error`.
    """
    if not has_room():
        raise refused()


def refused(*kept: str) -> QueueFull:
    """The refusal of a request, counted."""
    QUEUE_FULL.inc()
    return QueueFull(*kept)


def has_room() -> bool:
    """Whether the gate is open; closes and opens it.

    A quarter of a second's belief that the queue is shallow is the only memory of a process. Raises `django.db.Error`.
    """
    global _shallow_until
    if time.monotonic() < _shallow_until:
        return True
    full = settings.ALERT_QUEUE_FULL
    with connection.cursor() as cursor:
        cursor.execute(_READ, [full])
        closed, depth = cursor.fetchone()
        if depth >= full if not closed else depth >= settings.ALERT_QUEUE_RESUME:
            if not closed:
                cursor.execute(_CLOSE)
                if cursor.rowcount:
                    log.error("alert_queue_full", extra={"depth": depth})
            return False
        if closed:
            cursor.execute(_OPEN)
            if cursor.rowcount:
                log.info("alert_queue_accepts_again", extra={"depth": depth})
    if depth < SHALLOW * settings.ALERT_QUEUE_RESUME:
        _shallow_until = time.monotonic() + BELIEVED_SECONDS
    return True


def forget_depth() -> None:
    """Ask PostgreSQL at the next call, whatever was learnt before."""
    global _shallow_until
    _shallow_until = 0.0
