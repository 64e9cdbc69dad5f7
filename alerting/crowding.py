"""How many alerts from outside may be open at a time: a sender gone mad must not drown those that matter.

Each open alert is compared, shown and looked at every second. At the bound only what is about open ones is taken.
"""

from __future__ import annotations

import logging
import time

from django.conf import settings
from django.db import connection

from alerting.errors import TooManyOpen
from alerting.metrics import TOO_MANY_OPEN
from alerting.models import Origin

log = logging.getLogger(__name__)

#: So long a process may believe that there are few; and few is less than this share of the bound.
BELIEVED_SECONDS = 0.25
FEW = 0.25
_OUTSIDE = (Origin.DIRECT, Origin.PROMETHEUS, Origin.ALERTMANAGER, Origin.GRAFANA)

# Counting ends where it makes no difference any more.
_COUNT = (
    "SELECT count(*) FROM (SELECT FROM alerting_event WHERE state <> 'resolved' AND origin = ANY(%s) LIMIT %s) AS open"
)

_few_until = 0.0


def has_place() -> bool:
    """Whether alerts from outside may still begin; the request that reaches the bound is taken whole.

    Raises `django.db.Error`.
    """
    global _few_until
    most = settings.ALERT_MOST_OPEN
    if time.monotonic() < _few_until:
        return True
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, [list(_OUTSIDE), most])
        number = int(cursor.fetchone()[0])
    if number < FEW * most:
        _few_until = time.monotonic() + BELIEVED_SECONDS
    return number < most


def refused(*kept: str) -> TooManyOpen:
    """The refusal of a request, counted and logged."""
    TOO_MANY_OPEN.inc()
    log.warning("alerts_too_many_open", extra={"most": settings.ALERT_MOST_OPEN})
    return TooManyOpen(settings.ALERT_MOST_OPEN, *kept)


def forget_place() -> None:
    """Count at the next call, whatever was learnt before."""
    global _few_until
    _few_until = 0.0
