"""The audit log: append-only, chained, sanitised."""

from __future__ import annotations

import io
import json
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from opsportal.audit import chain, partitions, recorder
from opsportal.audit.migrations import __path__ as migration_paths
from opsportal.audit.models import Entry
from opsportal.observability.context import bind
from tests.audit.entries import as_superuser
from tests.servers import superuser_url


def write(count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        recorder.record("export", event_type="export", details={"number": number, "text": "ü ✓"}, reason=f"r{number}")


@pytest.mark.parametrize("table", ["audit_entry", "audit_link", "audit_entry_default"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {}"])
def test_change__as_the_application__is_refused(transactional_db: None, table: str, statement: str) -> None:
    """AU-4: no right, for the application's own role."""
    write(1)
    before = Entry.objects.count()
    column = "seq" if table == "audit_link" else "reason"
    with pytest.raises(DatabaseError), connection.cursor() as cursor:
        cursor.execute(statement.format(table, column, column))
    assert Entry.objects.count() == before


@pytest.mark.parametrize("statement", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {}"])
@pytest.mark.parametrize("table", ["audit_entry", "audit_link", "audit_entry_default"])
def test_change__as_superuser__is_refused_by_trigger(transactional_db: None, table: str, statement: str) -> None:
    """AU-4: the trigger refuses whoever has the right."""
    write(1)
    column = "seq" if table == "audit_link" else "reason"
    if table == "audit_entry_default" and not statement.startswith("TRUNCATE"):
        return  # its row triggers are those of audit_entry, and it has no row
    with (
        psycopg.connect(superuser_url()) as outside,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"),
    ):
        outside.execute(statement.format(table, column, column))  # type: ignore[call-overload]


def test_every_partition__truncate__is_refused(transactional_db: None) -> None:
    """AU-4: also a partition by its own name."""
    with psycopg.connect(superuser_url()) as outside:
        parts = outside.execute("SELECT relid::regclass::text FROM pg_partition_tree('audit_entry')").fetchall()
        assert len(parts) >= 5
        for (name,) in parts:
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"), outside.transaction():
                outside.execute(f"TRUNCATE {name}")


def test_save_and_delete_of_an_entry__are_refused(db: None) -> None:
    """AU-4: the model says so before the database must."""
    entry = recorder.record("export")
    with pytest.raises(TypeError):
        entry.save()
    with pytest.raises(TypeError):
        entry.delete()


def test_write__without_the_key__is_refused(transactional_db: None) -> None:
    """AU-5: a connection without the chain's key cannot write."""
    write(1)
    columns = "SELECT nextval('audit_entry_id_seq'), now(), gen_random_uuid(), event, event_type, outcome, actor_id"
    refused = pytest.raises(psycopg.errors.InsufficientPrivilege, match="key of the audit chain")
    with psycopg.connect(superuser_url()) as outside:
        with refused:
            outside.execute(
                f"INSERT INTO audit_entry {columns}, actor_label, source, cid, remote_addr, remote_port, resource_type, "
                "resource_id, reason, content_type_id, object_pk, object_id, object_repr, action, changes, changes_text, "
                "serialized_data, additional_data, actor_email FROM audit_entry LIMIT 1"
            )
            outside.commit()


def test_action_and_record__one_fails__neither_is_kept(transactional_db: None) -> None:
    """AU-3: they commit together, or neither."""
    before = Entry.objects.count(), chain.head().seq
    with pytest.raises(RuntimeError), transaction.atomic():
        write(1)
        raise RuntimeError
    assert (Entry.objects.count(), chain.head().seq) == before


def test_verify__untouched__passes(transactional_db: None) -> None:
    """AU-5: also over several rows of one transaction, non-ASCII text, and empty fields."""
    earlier = chain.head().seq
    with transaction.atomic():
        write(3)
    write(2, start=3)
    with bind(ip="2001:db8::1", request_id="abcdefgh"):
        write(1, start=5)
    verdict = chain.verify()
    assert verdict.ok and verdict.checked == earlier + 6


@pytest.mark.parametrize(
    "assignment",
    ["reason = 'nothing happened'", "outcome = 'failed'", "\"timestamp\" = \"timestamp\" + interval '1 s'",
     "additional_data = '{}'", "actor_label = 'somebody else'", "remote_addr = '10.0.0.1'"],
)  # fmt: skip
def test_verify__one_row_changed__names_it(transactional_db: None, assignment: str) -> None:
    """AU-5: altered by a superuser with the triggers off."""
    earlier = chain.head().seq
    write(5)
    victim = Entry.objects.filter(event="export").order_by("id")[2]
    as_superuser(f"UPDATE audit_entry SET {assignment} WHERE id = {victim.pk}")
    verdict = chain.verify()
    assert verdict.entry_id == victim.pk and "changed" in verdict.problem
    assert verdict.checked == earlier + 2


def test_verify__row_removed__names_it(transactional_db: None) -> None:
    """AU-5."""
    earlier = chain.head().seq
    write(5)
    victim = Entry.objects.filter(event="export").order_by("id")[2].pk
    as_superuser(f"DELETE FROM audit_entry WHERE id = {victim}")
    assert chain.verify().entry_id == victim
    as_superuser(f"DELETE FROM audit_link WHERE entry_id = {victim}")
    assert f"link {earlier + 3} was removed" in chain.verify().problem


def test_verify__row_inserted__names_it(transactional_db: None) -> None:
    """AU-5: a row put in with the chain switched off."""
    write(2)
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(quote_ident(column_name), ',') FROM information_schema.columns "
                       "WHERE table_name = 'audit_entry' AND column_name NOT IN ('id', 'event_id')")  # fmt: skip
        columns = cursor.fetchone()[0]
    as_superuser(
        f"INSERT INTO audit_entry (id, event_id, {columns}) SELECT 999999, gen_random_uuid(), {columns} FROM audit_entry LIMIT 1"
    )
    verdict = chain.verify()
    assert verdict.entry_id == 999999 and "inserted" in verdict.problem


def test_verify__end_cut_off__is_found_by_the_checkpoint(transactional_db: None, tmp_path: Path, settings: Any) -> None:
    """AU-5: a truncated end, and a chain rewritten with the right key, differ from the second sink."""
    settings.AUDIT_CHECKPOINT_FILE = str(tmp_path / "heads.jsonl")
    write(5)
    chain.checkpoint()
    chain.checkpoint()
    assert len((tmp_path / "heads.jsonl").read_text().splitlines()) == 1
    last = Entry.objects.order_by("-id")[0].pk
    as_superuser(f"DELETE FROM audit_entry WHERE id = {last}")
    as_superuser(f"DELETE FROM audit_link WHERE entry_id = {last}")
    assert chain.verify().ok
    verdict = chain.verify(checkpoints=chain.checkpoint_file())
    assert "cut off" in verdict.problem
    write(1)
    assert "rewritten" in chain.verify(checkpoints=chain.checkpoint_file()).problem


def test_verify__torn_checkpoint_line__the_others_count(transactional_db: None, tmp_path: Path, settings: Any) -> None:
    """AU-5: a crash in the middle of a line costs that line only."""
    settings.AUDIT_CHECKPOINT_FILE = str(tmp_path / "heads.jsonl")
    write(1)
    chain.checkpoint()
    with (tmp_path / "heads.jsonl").open("a") as sink:
        sink.write('{"seq": 2, "he')
    assert chain.verify(checkpoints=chain.checkpoint_file()).ok


def test_command__intact_and_not(transactional_db: None) -> None:
    """AU-5: `manage.py audit verify`."""
    earlier = chain.head().seq
    write(3)
    out = io.StringIO()
    call_command("audit", "verify", stdout=out)
    assert f"intact: {earlier + 3} records" in out.getvalue()
    as_superuser("UPDATE audit_entry SET reason = 'x' WHERE id = (SELECT min(id) FROM audit_entry)")
    with pytest.raises(CommandError, match="NOT intact: record"):
        call_command("audit", "verify")


def test_details__secrets_and_addresses__never_stored(db: None) -> None:
    """AU-3, AC-5: sanitised before they are stored."""
    details = {"password": "hunter2hunter2", "nested": {"token": "t0ken"}, "mail": "joe@example.com", "count": 3}
    recorder.record("export", details=details, reason="password=hunter2hunter2")
    stored = json.dumps(list(Entry.objects.values("additional_data", "reason")))
    assert "hunter2" not in stored and "t0ken" not in stored and "joe@" not in stored and '"count": 3' in stored


def test_details__dates_ids_and_amounts__are_stored(db: None) -> None:
    """AU-1: whatever a caller puts into the details, the action does not fail for it."""
    details = {
        "at": datetime(2026, 1, 2, tzinfo=UTC),
        "id": uuid.UUID(int=7),
        "limit": Decimal("0.05"),
        "odd": object(),
    }
    recorder.record("export", details=details)
    stored = Entry.objects.latest("id").additional_data
    assert (stored["at"], stored["id"], stored["limit"]) == ("2026-01-02T00:00:00Z", str(uuid.UUID(int=7)), "0.05")


def test_record__unknown_event__is_refused(db: None) -> None:
    """AU-2: names come from one list, so that a metric label never grows."""
    with pytest.raises(ValueError, match="unknown audit event"):
        recorder.record("something_new")


def test_user_change__is_a_diff_in_the_same_log(users: Any) -> None:
    """AU-1: model changes and explicit actions in one table; that the password changed is told, its hash is not."""
    users.viewer.first_name = "Vera"
    users.viewer.set_password("another long password")
    users.viewer.save()
    diff = Entry.objects.filter(event="object_update", resource_type="user").latest("id")
    assert diff.changes["first_name"] == ["", "Vera"]
    assert set(diff.changes) == {"first_name", "password"}
    assert "md5$" not in str(diff.changes) and "argon2" not in str(diff.changes)


def test_partitions__are_created_ahead_by_the_application(transactional_db: None) -> None:
    """AU-4: the application may create them, and only them; rows of any time find a place."""
    from datetime import date

    assert partitions.ensure_partitions(date(2031, 11, 15), months_ahead=2) == 3
    assert partitions.ensure_partitions(date(2031, 11, 15), months_ahead=2) == 0
    recorder.record("export", at=datetime(2031, 12, 5, tzinfo=UTC))
    recorder.record("export", at=datetime(2040, 1, 1, tzinfo=UTC))
    assert chain.verify().ok
    as_superuser("DELETE FROM audit_entry")
    for month in ("203111", "203112", "203201"):
        as_superuser(f"DROP TABLE audit_entry_{month}")


def test_message__of_trigger_and_verifier__are_the_same() -> None:
    """AU-5: the columns that the chain covers are written down twice; they must not drift apart."""
    migration = Path(next(iter(migration_paths))) / "0002_log_in_the_database.py"
    assert chain.MESSAGE_SQL in migration.read_text()
    covered = {column.attname for column in Entry._meta.concrete_fields}
    covered = {"timestamp" if name == "timestamp" else name for name in covered}
    assert all(f"e.{name}" in chain.MESSAGE_SQL or f'e."{name}"' in chain.MESSAGE_SQL for name in covered)
