"""Finding entries: every filter alone and together, in the order of the log, page by page, and never for long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from opsportal.audit import search
from opsportal.audit.models import Entry
from opsportal.audit.search import Cursor, Filters, entries_in_order, find_page
from tests.audit.entries import make_month, write

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.fixture
def log(db: None) -> dict[str, Entry]:
    """Six entries of three months, each different from the others in every way that can be asked for."""
    for year, month in ((2025, 11), (2025, 12), (2026, 1)):
        make_month(year, month)
    return {
        "trip": write("circuit_trip", at="2026-01-20T10:00", actor_label="alice", ip="10.1.2.3",
                      resource_type="circuit_breaker", resource_id="state", request_id="r1"),
        "denied": write("login_failed", at="2026-01-05T10:00", actor_label="bob", ip="10.1.2.4", outcome="denied",
                        event_type="auth", resource_type="user", resource_id="7"),
        "by key": write("config_update", at="2025-12-31T23:59:59", actor_label="alice (tp_live_abcdefgh)",
                        ip="2001:db8::7", event_type="admin", resource_type="config_section", resource_id="circuit"),
        "export": write("export", at="2025-12-01T00:00", actor_label="root (command line)", event_type="export"),
        "failed": write("circuit_reset", at="2025-11-15T00:00", actor_label="al_ce", outcome="failed", ip="192.0.2.1",
                        resource_type="circuit_breaker", resource_id="other"),
        "stray": write("logout", at="2024-05-05T00:00", actor_label="watcher", event_type="auth"),
    }  # fmt: skip


def names(log: dict[str, Entry], filters: Filters) -> list[str]:
    by_id = {entry.pk: name for name, entry in log.items()}
    return [by_id[entry.pk] for entry in find_page(filters).entries if entry.pk in by_id]


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        (Filters(until=NOW), ["trip", "denied", "by key", "export", "failed", "stray"]),
        (Filters(who="alice"), ["trip"]),
        (Filters(who="alice*"), ["trip", "by key"]),
        (Filters(who="al_*"), ["failed"]),
        (Filters(who="al%*"), []),
        (Filters(who="root (command line)"), ["export"]),
        (Filters(who="ALICE"), []),
        (Filters(event="circuit_reset"), ["failed"]),
        (Filters(event_type="auth", until=NOW), ["denied", "stray"]),
        (Filters(outcome="denied"), ["denied"]),
        (Filters(resource_type="circuit_breaker"), ["trip", "failed"]),
        (Filters(resource_type="circuit_breaker", resource_id="other"), ["failed"]),
        (Filters(network=ip_network("10.1.2.3")), ["trip"]),
        (Filters(network=ip_network("10.1.0.0/16")), ["trip", "denied"]),
        (Filters(network=ip_network("2001:db8::/32")), ["by key"]),
        (Filters(network=ip_network("0.0.0.0/0"), until=NOW), ["trip", "denied", "failed"]),
        (Filters(network=ip_network("172.16.0.0/12")), []),
        (Filters(request_id="r1"), ["trip"]),
        (Filters(since=datetime(2025, 12, 1, tzinfo=UTC), until=datetime(2026, 1, 5, 10, tzinfo=UTC)),
         ["by key", "export"]),
        (Filters(who="al*", network=ip_network("10.0.0.0/8"), outcome="success"), ["trip"]),
        (Filters(since=datetime(2030, 1, 1, tzinfo=UTC), until=datetime(2029, 1, 1, tzinfo=UTC)), []),
    ],
    ids=str,
)  # fmt: skip
def test_find_page__each_filter__newest_first(log: dict[str, Entry], filters: Filters, wanted: list[str]) -> None:
    """AU-6: exact, prefix and range matches, over partitions and the default one."""
    assert names(log, filters) == wanted


@pytest.mark.parametrize("filters", [Filters(who="many*"), Filters(network=ip_network("10.9.0.0/16"))], ids=str)
def test_find_page__more_values_than_are_tried_one_by_one__same_answer(db: None, filters: Filters) -> None:
    """AU-6: 60 names with the prefix, 60 addresses in the network."""
    written = [write(actor_label=f"many{number}", ip=f"10.9.0.{number}") for number in range(search.MOST_VALUES + 10)]
    write(actor_label="other", ip="10.8.0.1")
    found = find_page(filters, limit=100)
    assert [entry.pk for entry in found.entries] == [entry.pk for entry in reversed(written)]


def test_pages__forth_and_back__every_entry_once_in_order(db: None) -> None:
    """AU-6: pages begin where the one before ended, also among entries of the same microsecond."""
    make_month(2026, 1)
    at = datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC)
    written = [write("object_access", at=at + timedelta(seconds=number // 10)) for number in range(35)]
    order = [entry.pk for entry in reversed(written)]
    filters, seen, pages, cursor = Filters(event="object_access"), [], [], None
    while True:
        page = find_page(filters, before=cursor, limit=10)
        pages.append([entry.pk for entry in page.entries])
        seen += pages[-1]
        cursor = Cursor.of(page.entries[-1])
        if not page.more:
            break
    assert seen == order and [len(page) for page in pages] == [10, 10, 10, 5]
    first = Cursor.of(Entry.objects.get(pk=pages[2][0]))
    back = find_page(filters, after=first, limit=10)
    assert [entry.pk for entry in back.entries] == pages[1] and back.more
    assert not find_page(filters, after=Cursor.of(written[-1])).entries


def test_cursor__any_text__is_a_place_or_nothing(db: None) -> None:
    """AU-6: what comes with an address is checked, not believed."""
    entry = write()
    cursor = Cursor.of(entry)
    assert Cursor.parse(str(cursor)) == cursor
    for text in ("", "x", "1-", "-1-1", "1-1-1", "9" * 19 + "-1", "999999999999999999-1", f"1-{2**63}", "١-١", "1-1\n"):
        assert Cursor.parse(text) is None, text


def test_find_page__any_filter__never_counts_nor_skips(log: dict[str, Entry]) -> None:
    """AU-6: no OFFSET, no count(*), no regular expression; a bounded number of statements."""
    with CaptureQueriesContext(connection) as queries:
        find_page(Filters(who="al*"))
        find_page(Filters(network=ip_network("10.0.0.0/8"), outcome="denied"))
    text = " ".join(query["sql"] for query in queries.captured_queries).lower()
    assert "offset" not in text and "count(" not in text and " ~ " not in text and "~*" not in text
    assert len(queries) < 40


def test_find_page__time_is_up__says_how_far_it_came(log: dict[str, Entry], monkeypatch: pytest.MonkeyPatch) -> None:
    """AU-6: a search that takes too long ends with what was found, not with an error; the connection goes on."""
    ask = search._Narrowed.ask

    def slowly(self: Any, since: datetime, until: datetime, *args: Any, **kwargs: Any) -> list[Entry]:
        if since < datetime(2025, 12, 1, tzinfo=UTC):
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(20)")
        return ask(self, since, until, *args, **kwargs)

    monkeypatch.setattr(search._Narrowed, "ask", slowly)
    found = find_page(Filters(until=NOW), seconds=0.3)
    assert found.stopped and found.searched_to == datetime(2025, 12, 1, tzinfo=UTC)
    assert [entry.event for entry in found.entries][-1] == "export" and not found.more
    assert Entry.objects.exists()


def test_find_page__not_even_the_newest_month_in_time__is_looked_at_day_by_day(
    log: dict[str, Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """AU-6: there is always a way on: where a month is too long, its days are asked one after the other."""
    ask = search._Narrowed.ask

    def slowly(self: Any, since: datetime, until: datetime, *args: Any, **kwargs: Any) -> list[Entry]:
        if until - since > timedelta(days=1):
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(20)")
        return ask(self, since, until, *args, **kwargs)

    monkeypatch.setattr(search._Narrowed, "ask", slowly)
    found = find_page(Filters(until=datetime(2026, 1, 20, 18, tzinfo=UTC)), seconds=0.3)
    assert found.stopped and found.searched_to == datetime(2026, 1, 1, tzinfo=UTC)
    assert found.entries == (log["trip"], log["denied"])
    further = find_page(Filters(), before=Cursor(found.searched_to, 0), seconds=0.3)
    assert further.stopped and further.searched_to == datetime(2025, 12, 1, tzinfo=UTC)
    assert further.entries == (log["by key"], log["export"])


def test_find_page__no_time_at_all__is_stopped_not_an_error(log: dict[str, Entry]) -> None:
    """AU-6: real PostgreSQL, real timeout, whichever statement it meets."""
    found = find_page(Filters(who="a*"), seconds=0.0)
    assert found.stopped or len(found.entries) == 3
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone()[0] != "1ms"  # what comes after the search has its own time


def test_entries_in_order__all__oldest_first_in_chunks(log: dict[str, Entry]) -> None:
    """AU-6: the export's order; nothing lost between two chunks."""
    chunks = list(entries_in_order(Filters(until=NOW), chunk=2))
    assert [len(chunk) for chunk in chunks] == [1, 1, 2, 2]
    assert [entry.event for chunk in chunks for entry in chunk] == [
        "logout", "circuit_reset", "export", "config_update", "login_failed", "circuit_trip",
    ]  # fmt: skip
