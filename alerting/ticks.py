"""When the ticker last looked at what the portal watches itself: a row, so that every process knows of its death.

The time is PostgreSQL's, and so is each comparison with it.
"""

from __future__ import annotations

import psycopg
from django.conf import settings
from django.db import connection

from opsportal.observability.postgres import connect_apart
from opsportal.observability.probes import CachedProbe, Probe, probe_postgresql

#: The row is written at most this often, in seconds: five ticks.
MARK_EVERY = 5.0
#: So many seconds after the last mark nobody watches: two marks in a row were missed. A tick that takes long, or a
#: worker that is started anew, is back before.
STANDS_AFTER = 15.0

_MARK = "UPDATE alerting_gate SET ticked_at = statement_timestamp() WHERE id = 1"
#: Seconds; infinite where nobody has ever ticked.
AGE = "coalesce(extract(epoch FROM statement_timestamp() - ticked_at)::float8, 'infinity')"
_READ = f"SELECT {AGE} FROM alerting_gate WHERE id = 1"  # noqa: S608 - our own constant


class _Stands(Exception):
    """Nobody watches."""


def mark() -> None:
    """Say that everything was looked at just now. Raises `django.db.Error`."""
    with connection.cursor() as cursor:
        cursor.execute(_MARK)


def _ask() -> None:
    if not probe_postgresql().ok:  # known without waiting a second time
        raise _Stands
    with connect_apart(application_name="opsportal-probe") as apart:
        row = apart.execute(_READ).fetchone()
    if row is None or row[0] > STANDS_AFTER:
        raise _Stands


probe_ticks = CachedProbe(_ask, (psycopg.Error, OSError, _Stands))


def alerting_part() -> Probe | None:
    """Alerting as a part of the portal's own health; None where it is switched off."""
    return probe_ticks() if settings.FEATURES["alerting"] else None
