"""Verification that goes on by itself: new links, the whole chain bit by bit, and what is told of it."""

from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection
from django.test import Client
from django.utils import timezone

from opsportal.audit import chain, links, selectors, tasks, verification
from opsportal.audit.models import Entry, Run, Verification
from tests.audit.entries import as_superuser, write

WITHOUT_CHECK = "ALTER TABLE audit_entry DROP CONSTRAINT IF EXISTS audit_entry_id_positive"
WITH_CHECK = "ALTER TABLE audit_entry ADD CONSTRAINT audit_entry_id_positive CHECK (id > 0) NOT VALID"


@pytest.fixture(autouse=True)
def _own_checkpoints(settings: Any, tmp_path: Path) -> None:
    settings.AUDIT_CHECKPOINT_FILE = str(tmp_path / "heads.jsonl")


def row(kind: Run) -> Verification:
    return Verification.objects.get(kind=kind)


def test_verify_new__each_time__looks_at_new_links_only(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AU-5: from the last good link on, whatever the size of the log."""
    write()
    write()
    assert verification.verify_new(seconds=5).ok
    assert row(Run.NEW).seq == chain.head().seq
    asked: list[int] = []
    read = links.read_links

    def noted(after: links.Head, **more: Any) -> list[links.Link]:
        asked.append(after.seq)
        return read(after, **more)

    monkeypatch.setattr(links, "read_links", noted)
    seen = chain.head().seq
    write()
    assert verification.verify_new(seconds=5).checked == seen + 1
    assert min(asked) == seen - 1  # the link it stopped at is looked at again
    assert selectors.verified_up_to() == seen + 1 and not selectors.chain_status().late


@pytest.mark.parametrize("damage", ["changed", "removed", "link", "mark"])
def test_verify_new__tampered__stays_at_the_last_good_link_and_says_so_once(
    transactional_db: None, damage: str
) -> None:
    """AU-5: found within a minute, audited once, and not forgotten by the next run."""
    write()
    verification.verify_new(seconds=5)
    good = row(Run.NEW).seq
    victim = write()
    write()
    as_superuser({
        "changed": f"UPDATE audit_entry SET reason = 'other' WHERE id = {victim.pk}",
        "removed": f"DELETE FROM audit_entry WHERE id = {victim.pk}",
        "link": f"DELETE FROM audit_link WHERE entry_id = {victim.pk}",
        "mark": f"UPDATE audit_link SET hash = decode(repeat('ab', 32), 'hex') WHERE seq = {good}",
    }[damage])  # fmt: skip
    for _ in range(2):
        verdict = verification.verify_new(seconds=5)
        assert not verdict.ok and verdict.checked == good
    assert selectors.chain_problem() == verdict.problem == row(Run.NEW).problem
    told = Entry.objects.filter(event="audit_verify", outcome="failed")
    assert told.count() == 1 and told[0].reason == verdict.problem
    assert selectors.chain_status().problem == verdict.problem


def test_verify_all__little_time__goes_on_where_it_stopped(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AU-5: the daily look at everything is done in small pieces, and then not again until tomorrow."""
    for _ in range(9):
        write()
    check = links.check_links
    monkeypatch.setattr(links, "check_links", lambda after, **more: check(after, **{**more, "limit": 2}))
    monkeypatch.setattr("opsportal.audit.verification.monotonic", iter(range(1_000)).__next__)
    now = timezone.now()
    runs = 1
    while verification.verify_all(now, seconds=2.5) and not row(Run.PASS).finished_at:
        runs += 1
    assert runs >= 3
    assert row(Run.FULL).seq >= 9 and row(Run.FULL).problem == ""
    assert verification.verify_all(now + timedelta(hours=23), seconds=2.5) is None
    assert verification.verify_all(now + timedelta(hours=25), seconds=2.5) is not None


@pytest.mark.parametrize("damage", ["changed", "inserted", "cut off"])
def test_verify_all__tampered_long_ago__is_found(transactional_db: None, damage: str) -> None:
    """AU-5: what the look at new links cannot see any more."""
    victim = write()
    for _ in range(3):
        write()
    verification.verify_new(seconds=5)
    chain.checkpoint()
    last = Entry.objects.latest("id").pk
    twin = "SELECT 1"
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(quote_ident(column_name), ',') FROM information_schema.columns "
                       "WHERE table_name = 'audit_entry' AND column_name NOT IN ('timestamp', 'event_id')")  # fmt: skip
        columns = cursor.fetchone()[0]
        twin = (
            f'INSERT INTO audit_entry ("timestamp", event_id, {columns}) SELECT "timestamp" - interval \'1 s\', '
            f"gen_random_uuid(), {columns} FROM audit_entry WHERE id = {victim.pk}"
        )
    for statement in {
        "changed": [f"UPDATE audit_entry SET actor_label = 'other' WHERE id = {victim.pk}"],
        "inserted": [twin],
        "cut off": [f"DELETE FROM audit_entry WHERE id = {last}", f"DELETE FROM audit_link WHERE entry_id = {last}"],
    }[damage]:
        as_superuser(statement)
    verdict = verification.verify_all(timezone.now(), seconds=5)
    assert verdict and damage in verdict.problem
    assert selectors.chain_problem() == verdict.problem
    assert Entry.objects.filter(event="audit_verify", outcome="failed").exists()


@pytest.mark.parametrize("number", [0, -5, -(2**63), 2**62])
def test_verify__forged_entry_with_an_odd_id__is_found(transactional_db: None, number: int) -> None:
    """AU-5: every id is looked at, not only those that the sequence gives, and a gap of any size costs nothing."""
    write()
    source = write("logout")
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(quote_ident(column_name), ',') FROM information_schema.columns "
                       "WHERE table_name = 'audit_entry' AND column_name NOT IN ('id', 'event_id')")  # fmt: skip
        columns = cursor.fetchone()[0]
    forge = (
        f"INSERT INTO audit_entry (id, event_id, {columns}) SELECT {number}, gen_random_uuid(), {columns} "
        f"FROM audit_entry WHERE id = {source.pk}"
    )
    as_superuser(f"{WITHOUT_CHECK}; {forge}; {WITH_CHECK}")
    verdict = chain.verify()
    assert verdict.entry_id == number and "past the chain" in verdict.problem
    told = verification.verify_all(timezone.now(), seconds=5)
    assert told and told.entry_id == number


@pytest.mark.parametrize("number", [0, -5])
def test_entry__id_below_one__is_refused_by_the_database(transactional_db: None, number: int) -> None:
    """AU-5: also from the application's role, which may say the id itself."""
    with pytest.raises(IntegrityError, match="audit_entry_id_positive"):
        Entry(pk=number, event="logout").save()


def test_sound_chain__clears_an_earlier_problem(transactional_db: None) -> None:
    """AU-5: after the record was put back from a backup, the next look at everything says that all is well."""
    entry = write(reason="original")
    as_superuser(f"UPDATE audit_entry SET reason = 'other' WHERE id = {entry.pk}")
    assert not verification.verify_new(seconds=5).ok
    with pytest.raises(CommandError, match="NOT intact"):
        call_command("audit", "verify")
    as_superuser(f"UPDATE audit_entry SET reason = 'original' WHERE id = {entry.pk}")
    call_command("audit", "verify", stdout=io.StringIO())
    assert selectors.chain_problem() == ""
    assert verification.verify_new(seconds=5).ok


@pytest.mark.parametrize("action", ["verify", "checkpoint"])
def test_command__each_run__is_audited_under_the_os_user(transactional_db: None, action: str) -> None:
    """AU-6: who looked after the log, by the name that the operating system knows."""
    write()
    call_command("audit", action, stdout=io.StringIO())
    entry = Entry.objects.get(event=f"audit_{action}")
    assert entry.actor_label.endswith("(command line)") and entry.source == "cli" and entry.outcome == "success"
    assert chain.verify().ok


def test_tasks__run_by_themselves__and_metrics_follow(transactional_db: None) -> None:
    """AU-5, AU-7: head, verified and broken are values of the scrape."""
    write()
    tasks.verify_new()
    tasks.verify_all()
    head = chain.head().seq
    text = Client().get("/metrics").content.decode()
    assert f"audit_chain_head_seq {float(head)}" in text
    assert f"audit_chain_verified_seq {float(selectors.verified_up_to())}" in text
    assert "audit_chain_broken 0.0" in text
    as_superuser("UPDATE audit_entry SET reason = 'x'")
    tasks.verify_all()  # not due: it was done just now
    Verification.objects.filter(kind=Run.PASS).update(started_at=timezone.now() - timedelta(days=2))
    tasks.verify_all()
    assert "audit_chain_broken 1.0" in Client().get("/metrics").content.decode()


def test_status__nobody_verifies__is_said(transactional_db: None) -> None:
    """AU-5: silence is not soundness."""
    write()
    later = timezone.now() + timedelta(minutes=11)
    assert selectors.chain_status(later).late and not selectors.chain_status().late  # it has only just begun
    verification.verify_new(seconds=5)
    assert not selectors.chain_status().late
    assert selectors.chain_status(later + timedelta(minutes=1)).late
