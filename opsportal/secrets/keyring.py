"""Texts encrypted at rest with a ring of keys: the first one seals, all of them open (SX-4).

AES-128-CBC with HMAC-SHA256 (Fernet, of the package `cryptography`). A key is derived from each text of
`FIELD_ENCRYPTION_KEYS` by HKDF-SHA256 (RFC 5869), so that any long random text serves.
"""

from __future__ import annotations

import base64
from functools import cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

_PURPOSE = b"opsportal field encryption"


class CannotOpen(Exception):
    """The text was not sealed with a key of the ring, or it was changed since. Never says anything of its content."""

    def __init__(self) -> None:
        super().__init__(
            "An encrypted field cannot be opened: the key that sealed it is missing from FIELD_ENCRYPTION_KEYS."
        )


def seal(text: str) -> str:
    """The text, encrypted with the newest key."""
    return _ring(tuple(settings.FIELD_ENCRYPTION_KEYS)).encrypt(text.encode()).decode()


def unseal(sealed: str) -> str:
    """The text out of what `seal` gave. Raises `CannotOpen`."""
    try:
        return _ring(tuple(settings.FIELD_ENCRYPTION_KEYS)).decrypt(sealed.encode()).decode()
    except (InvalidToken, ValueError):
        raise CannotOpen from None


def reseal(sealed: str) -> str:
    """The same text, encrypted with the newest key. Raises `CannotOpen`."""
    return seal(unseal(sealed))


def is_current(sealed: str) -> bool:
    """Whether the newest key sealed it, so that `reseal` would change nothing of worth."""
    try:
        _ring((settings.FIELD_ENCRYPTION_KEYS[0],)).decrypt(sealed.encode())
    except (InvalidToken, ValueError):
        return False
    return True


@cache
def _ring(secrets: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(_key_of(secret)) for secret in secrets])


def _key_of(secret: str) -> bytes:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(secret.encode())
    return base64.urlsafe_b64encode(derived)
