"""The log as a file: complete, harmless, streamed in bounded memory, audited, and honest when it breaks off."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from opsportal.accounts.actors import Actor, PermissionRefused
from opsportal.audit import chain, search
from opsportal.audit import export as exporting
from opsportal.audit.export import Ordered, export
from opsportal.audit.forms import EntryFilter
from opsportal.audit.models import Entry
from opsportal.audit.search import Filters
from opsportal.audit_pages.services import export_log
from tests.audit.entries import as_superuser, signed_in, write

PAGE = "/admin/audit/"
MANY = 20_000


def body(answer: Any) -> str:
    return b"".join(answer.streaming_content).decode()


def exports() -> list[dict[str, Any]]:
    return list(Entry.objects.filter(event="export").order_by("id").values_list("additional_data", flat=True))


def fill(count: int) -> None:
    """Many entries at once, as no page could write them; inside a test that is rolled back."""
    with connection.cursor() as cursor:
        cursor.execute(
            'INSERT INTO audit_entry ("timestamp", event_id, event, event_type, outcome, actor_label, source, '
            "resource_type, resource_id, reason, object_pk, object_repr, action, changes_text) "
            "SELECT now() - n * interval '1 ms', gen_random_uuid(), 'login', 'auth', 'success', 'many', 'portal', '', '', "
            "repeat('x', 200), '', '', 3, '' FROM generate_series(1, %s) AS n",
            [count],
        )


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_export__key_that_was_stored_as_a_resource__is_masked(users: Any, transactional_db: None, form: str) -> None:
    """AC-5: whatever got into an old entry, a whole key does not leave; its prefix, which names it, does."""
    key = "tp_live_AbCd1234" + "Z" * 35
    entry = write("logout", resource_type="page", resource_id="x")
    as_superuser(f"UPDATE audit_entry SET resource_id = '/admin/sysconfig/{key}/' WHERE id = {entry.pk}")
    file = body(signed_in(users.admin).get(f"{PAGE}export/{form}/", {"event": "logout"}))
    assert "tp_live_AbCd1234" in file and key not in file


def test_jsonl__filtered__has_the_chain_and_is_audited_twice(users: Any, transactional_db: None) -> None:
    """AU-6: every entry that matches, oldest first, with its link; who took it, what, and how much is in the log."""
    write("logout", actor_label="alice", details={"amount": "0.05"}, reason="=1+1")
    write("login", actor_label="bob")
    write("login_failed", actor_label="alice", outcome="denied")
    answer = signed_in(users.admin).get(f"{PAGE}export/jsonl/", {"who": "alice", "event": ""})
    lines = [json.loads(line) for line in body(answer).splitlines()]
    assert [line["event"] for line in lines] == ["logout", "login_failed"]
    assert lines[0]["details"] == {"amount": "0.05"} and lines[0]["reason"] == "=1+1"
    with connection.cursor() as cursor:
        cursor.execute("SELECT seq, encode(hash, 'hex') FROM audit_link WHERE entry_id = %s", [lines[1]["id"]])
        assert cursor.fetchone() == (lines[1]["chain_seq"], lines[1]["chain_hash"])
    asked = {"format": "jsonl", "filters": {"who": "alice"}}
    assert exports() == [{**asked, "state": "begun"}, {**asked, "state": "ended", "rows": 2}]
    entry = Entry.objects.filter(event="export").latest("id")
    assert (entry.actor_label, entry.event_type, entry.source) == (users.admin.username, "export", "portal")
    assert entry.remote_addr == "127.0.0.1" and entry.cid
    assert answer["Content-Disposition"].endswith('.jsonl"') and answer["Cache-Control"] == "no-store"
    assert chain.verify().ok


@pytest.mark.parametrize("start", list("=+-@\t\r"))
def test_csv__formula__is_defused(users: Any, start: str) -> None:
    """AU-6: nothing that a person typed runs in a spreadsheet, in any column; line breaks stay inside their cell."""
    write("logout", actor_label=f"{start}cmd", reason=f"{start}HYPERLINK(1)", resource_type="user",
          resource_id=f"{start}2", details={"note": "a,b\n\"c\""})  # fmt: skip
    answer = signed_in(users.admin).get(f"{PAGE}export/csv/", {"event": "logout"})
    header, row = csv.reader(io.StringIO(body(answer), newline=""))
    values = dict(zip(header, row, strict=True))
    assert tuple(header) == exporting.COLUMNS
    assert not [value for value in row if value[:1] in ("=", "+", "-", "@", "\t", "\r")]
    assert values["actor"] == f"'{start}cmd" and json.loads(values["details"]) == {"note": 'a,b\n"c"'}


def test_export__many_entries__come_in_chunks(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """AU-6: the first bytes leave before the second chunk is read, and no more than one chunk is held."""
    fill(MANY)
    asked: list[int] = []
    ask = search._Narrowed.ask

    def counted(self: Any, *args: Any, **kwargs: Any) -> list[Entry]:
        found = ask(self, *args, **kwargs)
        asked.append(len(found))
        return found

    monkeypatch.setattr(search._Narrowed, "ask", counted)
    pieces = export(Ordered("csv", Filters(who="many"), {}))
    assert next(pieces).startswith("id,") and asked == []
    first = next(pieces)
    assert first.count("\r\n") == 1_000 and sum(asked) == 1_000
    rest = "".join(pieces)
    assert rest.count("\r\n") == MANY - 1_000 and max(asked) == 1_000
    assert exports()[-1]["rows"] == MANY


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_export__error_in_the_middle__last_line_says_incomplete(
    db: None, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """AU-6: never a file that is silently short."""
    fill(2_500)
    ask = search._Narrowed.ask
    left = [2]

    def failing(self: Any, *args: Any, **kwargs: Any) -> list[Entry]:
        found = ask(self, *args, **kwargs)
        if found:
            left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("the third chunk")
        return found

    monkeypatch.setattr(search._Narrowed, "ask", failing)
    lines = "".join(export(Ordered(form, Filters(who="many"), {}))).splitlines()
    assert len(lines) == 2_000 + (form == "csv") + 1
    assert "INCOMPLETE" in lines[-1] and "INCOMPLETE" not in "".join(lines[:-1])
    last = Entry.objects.filter(event="export").latest("id")
    assert last.outcome == "failed" and last.additional_data["rows"] == 2_000


def test_export__reader_goes_away__is_recorded(db: None) -> None:
    """AU-6: what was taken before the connection closed is in the log."""
    fill(2_500)
    pieces = export(Ordered("jsonl", Filters(who="many"), {}))
    next(pieces)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    last = Entry.objects.filter(event="export").latest("id")
    assert last.outcome == "failed" and last.additional_data["state"] == "broke off"


def test_export_log__without_the_permission__is_refused(users: Any) -> None:
    """RBAC-1: in the service, whatever the page thinks."""
    form = EntryFilter({})
    assert form.is_valid()
    with pytest.raises(PermissionRefused):
        export_log(form, "csv", by=Actor.of(users.operator))
    assert not Entry.objects.filter(event="export").exists()


def test_export__unknown_format_or_head__takes_nothing(users: Any) -> None:
    """AU-6: no file, no entry."""
    client = signed_in(users.admin)
    assert client.get(f"{PAGE}export/xml/").status_code == 404
    assert client.head(f"{PAGE}export/csv/").status_code == 200
    assert not Entry.objects.filter(event="export").exists()


def test_command__export__same_lines_under_the_os_user(transactional_db: None) -> None:
    """AU-6: `manage.py audit export` is the page's export, audited with the name the operating system knows."""
    write("logout", actor_label="alice")
    write("login", actor_label="bob")
    out = io.StringIO()
    call_command("audit", "export", "--format", "jsonl", "--who", "alice", "--since", "2020-01-01", stdout=out)
    assert [json.loads(line)["actor"] for line in out.getvalue().splitlines()] == ["alice"]
    last = Entry.objects.filter(event="export").latest("id")
    assert last.actor_label.endswith("(command line)") and last.source == "cli"
    assert last.additional_data["rows"] == 1
    with pytest.raises(CommandError, match=r"IP address or network: Not an address"):
        call_command("audit", "export", "--ip", "nonsense")
