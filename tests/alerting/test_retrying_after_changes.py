"""Retries after a key, the secret of the hash or a digest's fate has changed; and what a note is about."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from alerting.channels.email import EmailSettings
from alerting.models import Delivery, Notice, Status
from alerting.services import channels
from alerting.services import deliveries as services
from opsportal.accounts.actors import Actor
from opsportal.secrets import keyring
from tests.alerting.operating import a_message, an_alert, mail_channel, poison
from tests.alerting.outgoing import make_channel, make_webhook
from tests.desk import DESK

pytestmark = pytest.mark.django_db
URL = "https://hooks.example.com/desk"


@pytest.mark.parametrize("rotated", [False, True], ids=["same hash", "hash under a new secret"])
def test_retry__key_was_lost_and_the_settings_entered_anew__goes_where_it_went(
    users: Any, settings: Any, rotated: bool
) -> None:
    """SX-4, AD-10: what the cause advises helps: the channel knows the address, the row only its hash."""
    settings.FIELD_ENCRYPTION_KEYS = ["o" * 40]
    channel = make_webhook(URL)
    rows = [poison(an_alert(number), channel, URL) for number in range(2)]
    settings.FIELD_ENCRYPTION_KEYS = ["n" * 40]
    if rotated:
        settings.ALERT_RECIPIENT_HASH_SECRET_PREVIOUS = settings.ALERT_RECIPIENT_HASH_SECRET
        settings.ALERT_RECIPIENT_HASH_SECRET = "n" * 40
    channels.update_channel(channel, by=DESK, name="desk", settings={"url": URL}, expected_version=1)
    done = services.retry_deliveries([row.pk for row in rows], by=Actor.of(users.operator))
    assert (done.count, Delivery.objects.count()) == (2, 2)
    for row in Delivery.objects.all():
        assert (row.status, keyring.unseal(row.recipient_sealed)) == (Status.PENDING, URL)


def test_resolve__one_of_a_digest__leaves_the_others(users: Any) -> None:
    """AD-10: a note is about what was chosen; five critical ones do not leave the queue with it."""
    channel = mail_channel()
    leader = poison(an_alert(severity=0), channel)
    members = [poison(an_alert(number, severity=0), channel, merged_into=leader.pk) for number in range(1, 5)]
    info = poison(an_alert(9, severity=2), channel, merged_into=leader.pk)
    assert services.resolve_deliveries([info.pk], by=Actor.of(users.operator), note="a restart, nothing to do") == 1
    open_still = Delivery.objects.filter(settled_at__isnull=True).order_by("id")
    assert [row.pk for row in open_still] == [leader.pk, *(member.pk for member in members)]
    assert services.resolve_deliveries([leader.pk], by=Actor.of(users.operator), note="told by phone") == 1
    assert services.retry_deliveries([members[0].pk], by=Actor.of(users.operator)).count == 4


@pytest.mark.parametrize("notice", [Notice.FIRING, Notice.RESOLVED])
def test_retry__written_anew_under_a_new_secret__tells_nobody_twice(users: Any, settings: Any, notice: Notice) -> None:
    """AD-3, AD-9: whoever was told under the previous secret was told."""
    to = EmailSettings(
        recipients=["told@example.com", "right@example.com"], sender="p@example.com", smtp_host="smtp.example.com"
    )
    channel = make_channel("email", to, "mail")
    event = an_alert(state="resolved", resolved_at=timezone.now())
    a_message(event, channel, "told@example.com", status=Status.DELIVERED, finished_at=timezone.now(), notice=notice)
    typo = poison(event, channel, "typo@example.com", notice=notice)
    settings.ALERT_RECIPIENT_HASH_SECRET_PREVIOUS = settings.ALERT_RECIPIENT_HASH_SECRET
    settings.ALERT_RECIPIENT_HASH_SECRET = "n" * 40
    services.retry_deliveries([typo.pk], by=Actor.of(users.operator))
    made = Delivery.objects.filter(status=Status.PENDING)
    assert [keyring.unseal(row.recipient_sealed) for row in made] == ["right@example.com"]
