"""`manage.py rotate_keys`: what is encrypted, encrypted anew while the portal runs."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from alerting import keys
from alerting.models import Channel, Delivery, Episode, Notice, Priority, Status
from alerting.services import resealing
from opsportal.accounts.actors import Actor, PermissionRefused
from opsportal.audit.models import Entry
from opsportal.secrets import keyring
from tests.conftest import Users

pytestmark = pytest.mark.django_db
OLD, NEW = "o" * 40, "n" * 40


@pytest.fixture
def old_ring(settings: Settings) -> Iterator[None]:
    """The time before the rotation."""
    settings.FIELD_ENCRYPTION_KEYS = [OLD]
    yield


def channel(name: str, text: str = "{}") -> Channel:
    return Channel.objects.create(name=name, kind="webhook", sealed=keyring.seal(text))


def delivery(number: int, status: str, **fields: Any) -> Delivery:
    now = timezone.now()
    bucket = keys.hour_bucket(now)
    usual: dict[str, Any] = {
        "event_id": uuid.uuid4(), "event_started_at": now, "channel_id": 1, "kind": "webhook", "recipient_hash": "0" * 16,
        "recipient_sealed": keyring.seal(f"recipient {number}"), "recipient_shown": "…", "notice": Notice.FIRING,
        "priority": Priority.CRITICAL, "status": status, "due_at": now, "triggered_at": now,
    }  # fmt: skip
    return Delivery.objects.create(hour_bucket=bucket, dedup_key=f"key {number}", **{**usual, **fields})


def run(**options: Any) -> str:
    out = StringIO()
    call_command("rotate_keys", stdout=out, stderr=out, **options)
    return out.getvalue()


def test_rotate__new_key_in_front__the_old_one_can_go(
    old_ring: None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SX-4: channels and what may still go out; progress is told; run again it finds nothing left to do."""
    monkeypatch.setattr(resealing, "CHUNK", 2)
    channels = [channel(f"Channel {n}", f"settings {n}") for n in range(5)]
    waiting, poisoned = delivery(1, Status.PENDING), delivery(2, Status.POISON)
    told, forgotten = delivery(3, Status.DELIVERED), delivery(4, Status.DELIVERED)
    Episode.objects.create(key="1:x", event_id=told.event_id, event_started_at=told.event_started_at)
    settings.FIELD_ENCRYPTION_KEYS = [NEW, OLD]
    said = run()
    assert "channels: 2 looked at" in said and "channels: 5 looked at, 5 encrypted anew" in said
    assert "deliveries: 3 looked at, 3 encrypted anew" in said
    settings.FIELD_ENCRYPTION_KEYS = [NEW]
    for number, row in enumerate(channels):
        row.refresh_from_db()
        assert keyring.unseal(row.sealed) == f"settings {number}" and row.version == 1
    for number, open_one in enumerate((waiting, poisoned, told), 1):
        open_one.refresh_from_db()
        assert keyring.unseal(open_one.recipient_sealed) == f"recipient {number}"
    assert forgotten.recipient_sealed == Delivery.objects.get(pk=forgotten.pk).recipient_sealed
    assert "5 looked at, 0 encrypted anew" in run()
    assert Entry.objects.filter(event="keys_rotate").count() == 2


def test_rotate__stopped_in_the_middle__goes_on(
    old_ring: None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SX-4: what is done stays done."""
    monkeypatch.setattr(resealing, "CHUNK", 1)
    for number in range(3):
        channel(f"Channel {number}")
    settings.FIELD_ENCRYPTION_KEYS = [NEW, OLD]

    def stop(part: resealing.Resealed) -> None:
        if part.looked_at == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        resealing.reseal_all(by=Actor.command_line(), report=stop)
    assert "channels: 3 looked at, 1 encrypted anew" in run()


def test_rotate__key_is_missing__the_others_go_on(old_ring: None, settings: Settings) -> None:
    """SX-4: one row that nothing opens is named and left alone; the exit code says that something is left to do."""
    lost = channel("Lost")
    settings.FIELD_ENCRYPTION_KEYS = ["m" * 40]
    kept = channel("Kept", "kept")
    settings.FIELD_ENCRYPTION_KEYS = [NEW, "m" * 40]
    with pytest.raises(CommandError, match="missing from FIELD_ENCRYPTION_KEYS"):
        run()
    lost.refresh_from_db()
    kept.refresh_from_db()
    settings.FIELD_ENCRYPTION_KEYS = [NEW]
    assert keyring.unseal(kept.sealed) == "kept"
    settings.FIELD_ENCRYPTION_KEYS = [OLD]
    assert keyring.unseal(lost.sealed) == "{}"


def test_rotate__edited_meanwhile__keeps_the_edit(old_ring: None, settings: Settings) -> None:
    """SX-4: beside a running portal."""
    row = channel("Desk", "before")
    read = [(row.pk, row.sealed)]
    settings.FIELD_ENCRYPTION_KEYS = [NEW, OLD]
    Channel.objects.filter(pk=row.pk).update(sealed=keyring.seal("after"))
    found = resealing._reseal_chunk(Channel, "sealed", read, resealing.Resealed("channels"))
    row.refresh_from_db()
    assert keyring.unseal(row.sealed) == "after" and found.changed == 0


def test_rotate__operator__may_not(users: Users) -> None:
    """RBAC-1: whoever may not manage credentials does not touch them."""
    with pytest.raises(PermissionRefused):
        resealing.reseal_all(by=Actor.of(users.operator))
    with pytest.raises(CommandError):
        run(as_user=users.operator.username)
