"""The list of recorded changes: order, pages, how long the former status had lasted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from health.changes import Cursor, transitions
from health.models import Service, Status, Transition

START = datetime.now(UTC).replace(microsecond=123_456) - timedelta(hours=3)
MINUTE = timedelta(minutes=1)


def change(service_id: int, at: datetime, former: Status, present: Status, **columns: Any) -> Transition:
    return Transition.objects.create(
        service_id=service_id,
        service_name=f"service-{service_id}",
        at=at,
        began_at=columns.pop("began_at", at),
        from_status=former,
        to_status=present,
        **columns,
    )


def test_transitions__of_one_service__are_its_own_newest_first(db: None) -> None:
    """HM-8."""
    change(1, START, Status.UNKNOWN, Status.HEALTHY)
    change(2, START + MINUTE, Status.UNKNOWN, Status.HEALTHY)
    change(
        1, START + 2 * MINUTE, Status.HEALTHY, Status.UNREACHABLE, cause="refused", sentence="Refused.", planned=True
    )
    rows = transitions(1).rows
    assert [(row.from_status, row.to_status, row.planned) for row in rows] == [
        (Status.HEALTHY, Status.UNREACHABLE, True),
        (Status.UNKNOWN, Status.HEALTHY, False),
    ]
    assert (rows[0].service_name, rows[0].cause, rows[0].sentence) == ("service-1", "refused", "Refused.")
    assert [row.service_id for row in transitions().rows] == [1, 2, 1]


def test_transitions__how_long_the_former_status_lasted__is_from_beginning_to_beginning(db: None) -> None:
    """HM-8, HM-10: flap control delays the record, not what is told of it."""
    change(1, START, Status.UNKNOWN, Status.HEALTHY)
    change(2, START + MINUTE, Status.UNKNOWN, Status.DEGRADED)
    change(1, START + 10 * MINUTE, Status.HEALTHY, Status.UNREACHABLE, began_at=START + 9 * MINUTE)
    change(1, START + 12 * MINUTE, Status.UNREACHABLE, Status.HEALTHY)
    assert [row.seconds for row in transitions(1).rows] == [180.0, 540.0, None]
    change(2, START + MINUTE, Status.DEGRADED, Status.HEALTHY)
    assert [row.seconds for row in transitions(2).rows] == [0.0, None]


def test_transitions__caused_by_another__name_it(db: None) -> None:
    """HM-12."""
    parent = Service.objects.create(name="broker-gateway", base_url="http://127.0.0.1:1")
    change(1, START, Status.HEALTHY, Status.UNHEALTHY, caused_by=parent)
    change(1, START + MINUTE, Status.UNHEALTHY, Status.HEALTHY, caused_by_id=parent.pk + 1)
    assert [row.caused_by for row in transitions(1).rows] == ["", "broker-gateway"]


@pytest.mark.parametrize("service_id", [1, None])
def test_transitions__page_by_page__miss_none_and_show_none_twice(db: None, service_id: int | None) -> None:
    """HM-8: also of changes in the same microsecond, and over the edge of a month."""
    made = [
        change(1, at, Status.HEALTHY, Status.DEGRADED).pk
        for at in (START - timedelta(days=40), START - timedelta(days=20), START, START, START, START + MINUTE)
    ]
    found: list[int] = []
    page = transitions(service_id, limit=2)
    while page.older:
        assert len(page.rows) == 2
        found += [row.id for row in page.rows]
        page = transitions(service_id, before=Cursor.parse(str(page.older)), limit=2)
    found += [row.id for row in page.rows]
    assert found == made[::-1]


def test_transitions__none_at_all__are_an_empty_page(db: None) -> None:
    """HM-8."""
    page = transitions(1, before=Cursor(START, 1))
    assert (page.rows, page.older) == ((), None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "-",
        "1-",
        "-1",
        "a-1",
        "1-b",
        "1-1-1",
        "1.5-1",
        "²-1",
        "1-9223372036854775808",
        "9" * 30 + "-1",
        "9" * 50,
    ],
)
def test_cursor__from_anything_else__is_refused_in_words(text: str) -> None:
    """Q-5: an address that somebody changed by hand."""
    with pytest.raises(ValueError, match="not a place in the list"):
        Cursor.parse(text)
