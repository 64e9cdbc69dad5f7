"""The log's pages: what they show, to whom, and what they make of bad input."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from opsportal.audit import selectors, verification
from opsportal.audit.models import Entry, Run, Verification
from tests.audit.entries import as_superuser, signed_in, write

PAGE = "/admin/audit/"


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_page__not_an_admin__is_refused_and_audited(users: Any, role: str) -> None:
    """AU-6, RBAC-1: reading the log, an entry and the file are an admin's."""
    entry = write()
    client = signed_in(getattr(users, role))
    for path in (PAGE, f"{PAGE}{entry.pk}/", f"{PAGE}export/csv/"):
        assert client.get(path).status_code == 403
    denied = Entry.objects.filter(event="admin_page_access_denied", actor_label=getattr(users, role).username)
    assert denied.count() == 3


def test_page__entries__show_who_what_when_and_why(users: Any) -> None:
    """AU-6: time, who, action, resource, outcome, source, address, reason; changes as old and new."""
    write("api_key_revoke", actor_label="alice", outcome="failed", source="api", ip="10.1.2.3", request_id="req-1",
          resource_type="api_key", resource_id="tp_live_abcdefgh", reason="It was found in a chat",
          details={"prefix": "tp_live_abcdefgh", "scopes": ["read:config"]})  # fmt: skip
    users.viewer.first_name = "Vera"
    users.viewer.save()
    page = signed_in(users.admin).get(PAGE).content.decode()
    for text in ("API key revoke", "alice", "Failed", "10.1.2.3", "It was found in a chat", "read:config", "req-1"):
        assert text in page
    assert "first_name" in page and "Vera" in page and "became" in page


def test_page__secret_that_was_stored__is_masked_again(users: Any) -> None:
    """AC-5: an entry from before a rule of the sanitiser existed does not leave the database as it is."""
    with connection.cursor() as cursor:
        cursor.execute(
            'INSERT INTO audit_entry ("timestamp", event_id, event, event_type, outcome, actor_label, source, '
            "resource_type, resource_id, reason, object_pk, object_repr, action, changes_text, additional_data) "
            "VALUES (now(), gen_random_uuid(), 'login', 'auth', 'success', 'x', 'portal', '', '', "
            "'password=hunter2hunter2', '', '', 3, '', '{\"token\": \"t0ps3cret\", \"mail\": \"joe@example.com\"}')"
        )
    client = signed_in(users.admin)
    newest = Entry.objects.filter(actor_label="x").latest("id")
    shown = client.get(PAGE).content.decode() + client.get(f"{PAGE}{newest.pk}/").content.decode()
    shown += "".join(piece.decode() for piece in client.get(f"{PAGE}export/jsonl/?who=x").streaming_content)  # type: ignore[attr-defined]
    assert "hunter2" not in shown and "t0ps3cret" not in shown and "joe@" not in shown


BAD = {
    "event": "no_such_action", "event_type": "nothing", "outcome": "maybe", "ip": "10.0.0.0/99",
    "since": "yesterday", "until": "0001-01-01T00:00:00+14:00", "who": "x" * 1_000_000, "resource_type": "a\x00b",
    "request_id": "r" * 256, "resource_id": "7", "ip with a zone": "fe80::1%eth0", "ip with any zone": "::1%x",
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD.items(), ids=list(BAD))
def test_page__bad_filter__sentence_at_the_field_and_no_search(users: Any, name: str, value: str) -> None:
    """AU-6: what cannot be understood is named; nothing is shown as if it had been looked for."""
    name = name.split()[0]
    write()
    client = signed_in(users.admin)
    answer = client.get(PAGE, {name: value})
    page = answer.content.decode()
    assert answer.status_code == 200 and "Nothing was looked for" in page and 'class="errorlist"' in page
    assert "<table" not in page
    assert client.get(f"{PAGE}export/csv/", {name: value}).status_code == 422
    assert not Entry.objects.filter(event="export").exists()


@pytest.mark.parametrize(
    "query",
    ["before=x", "after=1-99999999999999999999", "before=0-0", "after=0-0", "before=1-1&after=1-1", "who=%ff%fe&ip=::1",
     "since=2026-01-01&until=2026-01-02", "who=a%27%20OR%201=1--", "who=%25*", "ip=::/0", "unknown=1", "who=", "who=\\*"],
)  # fmt: skip
def test_page__odd_query__is_answered(users: Any, query: str) -> None:
    """AU-6: never an error of ours."""
    write()
    assert signed_in(users.admin).get(f"{PAGE}?{query}").status_code == 200


def test_page__names_that_are_addresses__are_shown_and_found(users: Any) -> None:
    """AU-6: who did it is never masked, whatever the names of the desk look like; markup in one is only text."""
    for name in ("alice@corp.example", "bob@corp.example", "<b>eve</b>@corp.example"):
        entry = write("login", actor_label=name)
    client = signed_in(users.admin)
    page = client.get(PAGE).content.decode()
    assert "alice@corp.example" in page and "bob@corp.example" in page and "***@corp.example" not in page
    assert "<b>eve" not in page and "<b>eve" not in client.get(f"{PAGE}{entry.pk}/").content.decode()
    shown = next(row.who for row in client.get(PAGE).context["listing"].rows if row.who.startswith("alice"))
    found = client.get(PAGE, {"who": shown}).context["listing"]
    assert [row.who for row in found.rows] == ["alice@corp.example"]


@pytest.mark.parametrize("text", ["::ffff:10.1.2.3", "::FFFF:a01:203/128", "::ffff:10.1.0.0/112", "::ffff:0:0/96"])
def test_page__ipv4_written_as_ipv6__finds_it(users: Any, text: str) -> None:
    """AU-6: callers are known by their IPv4 address, however it is written."""
    write("logout", ip="10.1.2.3")
    found = signed_in(users.admin).get(PAGE, {"ip": text, "event": "logout"}).context["listing"]
    assert [row.ip for row in found.rows] == ["10.1.2.3"]


def test_page__error_that_is_not_an_outage__is_not_called_one(users: Any, transactional_db: None) -> None:
    """AU-6: "does not answer" is said only when it does not; anything else is a fault of ours, and is shown as one."""
    client = signed_in(users.admin)
    client.raise_request_exception = False
    as_superuser("ALTER TABLE audit_entry RENAME COLUMN event TO event_away")
    try:
        page = client.get(PAGE, {"event": "login"})
    finally:
        as_superuser("ALTER TABLE audit_entry RENAME COLUMN event_away TO event")
    assert page.status_code == 500 and "does not answer" not in page.content.decode()


@pytest.mark.parametrize("number", ["0", "999999", str(2**63), "9" * 400])
def test_entry__unknown__is_404(users: Any, number: str) -> None:
    """AU-6: also for numbers that no entry can have."""
    assert signed_in(users.admin).get(f"{PAGE}{number}/").status_code == 404


def test_page__people_who_signed_in__are_suggested(users: Any) -> None:
    """AU-6: a text field with suggestions, not a list of thousands."""
    client = signed_in(users.admin)
    users.viewer.save()
    page = client.get(PAGE).content.decode()
    assert f'<option value="{users.admin.username}">' in page and f'value="{users.viewer.username}"' not in page


def test_page__more_than_fifty__older_and_newer_lead_through(users: Any) -> None:
    """AU-6: fifty a page, by links that keep the filters."""
    for number in range(120):
        write("logout", actor_label="busy", reason=f"number {number};")
    client = signed_in(users.admin)
    first = client.get(PAGE, {"who": "busy"})
    listing = first.context["listing"]
    assert len(listing.rows) == 50 and not listing.newer and "who=busy" in listing.querystring
    second = client.get(PAGE, {"who": "busy", "before": listing.older}).context["listing"]
    third = client.get(PAGE, {"who": "busy", "before": second.older}).context["listing"]
    assert [len(second.rows), len(third.rows), third.older] == [50, 20, ""]
    back = client.get(PAGE, {"who": "busy", "after": third.newer}).context["listing"]
    assert [row.id for row in back.rows] == [row.id for row in second.rows]
    top = client.get(PAGE, {"who": "busy", "after": second.newer}).context["listing"]
    assert [row.id for row in top.rows] == [row.id for row in listing.rows]


def test_page__search_too_long__says_what_to_do(users: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """AU-6: a page with a sentence instead of an error."""
    monkeypatch.setattr("opsportal.audit.search._limit_time", _one_microsecond)
    page = signed_in(users.admin).get(PAGE, {"who": "a*"})
    assert page.status_code == 200 and "Narrow the time range" in page.content.decode()


def _one_microsecond(_ends: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 1")
        cursor.execute("SELECT pg_sleep(1)")


def test_entry__its_page__has_the_link_and_more_of_the_same(users: Any, transactional_db: None) -> None:
    """AU-6: everything about one entry, its place in the chain, and ways to its like."""
    entry = write("circuit_trip", actor_label="alice", ip="10.1.2.3", resource_type="circuit_breaker",
                  resource_id="state", request_id="req-7", reason="Prices stand still")  # fmt: skip
    client = signed_in(users.admin)
    before = client.get(reverse("admin:audit_entry", args=[entry.pk])).content.decode()
    assert "Not yet" in before and "Prices stand still" in before
    verification.verify_new(seconds=5)
    answer = client.get(reverse("admin:audit_entry", args=[entry.pk]))
    assert answer.context["link"].verified and answer.context["link"].short_hash in answer.content.decode()
    for _, address in answer.context["similar"]:
        assert entry.pk in [row.id for row in client.get(address).context["listing"].rows], address


def test_page__broken_chain__is_loud_there_and_on_the_overview(users: Any, transactional_db: None) -> None:
    """AU-5: an admin sees at once that something is wrong, and what to do; nobody else is told of records."""
    write()
    Verification.objects.create(kind=Run.FULL, started_at=timezone.now(), finished_at=timezone.now(), hash=bytes(32),
                                problem="record 7 (login) was removed", entry_id=7)  # fmt: skip
    assert selectors.chain_problem() == "record 7 (login) was removed"
    page = signed_in(users.admin).get(PAGE).content.decode()
    assert "NOT intact" in page and "record 7 (login) was removed" in page
    assert "was removed" in signed_in(users.admin).get("/admin/").content.decode()
    assert "was removed" not in signed_in(users.operator).get("/admin/").content.decode()


def test_page__postgresql_away__says_so(users: Any, postgres_server: Any) -> None:
    """AU-6: a page that says what is missing, never a traceback."""
    client = signed_in(users.admin)
    client.get(PAGE)
    with postgres_server.stopped():
        answer = client.get(PAGE)
    assert answer.status_code in (200, 503) and b"PostgreSQL" in answer.content
