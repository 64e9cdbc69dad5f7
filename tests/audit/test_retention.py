"""Old months: archived, read back, noted, dropped; and nobody can drop one by another way."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from opsportal.audit import archives, chain, links, retention, verification
from opsportal.audit.models import Archive, Entry
from tests.audit.entries import as_superuser, make_month, write
from tests.servers import superuser_url

OLD = "audit_entry_202001"
DROP = "SELECT audit_drop_partition(%s, %s)"
NOTE = "SELECT audit_note_archive(%s, %s, 1, 1, '', '', '', '', '', '')"


@pytest.fixture
def folder(settings: Any, tmp_path: Path) -> Path:
    """Where archives go."""
    settings.AUDIT_CHECKPOINT_FILE = ""
    settings.AUDIT_ARCHIVE_DIR = str(tmp_path / "archive")
    (tmp_path / "archive").mkdir()
    return tmp_path / "archive"


@pytest.fixture
def old_month(transactional_db: None, folder: Path) -> Iterator[list[Entry]]:
    """January 2020 with five entries, between entries of today as a spooled one may lie."""
    make_month(2020, 1)
    write()
    written = [
        write("logout", at=f"2020-01-0{day}T12:00", reason=f"ü {day}", details={"day": day}) for day in (1, 2, 3)
    ]
    write()
    written += [write("login", at=f"2020-01-31T23:59:5{second}") for second in (8, 9)]
    yield written
    connection.close()
    as_superuser(f"DROP TABLE IF EXISTS {OLD}")


def ask(statement: str, *params: Any) -> Any:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, params)
        return cursor.fetchone()[0]


def names() -> set[str]:
    return {month.name for month in archives.months()}


def run(**options: Any) -> str:
    out = io.StringIO()
    call_command("audit", "archive", stdout=out, **options)
    return out.getvalue()


def test_archive__old_month__file_note_entries_and_gone(old_month: list[Entry], folder: Path) -> None:
    """AU-4: whole partitions, after their export; the chain stays whole across what is gone."""
    said = run()
    assert f"{OLD}: 5 records archived and dropped" in said
    assert OLD not in names() and Entry.objects.filter(timestamp__year=2020).count() == 0
    path = folder / "audit-202001.jsonl.gz"
    note = Archive.objects.get()
    assert (note.partition, note.rows, note.path) == (OLD, 5, str(path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert note.sha256 == digest and (folder / f"{path.name}.sha256").read_text() == f"{digest}  {path.name}\n"
    assert path.stat().st_mode & 0o777 == 0o600 and not list(folder.glob("*.part"))
    with gzip.open(path, "rt") as file:
        header, *lines, footer = [json.loads(line) for line in file]
    assert header["partition"] == OLD and footer["rows"] == 5 == len(lines)
    first = dict(zip(header["columns"], json.loads(lines[0]["entry"]), strict=True))
    assert (first["reason"], first["additional_data"]) == ("ü 1", {"day": 1})
    told = Entry.objects.filter(event__in=["audit_archive", "audit_drop"]).order_by("id")
    assert [entry.event for entry in told] == ["audit_archive", "audit_drop"]
    assert told[0].additional_data["sha256"] == digest and told[0].actor_label.endswith("(command line)")
    verdict = chain.verify()
    assert verdict.ok and verdict.checked == chain.head().seq
    out = io.StringIO()
    call_command("audit", "verify", archive=folder, stdout=out)
    assert "intact" in out.getvalue() and str(folder) in out.getvalue()
    verification.verify_new(seconds=5)
    assert verification.verify_all(timezone.now(), seconds=5) is not None
    assert run() == "no month is older than the retention; nothing to do\n"


def test_archive__dry_run_or_no_folder__changes_nothing(old_month: list[Entry], folder: Path, settings: Any) -> None:
    """AU-4: without a folder nothing is ever dropped."""
    assert "5 records would be archived" in run(dry_run=True)
    assert OLD in names() and not list(folder.iterdir()) and not Archive.objects.exists()
    settings.AUDIT_ARCHIVE_DIR = ""
    with pytest.raises(CommandError, match="AUDIT_ARCHIVE_DIR is not set"):
        run()
    settings.AUDIT_ARCHIVE_DIR = str(folder / "nowhere")
    with pytest.raises(CommandError, match="not a folder"):
        run()
    assert OLD in names()


def test_archive__by_the_task__one_month_a_run(old_month: list[Entry], folder: Path) -> None:
    """AU-4: a clock that jumped ahead takes the log away slowly, so that somebody can notice."""
    from opsportal.audit import tasks

    make_month(2020, 2)
    try:
        tasks.archive()
        assert OLD not in names() and "audit_entry_202002" in names()
        assert Entry.objects.get(event="audit_drop").actor_label == "audit retention"
        tasks.archive()
        assert "audit_entry_202002" not in names() and Archive.objects.get(pk="audit_entry_202002").rows == 0
        assert chain.verify().ok and archives.check_files(folder) == ""
    finally:
        as_superuser("DROP TABLE IF EXISTS audit_entry_202002")


@pytest.mark.parametrize("damage", ["changed", "unlinked"])
def test_archive__tampered_month__stays(old_month: list[Entry], folder: Path, damage: str) -> None:
    """AU-4, AU-5: what does not fit the chain is evidence, and is not taken away."""
    victim = old_month[1].pk
    as_superuser({
        "changed": f"UPDATE audit_entry SET reason = 'x' WHERE id = {victim}",
        "unlinked": f"DELETE FROM audit_link WHERE entry_id = {victim}",
    }[damage])  # fmt: skip
    with pytest.raises(CommandError, match=r"Record \d+ \(log(out|in)\) is not as it was written"):
        run()
    assert OLD in names() and not Archive.objects.exists() and not list(folder.iterdir())
    assert Entry.objects.get(event="audit_archive").outcome == "failed"


def test_archive__cut_short_after_the_note__goes_on_if_the_file_is_sound(
    old_month: list[Entry], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AU-4: after a crash between note and drop the file is read again before anything goes."""
    month = next(month for month in archives.months() if month.name == OLD)
    with monkeypatch.context() as patch:
        patch.setattr(retention, "_drop", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            retention.archive_month(month, folder, timezone.now())
    assert Archive.objects.exists() and OLD in names() and chain.verify().ok
    path = folder / "audit-202001.jsonl.gz"
    kept = path.read_bytes()
    path.write_bytes(kept[:-10])
    with pytest.raises(CommandError, match="SHA-256 differs"):
        run()
    assert OLD in names()
    path.write_bytes(kept)
    assert "archived and dropped" in run()


def test_verify__row_simply_deleted__is_still_found(old_month: list[Entry], folder: Path) -> None:
    """AU-5: only whole archived months may be missing, and exactly what was archived."""
    run()
    other = write()
    as_superuser(f"DELETE FROM audit_entry WHERE id = {other.pk}")
    assert chain.verify().entry_id == other.pk


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE audit_archive SET rows = 4", "note of the archived month"),
        ("UPDATE audit_archive SET since = '2019-01-01', until = '2020-03-01'", "note of the archived month"),
        ("DELETE FROM audit_archive", "was removed"),
        ("DELETE FROM audit_link WHERE seq = (SELECT last_seq FROM audit_archive)", "was removed"),
        ("UPDATE audit_link SET hash = sha256(hash) WHERE seq = (SELECT first_seq FROM audit_archive)", ""),
    ],
)
def test_verify__archived_month_tampered_with__is_found(
    old_month: list[Entry], folder: Path, statement: str, problem: str
) -> None:
    """AU-5: notes are sealed with the chain's key; links of what is gone must be those that were archived."""
    run()
    as_superuser(statement)
    verdict = chain.verify()
    assert not verdict.ok and problem in verdict.problem


def test_verify__link_moved_into_archived_month__is_found(old_month: list[Entry], folder: Path) -> None:
    """AU-5: what was archived is told by its place in the chain; the time of a link alone says nothing."""
    run()
    victim = write("role_change")
    write()
    as_superuser(f"DELETE FROM audit_entry WHERE id = {victim.pk}")
    as_superuser(f"UPDATE audit_link SET entry_at = '2020-01-15 00:00+00' WHERE entry_id = {victim.pk}")
    assert chain.verify().entry_id == victim.pk
    assert verification.verify_new(seconds=5).entry_id == victim.pk
    assert not verification.verify_at_once(checkpoints=None, archive=folder).ok
    told = verification.verify_all(timezone.now(), seconds=5)
    assert told and told.entry_id == victim.pk


def test_verify__link_moved_into_archived_month_among_its_links__is_found(old_month: list[Entry], folder: Path) -> None:
    """AU-5: a link of another month between those that were archived is one more than the note says."""
    run()
    note = Archive.objects.get()
    inside = [link for link in links.read_links(links.START) if note.first_seq <= link.seq <= note.last_seq]
    between = next(link for link in inside if link.entry_at.year > 2020)
    as_superuser(f"DELETE FROM audit_entry WHERE id = {between.entry_id}")
    as_superuser(f"UPDATE audit_link SET entry_at = '2020-01-15 00:00+00' WHERE seq = {between.seq}")
    assert "not those that were archived" in chain.verify().problem
    told = verification.verify_all(timezone.now(), seconds=5)
    assert told and "not those that were archived" in told.problem


def test_verify__late_entry_of_dropped_month_deleted__is_found(old_month: list[Entry], folder: Path) -> None:
    """AU-5: what comes after a month was archived is not covered by its archive."""
    run()
    late = write("circuit_trip", at="2020-01-10T10:00")
    verdict = chain.verify()
    assert verdict.ok and verdict.checked == chain.head().seq
    as_superuser(f"DELETE FROM audit_entry WHERE id = {late.pk}")
    assert chain.verify().entry_id == late.pk


def test_verify__month_made_again_and_dropped_with_late_entries__is_found(old_month: list[Entry], folder: Path) -> None:
    """AU-5: the note of a month serves for one drop; the same name with as many new entries goes not unseen."""
    run()
    make_month(2020, 1)
    late = [write("logout", at="2020-01-10T10:00") for _ in range(5)]
    ask(DROP, OLD, timezone.now())
    assert chain.verify().entry_id == late[0].pk


@pytest.mark.parametrize("damage", ["gone", "cut", "other content", "one byte"])
def test_check_files__damaged__is_found(old_month: list[Entry], folder: Path, damage: str) -> None:
    """AU-4: `audit verify --archive` reads the files too."""
    run()
    path = folder / "audit-202001.jsonl.gz"
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "other content":
        text = gzip.decompress(content).replace(b"logout", b"logins")
        path.write_bytes(gzip.compress(text))
        with psycopg.connect(superuser_url(), autocommit=True) as outside:
            outside.execute("SET session_replication_role = replica")
            outside.execute("UPDATE audit_archive SET sha256 = %s", [hashlib.sha256(path.read_bytes()).hexdigest()])
    else:
        path.write_bytes(bytes([*content[:-1], content[-1] ^ 1]))
    assert path.name in archives.check_files(folder)
    with pytest.raises(CommandError, match="NOT intact"):
        call_command("audit", "verify", archive=folder)


# ---------------------------------------------------------------- the intruder: the application's own role


def refused(statement: str, *params: Any) -> str:
    with pytest.raises(DatabaseError) as caught:
        ask(statement, *params)
    return str(caught.value)


def test_drop__not_archived__is_refused(old_month: list[Entry]) -> None:
    """AU-4: the application's role, whatever it claims."""
    assert "was not archived" in refused(DROP, OLD, timezone.now())
    assert OLD in names()


@pytest.mark.parametrize("statement", [DROP, NOTE])
def test_young_month__neither_noted_nor_dropped(transactional_db: None, statement: str) -> None:
    """AU-4: 90 days by PostgreSQL's own clock; a fake note for a young month cannot be written at all."""
    ended = timezone.now() - timedelta(days=45)
    make_month(ended.year, ended.month)
    young = f"audit_entry_{ended:%Y%m}"
    try:
        claim = datetime(2100, 1, 1, tzinfo=UTC) if statement == DROP else 0
        assert "not old enough" in refused(statement, young, claim)
        assert young in names() and not Archive.objects.exists()
    finally:
        as_superuser(f"DROP TABLE {young}")


@pytest.mark.parametrize(
    "statement",
    [
        f"INSERT INTO audit_archive SELECT '{OLD}', now(), now(), 5, 1, 1, '', '', '', '', '', '', now()",
        "UPDATE audit_archive SET rows = 0",
        "DELETE FROM audit_archive",
        "TRUNCATE audit_archive",
        f"DROP TABLE {OLD}",
        f"ALTER TABLE audit_entry DETACH PARTITION {OLD}",
        f"DELETE FROM {OLD}",
        f"SELECT audit_expired_partition('{OLD}')",
        f"SELECT audit_restrict('{OLD}')",
    ],
)
def test_application_role__other_ways__are_refused(old_month: list[Entry], statement: str) -> None:
    """AU-4: the functions are the only way."""
    assert "permission denied" in refused(statement) or "must be owner" in refused(statement)


def test_note__of_other_rows__is_refused(old_month: list[Entry]) -> None:
    """AU-4: a note must say how many rows there are, and a month that has grown since is not dropped."""
    assert "has 5 rows, the archive has 4" in refused(NOTE, OLD, 4)
    ask(NOTE, OLD, 5)
    write("logout", at="2020-01-15T00:00")
    assert "has 6 rows, its archive has 5" in refused(DROP, OLD, timezone.now())


@pytest.mark.parametrize(
    "name", ["accounts_user", "audit_entry", "audit_entry_default", "x'; DROP TABLE audit_link", ""]
)
def test_drop__anything_else__is_refused(transactional_db: None, name: str) -> None:
    """AU-4: months of the log and nothing else."""
    assert "is not a month of the audit log" in refused(DROP, name, timezone.now())


def test_drop__beyond_what_the_caller_says__is_refused(old_month: list[Entry]) -> None:
    """AU-4: the settings' retention counts too when it is longer than the floor."""
    ask(NOTE, OLD, 5)
    assert "ends after" in refused(DROP, OLD, datetime(2020, 1, 15, tzinfo=UTC))


def test_retention__month_partly_young__stays(old_month: list[Entry], settings: Any) -> None:
    """AU-4: only when every entry of it is older than the retention."""
    settings.AUDIT_RETENTION_DAYS = (timezone.now() - datetime(2020, 1, 31, tzinfo=UTC)).days
    assert [month.name for month in retention.expired_months(timezone.now())] == []
    settings.AUDIT_RETENTION_DAYS -= 2
    assert [month.name for month in retention.expired_months(timezone.now())] == [OLD]
    assert django_settings.AUDIT_RETENTION_DAYS


def test_drop__somebody_reads__is_left_for_the_next_run(old_month: list[Entry], folder: Path) -> None:
    """AU-4: whoever waits for a lock makes all others wait behind, so it does not wait."""
    with psycopg.connect(superuser_url()) as reader:
        reader.execute("SELECT count(*) FROM audit_entry")
        with pytest.raises(CommandError, match="next run tries again"):
            run()
        assert OLD in names()
    assert "archived and dropped" in run()
