"""The lists are served by their indexes, in the order of their pages: their cost does not grow with the history."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from alerting.models import EventState, Severity, Status
from alerting.selectors import dashboard, deliveries, events, paging
from alerting.selectors.deliveries import DeliveryFilters
from alerting.selectors.events import EventFilters
from alerting.selectors.paging import Place, TooSlow, limited
from tests.alerting.operating import signed_in, text
from tests.servers import superuser_url

NOW = timezone.now()
EVENTS: dict[str, Callable[[], Any]] = {
    "newest": lambda: events.find_events(EventFilters()),
    "older": lambda: events.find_events(EventFilters(), before=Place(NOW, uuid.uuid4())),
    "newer": lambda: events.find_events(EventFilters(), after=Place(NOW, uuid.uuid4())),
    "rule": lambda: events.find_events(EventFilters(rule=7)),
    "severity": lambda: events.find_events(EventFilters(severity=Severity.CRITICAL)),
    "open": lambda: events.find_events(EventFilters(states=events.ACTIVE)),
    "firing": lambda: events.find_events(EventFilters(states=(EventState.FIRING,))),
    "muted": lambda: events.find_events(EventFilters(muted=True)),
    "time": lambda: events.find_events(EventFilters(since=NOW - timedelta(hours=1), until=NOW)),
    "label": lambda: events.find_events(EventFilters(label=("a", "b"))),
    "one": lambda: events.event_by_id(uuid.uuid4()),
}
DELIVERIES: dict[str, Callable[[], Any]] = {
    "newest": lambda: deliveries.find_deliveries(DeliveryFilters()),
    "older": lambda: deliveries.find_deliveries(DeliveryFilters(), before=5),
    "newer": lambda: deliveries.find_deliveries(DeliveryFilters(), after=5),
    "waiting": lambda: deliveries.find_deliveries(DeliveryFilters(statuses=deliveries.OPEN)),
    "poison": lambda: deliveries.find_deliveries(DeliveryFilters(statuses=(Status.POISON,))),
    "recipient": lambda: deliveries.find_deliveries(DeliveryFilters(recipient="0" * 16)),
    "event": lambda: deliveries.find_deliveries(DeliveryFilters(event=uuid.uuid4())),
    "of an event": lambda: deliveries.deliveries_of_event(uuid.uuid4()),
    "members": lambda: deliveries.members_of(5),
    "one": lambda: deliveries.delivery_by_number(5),
}


def plan_of(ask: Callable[[], Any], table: str) -> str:
    """How PostgreSQL answers the first question about this table when it may neither read all of it nor sort."""
    with CaptureQueriesContext(connection) as queries:
        ask()
    sql = next(query["sql"] for query in queries if f'FROM "{table}"' in query["sql"])
    with connection.cursor() as cursor:
        for way in ("seqscan", "sort", "bitmapscan", "incremental_sort"):
            cursor.execute(f"SET LOCAL enable_{way} = off")
        cursor.execute(f"EXPLAIN {sql}")
        return "\n".join(row[0] for row in cursor.fetchall())


@pytest.mark.parametrize("name", EVENTS)
def test_events__question__is_answered_in_the_order_of_an_index(db: None, name: str) -> None:
    """AL-9."""
    plan = plan_of(EVENTS[name], "alerting_event")
    assert "Index" in plan and "Seq Scan" not in plan and "Sort  (" not in plan, plan


@pytest.mark.parametrize("name", DELIVERIES)
def test_deliveries__question__is_answered_in_the_order_of_an_index(db: None, name: str) -> None:
    """AD-4."""
    plan = plan_of(DELIVERIES[name], "alerting_delivery")
    assert "Index" in plan and "Seq Scan" not in plan and "Sort  (" not in plan, plan


def test_dashboard__resolved_last__comes_from_its_own_index(db: None) -> None:
    """AL-3: however long the history is."""
    ask = dashboard.dashboard
    with CaptureQueriesContext(connection) as queries:
        ask()
    sql = next(query["sql"] for query in queries if 'ORDER BY "alerting_event"."resolved_at" DESC' in query["sql"])
    with connection.cursor() as cursor:
        for way in ("seqscan", "sort", "bitmapscan"):
            cursor.execute(f"SET LOCAL enable_{way} = off")
        cursor.execute(f"EXPLAIN {sql}")
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "resolved_at" in plan and "Seq Scan" not in plan and "Sort  (" not in plan, plan


def test_search__that_takes_too_long__ends_and_says_so(db: None) -> None:
    """AL-9: a search can be given up; what comes after it in the same transaction is as before."""
    with pytest.raises(TooSlow):
        with limited(0.05), connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(5)")
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("30s",)


@pytest.mark.django_db(transaction=True)
def test_pages__search_that_takes_too_long__say_that_nothing_is_known(
    users: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AL-9, Q-5: never an empty list that looks like an answer. The rows are held by somebody who changes the table."""
    monkeypatch.setattr(paging, "SEARCH_SECONDS", 0.1)
    client = signed_in(users.viewer)
    paths = {f"/admin/alerting/{name}/": name for name in ("events", "deliveries", "deliveries/poison")}
    for path in paths:
        text(client, path)
    with psycopg.connect(superuser_url()) as holder:
        holder.execute("LOCK TABLE alerting_event, alerting_delivery IN ACCESS EXCLUSIVE MODE")
        for path, name in paths.items():
            html = text(client, path)
            assert ("cannot be grouped in time" if "poison" in name else "This search takes too long") in html, path
        holder.rollback()
