"""Channels: set up, changed, switched, deleted; nothing secret leaves the sealed column (AC-2, AC-5)."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from alerting.channels.opening import open_row, recipients_of
from alerting.draft import InvalidFields
from alerting.errors import StaleForm, WrongState
from alerting.models import Channel, Delivery, Rule
from alerting.services import channels as services
from alerting.services import rules
from opsportal.accounts.actors import Actor, PermissionRefused
from opsportal.audit.models import Entry
from opsportal.secrets import keyring
from tests.alerting.outgoing import queue
from tests.conftest import Users
from tests.desk import DESK

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_rules")]
URL = "https://hooks.example.com/services/T0001/B0002/verysecretpart"
TOKEN = "token-that-nobody-may-see-9876"
MAIL = {
    "recipients": ["Anna.Secret@Example.com", "bert@example.org"],
    "sender": "portal@example.com",
    "smtp_host": "smtp.example.com",
    "smtp_user": "mailer",
    "smtp_password": "a-password-of-the-mailer",
}


def hook(name: str = "desk", **more: Any) -> Channel:
    values = {"kind": "webhook", "name": name, "settings": {"url": URL, "token": TOKEN}, **more}
    return services.create_channel(by=DESK, **values)


def rule(name: str, *channels: Channel, **more: Any) -> Rule:
    values = {"name": name, "metric": "latency", "comparison": "gt", "threshold": 1.0, **more}
    return rules.create_rule(by=DESK, values={**values, "channels": tuple(one.pk for one in channels)})


def everything_written() -> str:
    """Every column of every channel but the sealed one, and every audit entry."""
    rows = list(Channel.objects.values("name", "kind", "shown"))
    entries = list(Entry.objects.values("additional_data", "reason", "object_repr", "changes"))
    return json.dumps([rows, entries], default=str)


def test_create_channel__secrets__are_sealed_and_shown_by_their_ends(users: Users) -> None:
    """AC-2, AC-5, AU-3: the row, the audit and what pages show hold masked text only."""
    channel = services.create_channel(by=Actor.of(users.admin), kind="email", name="Desk by mail", settings=MAIL)
    assert "a-password" not in channel.sealed and "anna" not in channel.sealed
    assert json.loads(keyring.unseal(channel.sealed))["smtp_password"] == "a-password-of-the-mailer"
    assert [one.address for one in recipients_of(channel)] == ["anna.secret@example.com", "bert@example.org"]
    written = everything_written()
    assert "***@example.com" in written and "Desk by mail" in written
    for secret in ("anna.secret", "Anna.Secret", "bert@", "portal@", "a-password-of"):
        assert secret not in written
    assert Entry.objects.get(event="channel_create").actor_label == users.admin.username


@pytest.mark.parametrize(
    ("kind", "settings", "field", "says"),
    [
        ("webhook", {}, "settings.url", "missing"),
        ("webhook", {"url": "ftp://x"}, "settings.url", "http"),
        ("webhook", {"url": "http://127.0.0.1/x"}, "settings.url", ""),
        ("webhook", {"url": "http://169.254.169.254/latest"}, "settings.url", ""),
        ("webhook", {"url": 7}, "settings.url", "text"),
        ("webhook", {"url": URL, "colour": "red"}, "settings.colour", "no such setting"),
        ("email", {**MAIL, "recipients": []}, "settings.recipients", "at least one"),
        ("email", {**MAIL, "recipients": ["a@example.com\nBcc: x@example.com"]}, "settings.recipients", "line break"),
        ("email", {**MAIL, "smtp_port": 10**400}, "settings.smtp_port", ""),
        ("sms", {"numbers": ["12345"]}, "settings.numbers", "country"),
        ("pigeon", {}, "kind", "no such kind"),
        ("breaker", {}, "kind", "no such kind"),
    ],
)  # fmt: skip
def test_create_channel__bad_setting__is_said_at_its_field(
    kind: str, settings: dict[str, Any], field: str, says: str
) -> None:
    """AC-2, Q-5: the kind's own sentence, at its field; nothing is written."""
    with pytest.raises(InvalidFields) as caught:
        services.create_channel(by=DESK, kind=kind, name="desk", settings=settings)
    assert says in caught.value.errors[field], caught.value.errors
    assert not Channel.objects.exists()


def test_create_channel__bad_secret__no_sentence_repeats_it() -> None:
    """AC-2: not even in an error."""
    with pytest.raises(InvalidFields) as caught:
        services.create_channel(
            by=DESK, kind="webhook", name="desk", settings={"url": f"ftp://{TOKEN}", "token": f"{TOKEN}\n"}
        )
    assert TOKEN not in json.dumps(caught.value.errors)


def test_create_channel__name_taken__is_refused() -> None:
    """AC-2: names are unique whatever their capitals."""
    hook()
    with pytest.raises(InvalidFields, match="already"):
        hook("DESK")


def test_create_channel__for_unreached__is_given_to_every_rule_without_one() -> None:
    """AC-2: with an entry for each rule."""
    other = hook("other")
    alone, reached = rule("alone"), rule("reached", other)
    channel = hook("new", for_unreached=True)
    assert list(alone.channels.all()) == [channel] and list(reached.channels.all()) == [other]
    alone.refresh_from_db()
    assert alone.version == 2
    assert Entry.objects.get(event="alert_rule_update").resource_id == str(alone.pk)


def test_channel__operator__may_change_nothing(users: Users) -> None:
    """RBAC-1, section 10: credentials are for admins."""
    channel, operator = hook(), Actor.of(users.operator)
    for attempt in (
        lambda: services.create_channel(by=operator, kind="webhook", name="x", settings={"url": URL}),
        lambda: services.update_channel(channel, by=operator, name="x", settings={"url": URL}, expected_version=1),
        lambda: services.set_enabled(channel, False, by=operator),
        lambda: services.delete_channel(channel, by=operator),
    ):
        with pytest.raises(PermissionRefused):
            attempt()


def test_update_channel__new_secret__is_used_and_audited_masked() -> None:
    """AC-2, AU-3: which settings changed, masked before and after."""
    channel = hook()
    settings = {"url": URL, "token": "another-token-of-length-5555"}
    assert services.update_channel(channel, by=DESK, name="Desk", settings=settings, expected_version=1) == [
        "Name", "Bearer token",
    ]  # fmt: skip
    channel.refresh_from_db()
    assert channel.version == 2
    assert open_row(channel).settings.token.get_secret_value() == "another-token-of-length-5555"
    details = Entry.objects.get(event="channel_update").additional_data
    assert details["changed"] == ["Name", "Bearer token"] and "another-token" not in everything_written()


def test_update_channel__nothing_different__writes_nothing() -> None:
    """AU-3: no entry for what did not happen."""
    channel = hook()
    same = {"url": URL, "token": TOKEN}
    assert services.update_channel(channel, by=DESK, name="desk", settings=same, expected_version=1) == []
    assert not Entry.objects.filter(event="channel_update").exists()


def test_update_channel__drawn_before_a_change__is_stale() -> None:
    """AC-2: nobody overwrites what they have not seen."""
    channel = hook()
    services.set_enabled(channel, False, by=DESK)
    with pytest.raises(StaleForm):
        services.update_channel(channel, by=DESK, name="x", settings={"url": URL}, expected_version=1)


def test_update_channel__key_lost__is_entered_anew(settings: Any) -> None:
    """SX-4: what can be opened no more can be replaced."""
    channel = hook()
    settings.FIELD_ENCRYPTION_KEYS = ["another-key-of-the-ring-0123456789abcdef"]
    changed = services.update_channel(channel, by=DESK, name="desk", settings={"url": URL}, expected_version=1)
    channel.refresh_from_db()
    assert changed and open_row(channel).settings.url.get_secret_value() == URL


def test_left_without__channel_off__names_the_rules_that_would_tell_nobody() -> None:
    """AC-2: asked before it is switched off."""
    first, second = hook("first"), hook("second", enabled=False)
    third = hook("third")
    rule("only first", first)
    rule("first and one that is off", first, second)
    rule("first and third", first, third)
    rule("off itself", first, enabled=False)
    assert [one.name for one in services.left_without(first)] == ["first and one that is off", "only first"]


@pytest.mark.parametrize("change", ["switched off", "deleted"])
def test_set_enabled_and_delete__what_a_limit_holds__is_due_now(change: str) -> None:
    """AC-2, AD-7: held until the hour's end it would be no poison yet, as the page has said that it is."""
    channel, other = hook(), hook("other")
    later = timezone.now() + timedelta(minutes=40)
    held, retried = queue(channel, ["a", "b"], due_at=later, waits_for="recipient", waits=1)
    claimed, member, elsewhere = queue(channel, ["c", "d", "e"], due_at=later, waits_for="recipient")
    Delivery.objects.filter(pk=retried.pk).update(status="failed", waits_for="")
    Delivery.objects.filter(pk=claimed.pk).update(lease=uuid.uuid4())
    Delivery.objects.filter(pk=member.pk).update(merged_into=held.pk)
    Delivery.objects.filter(pk=elsewhere.pk).update(channel_id=other.pk)
    if change == "deleted":
        services.delete_channel(channel, by=DESK)
    else:
        services.set_enabled(channel, False, by=DESK)
    free = Delivery.objects.filter(due_at__lte=timezone.now(), waits_for="").values_list("pk", flat=True)
    assert sorted(free) == [held.pk, retried.pk]
    assert Delivery.objects.filter(due_at=later).count() == 3


def test_set_enabled__on_again__leaves_what_waits_alone() -> None:
    """AD-7: a limit is not passed by switching a channel off and on."""
    channel = hook(enabled=False)
    later = timezone.now() + timedelta(minutes=40)
    queue(channel, ["a"], due_at=later, waits_for="recipient")
    services.set_enabled(channel, True, by=DESK)
    assert Delivery.objects.get().due_at == later


def test_delete_channel__in_use__is_refused_with_the_rules() -> None:
    """AC-2: a rule never points at nothing."""
    channel = hook()
    used = rule("Orders are slow", channel)
    with pytest.raises(WrongState, match="Orders are slow"):
        services.delete_channel(channel, by=DESK)
    rules.delete_rule(used, by=DESK)
    services.delete_channel(channel, by=DESK)
    assert not Channel.objects.exists()
    assert Entry.objects.get(event="channel_delete").additional_data["name"] == "desk"
