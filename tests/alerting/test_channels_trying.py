"""Trying a channel out: the real way, the real outcome (AC-2)."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from alerting.models import Channel, Delivery, Event, EventState, Notice, Origin, Status
from alerting.services import channels, trying
from opsportal.accounts.actors import Actor, PermissionRefused
from opsportal.audit.models import Entry
from tests.alerting.operating import signed_in
from tests.alerting.providers import steps
from tests.alerting.providers.fixtures import Providers
from tests.alerting.sending_out import dispatching
from tests.conftest import Users
from tests.desk import DESK
from tests.waiting import until


def hook(url: str, **more: Any) -> Channel:
    return channels.create_channel(by=DESK, kind="webhook", name="desk", settings={"url": url}, **more)


@pytest.mark.django_db(transaction=True)
def test_send_test__working_channel__arrives_and_the_page_says_so(users: Users, providers: Providers) -> None:
    """AC-2: from the button to the provider and back to the page; nothing keeps ringing afterwards."""
    client = signed_in(users.operator)
    channel = hook(providers.webhook.url)
    with dispatching():
        answer = client.post(f"/admin/alerting/channels/{channel.pk}/test/")
        page = answer["Location"]
        until(lambda: b"It works: delivered to 1 recipient" in client.get(f"{page}fragment/").content, seconds=10)
    (received,) = providers.webhook.received
    assert received.json["notice"] == "test" and "test" in received.json["events"][0]["summary"].lower()
    finished = client.get(page).content.decode()
    assert "tests/" not in finished.partition('id="tested"')[2], "a finished test asks no more"
    event = Event.objects.get()
    assert (event.origin, event.state) == (Origin.TEST, EventState.RESOLVED)
    assert Entry.objects.get(event="channel_test").actor_label == users.operator.username


@pytest.mark.django_db(transaction=True)
def test_send_test__broken_channel__the_page_says_why(users: Users, providers: Providers) -> None:
    """AC-2: the provider's own answer, masked."""
    providers.webhook.always(steps.says(404, "gone"))
    client = signed_in(users.operator)
    channel = hook(providers.webhook.url)
    with dispatching():
        page = client.post(f"/admin/alerting/channels/{channel.pk}/test/")["Location"]
        until(lambda: b"It does not work" in client.get(f"{page}fragment/").content, seconds=10)
    shown = client.get(page).content.decode()
    assert "404" in shown and providers.webhook.url not in shown


@pytest.mark.django_db
def test_send_test__nobody_sends__is_said_after_a_while(users: Users) -> None:
    """AC-2: a dispatcher that does not run is not the channel's fault; until then the page asks again."""
    channel = hook("https://hooks.example.com/x")
    event = trying.send_test(channel, by=DESK)
    path = f"/admin/alerting/channels/{channel.pk}/tests/{event.pk}/"
    client = signed_in(users.viewer)
    fresh = client.get(path).content.decode()
    assert "Under way" in fresh and "process “alerts”" not in fresh
    poll = fresh.partition('id="tested" hx-get="')[2].partition('"')[0]
    assert client.get(poll).status_code == 204, "the same is not told twice"
    Event.objects.update(started_at=event.started_at - trying.WINDOW)
    assert "process “alerts”" in client.get(path).content.decode()
    assert client.get(poll).status_code == 200


@pytest.mark.django_db
def test_send_test__held_by_a_limit__says_until_when_and_what_to_do(users: Users) -> None:
    """AC-2, AD-7: nobody waits in front of “under way” for an hour."""
    channel = hook("https://hooks.example.com/x")
    event = trying.send_test(channel, by=DESK)
    until_then = timezone.now().replace(microsecond=0) + timedelta(minutes=25)
    path = f"/admin/alerting/channels/{channel.pk}/tests/{event.pk}/"
    client = signed_in(users.viewer)
    poll = client.get(path).content.decode().partition('id="tested" hx-get="')[2].partition('"')[0]
    held = {"due_at": until_then, "waits_for": "recipient", "waits": 1}
    Delivery.objects.update(**held)
    page = client.get(path).content.decode()
    assert client.get(poll).status_code == 200
    assert "Under way" not in page and "Held until" in page and until_then.isoformat() in page
    Delivery.objects.update(lease=uuid.uuid4())
    assert "Under way" in client.get(path).content.decode(), "it is being sent"


@pytest.mark.django_db
def test_send_test__seventh_within_a_minute__is_refused(users: Users) -> None:
    """AC-2: at most 6 a minute a channel; another channel has its own."""
    channel, now = hook("https://hooks.example.com/x"), None
    other = channels.create_channel(
        by=DESK, kind="webhook", name="other", settings={"url": "https://hooks.example.com/y"}
    )
    for _ in range(trying.MOST_TESTS):
        now = trying.send_test(channel, by=DESK).started_at
    with pytest.raises(trying.TooManyTests):
        trying.send_test(channel, by=DESK)
    answer = signed_in(users.operator).post(f"/admin/alerting/channels/{channel.pk}/test/", follow=True)
    assert b"wait a minute" in answer.content
    assert trying.send_test(other, by=DESK)
    assert now and trying.send_test(channel, by=DESK, now=now + trying.WINDOW * 1.1)


@pytest.mark.django_db
def test_send_test__many_recipients__each_has_a_delivery_of_its_own() -> None:
    """AC-2: the same way as every message: hashed, sealed, shown masked."""
    settings = {
        "recipients": ["anna@example.com", "bert@example.org"],
        "sender": "p@example.com",
        "smtp_host": "smtp.example.com",
    }
    channel = channels.create_channel(by=DESK, kind="email", name="mail", settings=settings)
    event = trying.send_test(channel, by=DESK)
    rows = list(Delivery.objects.filter(event_id=event.pk))
    assert {row.recipient_shown for row in rows} == {"***@example.com", "***@example.org"}
    assert {(row.notice, row.status, row.kind) for row in rows} == {(Notice.TEST, Status.PENDING, "email")}


@pytest.mark.django_db
def test_send_test__channel_off_or_broken__is_refused_with_the_reason(users: Users, settings: Any) -> None:
    """AC-2: nothing is queued that cannot be sent."""
    client = signed_in(users.operator)
    channel = hook("https://hooks.example.com/x", enabled=False)
    assert b"Switch it on first" in client.post(f"/admin/alerting/channels/{channel.pk}/test/", follow=True).content
    channels.set_enabled(channel, True, by=DESK)
    settings.FIELD_ENCRYPTION_KEYS = ["another-key-of-the-ring-0123456789abcdef"]
    assert b"cannot be decrypted" in client.post(f"/admin/alerting/channels/{channel.pk}/test/", follow=True).content
    assert not Delivery.objects.exists() and not Event.objects.exists()


@pytest.mark.django_db
def test_send_test__viewer__is_refused(users: Users) -> None:
    """RBAC-1, section 10."""
    with pytest.raises(PermissionRefused):
        trying.send_test(hook("https://hooks.example.com/x"), by=Actor.of(users.viewer))


@pytest.mark.django_db
def test_tested__of_another_channel_or_none__is_not_found(users: Users) -> None:
    """Q-5: an event that is no test of this channel is not shown as one."""
    channel = hook("https://hooks.example.com/x")
    event = trying.send_test(channel, by=DESK)
    other = channels.create_channel(
        by=DESK, kind="webhook", name="other", settings={"url": "https://hooks.example.com/y"}
    )
    client = signed_in(users.viewer)
    assert client.get(f"/admin/alerting/channels/{channel.pk}/tests/{event.pk}/").status_code == 200
    assert client.get(f"/admin/alerting/channels/{other.pk}/tests/{event.pk}/").status_code == 404
    assert (
        client.get(f"/admin/alerting/channels/{channel.pk}/tests/{'0' * 8}-0000-4000-8000-{'0' * 12}/").status_code
        == 404
    )
