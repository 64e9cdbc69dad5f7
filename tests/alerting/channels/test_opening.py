"""A channel's row as something to send with."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pydantic import SecretStr
from pytest_django import Settings

from alerting.channels import KINDS, opening
from alerting.channels.opening import CannotUse, Opened, recipients_of, seal_settings
from alerting.channels.webhook import WebhookSettings
from alerting.models import Channel
from opsportal.secrets import keyring

pytestmark = pytest.mark.django_db
URL = "https://hooks.example.com/secret-abcdef"


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    opening.forget_channels()


def channel(**fields: Any) -> Channel:
    settings = WebhookSettings(url=SecretStr(URL), token=SecretStr("a-secret-token"))
    usual = {"name": "Hook", "kind": "webhook", "sealed": seal_settings(settings), "shown": {}}
    return Channel.objects.create(**{**usual, **fields})


def stamp_of(number: int) -> str | None:
    """What a claim sees of the channel's row."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT xmin::text FROM alerting_channel WHERE id = %s", [number])
        return next((found for (found,) in cursor.fetchall()), None)


def open_channel(number: int) -> Opened:
    """As a claim does now."""
    return opening.open_channel(number, stamp_of(number))


def test_open__channel__has_its_settings_back() -> None:
    """AC-2: sealed at rest, whole when it is used."""
    row = channel()
    assert URL not in row.sealed and "token" not in row.sealed
    opened = open_channel(row.pk)
    assert (opened.kind, opened.enabled, opened.version) == (KINDS["webhook"], True, 1)
    assert opened.settings.url.get_secret_value() == URL
    assert opened.settings.token.get_secret_value() == "a-secret-token"
    assert recipients_of(row)[0].address == URL


def test_open__many_messages__ask_the_database_once() -> None:
    """AD-14: neither a query nor a decryption for each message."""
    row = channel()
    stamp = stamp_of(row.pk)
    with CaptureQueriesContext(connection) as queries:
        first = opening.open_channel(row.pk, stamp)
        for _ in range(50):
            assert opening.open_channel(row.pk, stamp) is first
    assert len(queries) == 1


@pytest.mark.django_db(transaction=True)
def test_open__changed_since__is_read_anew() -> None:
    """AC-2: what was switched off or edited before the claim is seen by it, whoever changed the row."""
    row = channel()
    open_channel(row.pk)
    Channel.objects.filter(pk=row.pk).update(enabled=False)
    assert open_channel(row.pk).enabled is False
    changed = seal_settings(WebhookSettings(url=SecretStr(URL + "2")))
    Channel.objects.filter(pk=row.pk).update(sealed=changed, version=2)
    opened = open_channel(row.pk)
    assert (opened.settings.url.get_secret_value(), opened.version) == (URL + "2", 2)


def test_open__removed__is_a_sentence_and_no_query() -> None:
    """AD-2: a delivery whose channel is gone says so, and nothing asks for it again and again."""
    with CaptureQueriesContext(connection) as queries, pytest.raises(CannotUse, match="removed"):
        opening.open_channel(12_345, None)
    assert not queries
    with pytest.raises(CannotUse, match="removed"):  # a moment after the claim
        opening.open_channel(12_345, "700")


def test_open__number_nought__is_the_breaker() -> None:
    """AL-5: a trip has no channel's row."""
    assert open_channel(0).kind.name == "breaker"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "pigeon"}, "not known"),
        ({"kind": "breaker"}, "not known"),
        ({"sealed": "rubbish"}, "FIELD_ENCRYPTION_KEYS"),
        ({"sealed": keyring.seal("[]")}, "no longer fit"),
        ({"sealed": keyring.seal("not json")}, "no longer fit"),
        ({"sealed": keyring.seal('{"url": "http://10.0.0.1/secret"}')}, "Address: Its address is a private address"),
        ({"sealed": keyring.seal('{"url": "https://a.example/secret", "colour": "red"}')}, "no longer fit"),
        ({"sealed": keyring.seal('{"url": 5}')}, "no longer fit"),
    ],
    ids=["kind", "breaker", "sealed", "list", "text", "private", "unknown field", "number"],
)
def test_open__cannot_be_used__is_a_sentence_without_secrets(fields: dict[str, Any], words: str) -> None:
    """AD-2: one bad row says what is wrong with it, and nothing of what it holds."""
    row = channel(**fields)
    with pytest.raises(CannotUse, match=words) as caught:
        open_channel(row.pk)
    assert "secret" not in str(caught.value)
    with pytest.raises(CannotUse):
        recipients_of(row)


def test_open__key_was_rotated__still_opens(settings: Settings) -> None:
    """SX-4: what an earlier key sealed opens as long as that key is in the ring."""
    row = channel()
    settings.FIELD_ENCRYPTION_KEYS = ["n" * 40, *django_settings.FIELD_ENCRYPTION_KEYS]
    assert open_channel(row.pk).settings.url.get_secret_value() == URL
    opening.forget_channels()
    settings.FIELD_ENCRYPTION_KEYS = ["n" * 40]
    with pytest.raises(CannotUse, match="FIELD_ENCRYPTION_KEYS"):
        open_channel(row.pk)


def test_open__many_threads__all_get_it() -> None:
    """AD-14: sender threads share what is remembered; they ask no database."""
    row = channel()
    stamp = stamp_of(row.pk)
    first = opening.open_channel(row.pk, stamp)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(opening.open_channel(row.pk, stamp))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [first] * 8
