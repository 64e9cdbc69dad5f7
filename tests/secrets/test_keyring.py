"""Texts encrypted at rest with a ring of keys."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from opsportal.secrets.keyring import CannotOpen, reseal, seal, unseal

OLD, NEW = "o" * 40, "n" * 40


@pytest.mark.parametrize("text", ["", "x", "Passwort mit Ümläuten 🔑", "x" * 100_000, "a\x00b"])
def test_seal__any_text__comes_back(text: str) -> None:
    """SX-4: what is sealed opens, and is not readable before."""
    sealed = seal(text)
    assert unseal(sealed) == text and (len(text) < 2 or text not in sealed)


def test_seal__twice__differs() -> None:
    """SX-4: nobody can tell that two channels have the same password."""
    assert seal("same") != seal("same")


def test_ring__rotated__old_key_opens_and_new_one_seals(settings: Settings) -> None:
    """SX-4: the first key seals, all of them open; a key that is taken out opens nothing more."""
    settings.FIELD_ENCRYPTION_KEYS = [OLD]
    old = seal("secret")
    settings.FIELD_ENCRYPTION_KEYS = [NEW, OLD]
    assert unseal(old) == "secret"
    new = reseal(old)
    settings.FIELD_ENCRYPTION_KEYS = [NEW]
    assert unseal(new) == "secret" == unseal(seal("secret"))
    with pytest.raises(CannotOpen):
        unseal(old)


@pytest.mark.parametrize("sealed", ["", "x", "é", "gAAAA", "a" * 10_000, "\ud800", "\x00"])
def test_unseal__rubbish__is_refused_in_words(sealed: str) -> None:
    """SX-2: the sentence names the setting, and nothing of the content."""
    with pytest.raises(CannotOpen, match="FIELD_ENCRYPTION_KEYS") as caught:
        unseal(sealed)
    assert caught.value.__cause__ is None


def test_unseal__changed_by_one_letter__is_refused() -> None:
    """SX-4: what is sealed cannot be altered unnoticed."""
    sealed = seal("secret")
    place = len(sealed) // 2
    letter = "A" if sealed[place] != "A" else "B"
    with pytest.raises(CannotOpen):
        unseal(sealed[:place] + letter + sealed[place + 1 :])
