"""The form of a key, and what is stored of it."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from apikeys import services, wire
from apikeys.models import ApiKey
from opsportal.accounts.refusals import WrongState
from tests.apikeys.conftest import MadeKey
from tests.desk import DESK


def test_key__drawn_often__has_the_form_and_the_prefix() -> None:
    """AK-1: tp_live_ and 43 characters of base64url, the first 8 of which are letters and digits."""
    keys = [wire.draw_key() for _ in range(500)]
    for key in keys:
        assert re.fullmatch(r"tp_live_[A-Za-z0-9]{8}[A-Za-z0-9_-]{35}", key.text)
        assert re.fullmatch(r"tp_live_[A-Za-z0-9]{8}", key.prefix) and key.text.startswith(key.prefix)
        assert key.last4 == key.text[-4:] and key.text not in repr(key)
    assert len({key.text for key in keys}) == len({key.salt for key in keys}) == 500
    assert any(character in key.text[16:] for key in keys for character in "-_"), "the alphabet is base64url"


def test_stored__digest_is_sha256_of_salt_text_and_key(made: Any) -> None:
    """AK-2: the salt's hexadecimal text, then the key; the key itself is in no column."""
    row, text = made("read:circuit")
    row = ApiKey.objects.get(pk=row.pk)
    assert re.fullmatch(r"[0-9a-f]{32}", row.salt)
    assert row.digest == hashlib.sha256((row.salt + text).encode()).hexdigest()
    assert text not in repr(ApiKey.objects.filter(pk=row.pk).values()[0])
    assert wire.matches(text, salt=row.salt, digest=row.digest)
    assert not wire.matches(
        text[:-1] + "A" * (text[-1] != "A") + "B" * (text[-1] == "A"), salt=row.salt, digest=row.digest
    )


@pytest.mark.parametrize("prefix", ["tp_live_abc-efgh", "tp_live_abc_efgh", "tp_live_abcdefg", "tp_test_abcdefgh", ""])
def test_prefix__of_another_form__is_refused_by_the_database(made: Any, prefix: str) -> None:
    """AK-1: CHECK constraint."""
    row, _ = made()
    with pytest.raises(IntegrityError, match="apikeys_prefix_form"), transaction.atomic():
        ApiKey.objects.filter(pk=row.pk).update(prefix=prefix)


def _drawing(monkeypatch: pytest.MonkeyPatch, texts: list[str]) -> list[str]:
    drawn: list[str] = []

    def draw() -> wire.NewKey:
        text = texts.pop(0)
        drawn.append(text)
        return wire.NewKey(text, "5" * 32, wire.digest_of("5" * 32, text))

    monkeypatch.setattr(wire, "draw_key", draw)
    return drawn


def _create(users: Any, name: str) -> MadeKey:
    key, new = services.create_key(by=DESK, owner=users.operator, name=name, scopes=["read:circuit"])
    return key, new.text


def test_prefix__taken_twice__third_draw_is_kept(users: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """AK-1: up to 3 tries; the transaction around them survives."""
    taken, free = wire.draw_key().text, wire.draw_key().text
    drawn = _drawing(monkeypatch, [taken, taken, taken, free])
    _create(users, "first")
    key, text = _create(users, "second")
    assert (text, key.prefix, len(drawn)) == (free, free[:16], 4)


def test_prefix__taken_three_times__is_refused_in_plain_words(users: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """AK-1: nothing is left behind."""
    taken = wire.draw_key().text
    _drawing(monkeypatch, [taken] * 4)
    _create(users, "first")
    with pytest.raises(WrongState, match="prefix is taken"):
        _create(users, "second")
    assert ApiKey.objects.count() == 1
