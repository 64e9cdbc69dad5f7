"""Saving: versions, audit, danger, conflicts, restoring."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import redis as redis_client
from django.db import DatabaseError, connection, connections

from opsportal.accounts.actors import Actor, PermissionRefused
from opsportal.audit.models import Entry
from opsportal.embedded import roles
from sysconf import services
from sysconf.errors import Conflict, InvalidInput, InvalidValues
from sysconf.models import Version
from sysconf.selectors import read_section
from tests.desk import DESK, WHY
from tests.servers import superuser_url
from tests.sysconf.desk import DEFAULTS, HOURS, LIMITS, newest, save, values


def test_save__first_change__is_version_1_with_audit(users: Any) -> None:
    """CF-3, AU-2: who, when, why, old → new, in the history and in the audit log."""
    by = Actor.of(users.admin)
    saved = save(HOURS, by=by, reason="Summer hours", market_open="08:00")
    assert (saved.number, saved.changes) == (1, {"market_open": ["09:30", "08:00"]})
    row = Version.objects.get()
    assert (row.section, row.number, row.by, row.by_label) == (HOURS, 1, users.admin, users.admin.username)
    assert row.values == values(HOURS) and row.reason == "Summer hours"
    entry = Entry.objects.get(event="config_update")
    assert entry.outcome == "success" and entry.resource_id == HOURS and entry.reason == "Summer hours"
    assert entry.additional_data == {"section": HOURS, "version": 1, "changes": {"market_open": ["09:30", "08:00"]}}


def test_save__without_permission__is_refused(users: Any) -> None:
    """RBAC-1: the service asks, whoever calls."""
    with pytest.raises(PermissionRefused):
        save(HOURS, by=Actor.of(users.operator), market_open="08:00")
    assert Version.objects.count() == 0


def test_save__nothing_changed__is_refused(db: None) -> None:
    """CF-3: a version is a change."""
    with pytest.raises(InvalidInput, match="nothing to save"):
        save(HOURS)
    assert Version.objects.count() == 0


@pytest.mark.parametrize("reason", ["", "   "])
def test_save__without_reason__is_refused(db: None, reason: str) -> None:
    """CF-3: why is part of the history."""
    with pytest.raises(InvalidInput) as refusal:
        save(HOURS, reason=reason, market_open="08:00")
    assert refusal.value.field == "reason"


DANGEROUS = [
    (DEFAULTS, {"dry_run": False}),
    (DEFAULTS, {"circuit_breaker_enabled": False}),
    (DEFAULTS, {"drawdown_threshold": 0.06}),
    (LIMITS, {"max_position_per_symbol": 1_001}),
    (LIMITS, {"max_notional_total": 100_001}),
    (LIMITS, {"max_open_orders": 11}),
]


@pytest.mark.parametrize(("key", "changed"), DANGEROUS, ids=lambda value: str(value))
def test_save__dangerous__needs_reason_and_tick(db: None, key: str, changed: dict[str, Any]) -> None:
    """CF-4: 20 characters and a tick; one without the other is refused and changes nothing."""
    for reason, tick, field in (("short", True, "reason"), (WHY, False, "acknowledged")):
        with pytest.raises(InvalidInput) as refusal:
            services.save_section(
                key, values(key, **changed), by=DESK, reason=reason, base_version=0, acknowledged=tick
            )
        assert refusal.value.field == field
    assert newest(key) == 0
    assert save(key, **changed).number == 1


@pytest.mark.parametrize(
    ("key", "raised", "lowered"),
    [
        (DEFAULTS, {"dry_run": False}, {"dry_run": True}),
        (DEFAULTS, {"circuit_breaker_enabled": False}, {"circuit_breaker_enabled": True}),
        (DEFAULTS, {"drawdown_threshold": 0.06}, {"drawdown_threshold": 0.05}),
        (LIMITS, {"max_open_orders": 11}, {"max_open_orders": 9}),
    ],
)
def test_save__the_safe_way__needs_a_reason_only(
    db: None, key: str, raised: dict[str, Any], lowered: dict[str, Any]
) -> None:
    """CF-4: making it safer is quick."""
    save(key, **raised)
    services.save_section(key, values(key, **lowered), by=DESK, reason="safer", base_version=1)
    assert newest(key) == 2


def test_save__stale_base__is_a_conflict_that_tells_all_three(users: Any) -> None:
    """CF-3: the second editor sees base, theirs and their own; nothing is overwritten, the attempt is audited."""
    mine = values(HOURS, market_open="07:00")
    save(HOURS, by=Actor.of(users.admin), market_open="08:00")
    with pytest.raises(Conflict) as refusal:
        services.save_section(HOURS, mine, by=DESK, reason="mine", base_version=0)
    conflict = refusal.value
    assert conflict.base and conflict.base["market_open"] == "09:30"
    assert (conflict.theirs["market_open"], conflict.number) == ("08:00", 1)
    assert users.admin.username in conflict.sentence
    assert values(HOURS)["market_open"] == "08:00"
    assert Entry.objects.get(event="config_update", outcome="failed").actor_label == "desk"


@pytest.mark.parametrize("base", [-1, 7, 10**9])
def test_save__base_that_never_was__is_a_conflict(db: None, base: int) -> None:
    """CF-3: a form that this portal did not draw must not pass as one that it did."""
    with pytest.raises(Conflict) as refusal:
        save(HOURS, base=base, market_open="08:00")
    assert refusal.value.base is None


def test_save__many_at_once__one_wins(transactional_db: None) -> None:
    """CF-3: eight editors of one version make one new version and seven conflicts."""
    outcomes: list[str] = []
    start = threading.Barrier(8)

    def run(hour: int) -> None:
        start.wait()
        try:
            save(HOURS, base=0, market_open=f"{hour:02}:00")
            outcomes.append("saved")
        except Conflict:
            outcomes.append("conflict")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(hour,)) for hour in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["conflict"] * 7 + ["saved"]
    assert [row.number for row in Version.objects.all()] == [1]


@pytest.fixture
def log_refuses(transactional_db: None) -> Iterator[None]:
    """The audit log takes no entry."""
    with psycopg.connect(superuser_url(), autocommit=True) as outside:
        outside.execute(f"REVOKE INSERT ON audit_entry FROM {roles.APPLICATION}")
        yield
        outside.execute(f"GRANT INSERT ON audit_entry TO {roles.APPLICATION}")


def test_save__audit_refuses__nothing_is_saved(log_refuses: None, redis: redis_client.Redis) -> None:
    """AU-3: version and audit entry commit together, or neither does; readers go on with what holds."""
    with pytest.raises(DatabaseError):
        save(HOURS, market_open="08:00")
    assert newest(HOURS) == 0
    assert read_section(HOURS).values["market_open"] == "09:30"


def test_restore__earlier_version__is_a_new_version(db: None) -> None:
    """CF-3: restoring adds to the history, and says what it restored."""
    save(HOURS, market_open="08:00")
    save(HOURS, market_open="07:00")
    earlier = Version.objects.get(number=1).values
    saved = services.save_section(HOURS, earlier, by=DESK, reason="back", base_version=2, restored_from=1)
    row = Version.objects.get(number=3)
    assert (saved.number, row.values, row.restored_from) == (3, earlier, 1)
    entry = Entry.objects.get(event="config_restore")
    assert entry.additional_data["restored_from"] == 1


def test_restore__defaults__works(db: None) -> None:
    """CF-3: version 0 is what held before the first change."""
    save(HOURS, market_open="08:00")
    services.save_section(
        HOURS, values(HOURS, market_open="09:30"), by=DESK, reason="back", base_version=1, restored_from=0
    )
    assert values(HOURS)["market_open"] == "09:30"


def test_restore__dangerous__needs_step_up(db: None) -> None:
    """CF-4: the way back to danger is no short cut."""
    save(DEFAULTS, dry_run=False)
    save(DEFAULTS, dry_run=True)
    with pytest.raises(InvalidInput) as refusal:
        services.save_section(
            DEFAULTS, values(DEFAULTS, dry_run=False), by=DESK, reason="back", base_version=2, restored_from=1
        )
    assert refusal.value.field == "reason"


@pytest.mark.parametrize("number", [1, 99])
def test_restore__other_values_or_no_version__is_refused(db: None, number: int) -> None:
    """CF-3: what is called a restoration is one."""
    save(HOURS, market_open="08:00")
    with pytest.raises(InvalidInput, match="version"):
        services.save_section(
            HOURS, values(HOURS, market_open="06:00"), by=DESK, reason="back", base_version=1, restored_from=number
        )
    assert newest(HOURS) == 1


@pytest.mark.parametrize("statement", ["UPDATE {} SET reason = ''", "DELETE FROM {}", "TRUNCATE {}"])
def test_versions__changed_in_the_database__is_refused(transactional_db: None, statement: str) -> None:
    """CF-3: every version is kept, by the database itself."""
    save(HOURS, market_open="08:00")
    with pytest.raises(DatabaseError), connection.cursor() as cursor:
        cursor.execute(statement.format("sysconfig_version"))
    assert Version.objects.count() == 1


def test_save__values_wrong__names_every_field(db: None) -> None:
    """CF-1: all at once, not one by one."""
    with pytest.raises(InvalidValues) as refusal:
        save(LIMITS, max_open_orders=0, max_notional_total="many")
    assert set(refusal.value.errors) == {"max_open_orders", "max_notional_total"}


def test_save__value_missing__is_not_reset_to_its_default(db: None) -> None:
    """CF-4: half of a section cannot switch the other half back."""
    save(DEFAULTS, dry_run=False)
    with pytest.raises(InvalidValues) as refusal:
        services.save_section(DEFAULTS, {"dry_run": False}, by=DESK, reason=WHY, base_version=1, acknowledged=True)
    assert set(refusal.value.errors) == {"circuit_breaker_enabled", "drawdown_threshold"}
    assert newest(DEFAULTS) == 1


@pytest.mark.parametrize("key", ["nothing", "", "Trading_Hours"])
def test_save__unknown_section__is_a_lookup_error(db: None, key: str) -> None:
    """CF-1: nothing is stored under a name that is none."""
    with pytest.raises(LookupError):
        services.save_section(key, {}, by=DESK, reason=WHY, base_version=0)


def test_save__secret_in_the_reason__is_masked(db: None) -> None:
    """AU-3, AC-5: in the history as in the log."""
    save(HOURS, reason="asked by anna@example.com", market_open="08:00")
    assert Version.objects.get().reason == "asked by ***@example.com"
