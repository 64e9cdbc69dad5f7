"""Rotation: a second key beside the first."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connections

from apikeys import services
from apikeys.models import ApiKey, KeyState
from apikeys.rows import row_of
from opsportal.accounts.refusals import WrongState
from opsportal.accounts.services import disable_user
from opsportal.audit.models import Entry
from tests.apikeys.conftest import REASON
from tests.desk import DESK

NOW = datetime(2026, 12, 24, 23, 30, tzinfo=UTC)


def test_rotation__new_key_has_all_of_the_old_one_and_both_are_valid(made: Any) -> None:
    """AK-6: owner, scopes, networks, the same length of life; the old one is pending; audited with both prefixes."""
    old, _ = made("read:circuit", "write:orders", name="gateway", expires_in_days=90, networks=["10.0.0.0/8"])
    new, text = services.rotate_key(old, by=DESK, now=NOW)
    old.refresh_from_db()
    assert (new.name, new.owner, new.scopes, new.networks) == (
        "gateway_rotated_20261224", old.owner, old.scopes, old.networks
    )  # fmt: skip
    assert new.expires_at == NOW + timedelta(days=90) and new.rotated_from_id == old.pk
    assert (old.pending_since, old.state(old.created_at), new.state(NOW)) == (NOW, KeyState.PENDING, KeyState.ACTIVE)
    assert new.prefix == text.prefix != old.prefix
    entry = Entry.objects.get(event="api_key_rotate")
    assert entry.resource_id == new.prefix and old.prefix in repr(entry.additional_data)


def test_name__rotated_again__suffix_is_replaced_numbered_and_cut(made: Any) -> None:
    """AK-6: `{name}_rotated_YYYYMMDD`, `_2`, `_3` on collision, at most 100 characters."""
    key, _ = made(name="gateway")
    names = []
    for _round in range(3):
        key, _ = services.rotate_key(key, by=DESK, now=NOW)
        names.append(key.name)
    assert names == [
        "gateway_rotated_20261224", "gateway_rotated_20261224_2", "gateway_rotated_20261224_3"
    ]  # fmt: skip
    key, _ = services.rotate_key(key, by=DESK, now=NOW + timedelta(days=1))
    assert key.name == "gateway_rotated_20261225"
    long, _ = made(name="y" * 100)
    assert services.rotate_key(long, by=DESK, now=NOW)[0].name == "y" * 83 + "_rotated_20261224"


def test_rotation__twice__second_is_told_the_successor(made: Any) -> None:
    """AK-6: one successor; the refusal says which and who made it."""
    old, _ = made(name="gateway")
    new, _ = services.rotate_key(old, by=DESK)
    with pytest.raises(WrongState, match="rotated by desk") as refused:
        services.rotate_key(old, by=DESK)
    assert new.name in refused.value.sentence and "rotate it in its turn" in refused.value.sentence
    services.revoke_key(new, by=DESK, reason=REASON)
    with pytest.raises(WrongState, match="which is revoked: make a new key"):
        services.rotate_key(old, by=DESK)


def test_rotation__revoked_key_or_disabled_owner__is_refused(made: Any, users: Any) -> None:
    """AK-6."""
    dead, _ = made()
    services.revoke_key(dead, by=DESK, reason=REASON)
    with pytest.raises(WrongState, match="cannot be rotated"):
        services.rotate_key(dead, by=DESK)
    key, _ = made()
    disable_user(users.operator, by=DESK, reason="Has left the desk.")
    with pytest.raises(WrongState, match="is disabled"):
        services.rotate_key(key, by=DESK)
    assert ApiKey.objects.count() == 2


def test_rotation__two_at_once__make_one(transactional_db: None, made: Any) -> None:
    """AK-6: the row is locked."""
    old, _ = made(name="gateway")
    barrier = threading.Barrier(4)
    outcomes: list[str] = []

    def rotate() -> None:
        barrier.wait(10)
        try:
            services.rotate_key(old, by=DESK)
            outcomes.append("made")
        except WrongState:
            outcomes.append("refused")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=rotate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(outcomes) == ["made", "refused", "refused", "refused"]
    assert ApiKey.objects.count() == 2


@pytest.mark.parametrize(
    ("used", "note"),
    [
        (None, "not used since the new one was made"),
        (timedelta(minutes=-5), "not used since the new one was made"),
        (timedelta(minutes=57), "last used 3 min ago: still in use"),
        (timedelta(minutes=59, seconds=30), "last used less than a minute ago: still in use"),
    ],
)
def test_old_key__says_whether_it_is_still_in_use(made: Any, used: timedelta | None, note: str) -> None:
    """AK-6: seen an hour after the rotation."""
    old, _ = made()
    old.pending_since = NOW
    old.last_used_at = None if used is None else NOW + used
    assert row_of(old, NOW + timedelta(hours=1)).use_note == note
