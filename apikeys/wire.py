"""The form of a key and what recognises it (AK-1, AK-2). Nothing here reads or writes anything."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

FIXED_PART = "tp_live_"
SECRET_BYTES = 32
SALT_BYTES = 16
PREFIX_LENGTH = len(FIXED_PART) + 8
#: base64url has `-` and `_`; a key is redrawn until the 8 characters that are shown have neither.
KEY_FORM = re.compile(r"tp_live_[A-Za-z0-9]{8}[A-Za-z0-9_-]{35}", re.ASCII)


@dataclass(frozen=True, repr=False)
class NewKey:
    """A key that was just drawn. `text` is shown once and kept nowhere; its repr does not hold it."""

    text: str
    salt: str
    digest: str

    @property
    def prefix(self) -> str:
        """The part that names the key: `tp_live_` and 8 letters or digits."""
        return self.text[:PREFIX_LENGTH]

    @property
    def last4(self) -> str:
        """Its last 4 characters."""
        return self.text[-4:]

    def __repr__(self) -> str:
        return f"<NewKey {self.prefix}>"


def draw_key() -> NewKey:
    """A new random key: `tp_live_` and 32 random bytes as base64url, 43 characters."""
    while True:
        text = FIXED_PART + base64.urlsafe_b64encode(secrets.token_bytes(SECRET_BYTES)).rstrip(b"=").decode()
        if KEY_FORM.fullmatch(text):
            break
    salt = secrets.token_bytes(SALT_BYTES).hex()
    return NewKey(text, salt, digest_of(salt, text))


def digest_of(salt: str, key: str) -> str:
    """SHA-256, hexadecimal, of the salt's hexadecimal text followed by the key."""
    return hashlib.sha256(f"{salt}{key}".encode()).hexdigest()


def matches(key: str, *, salt: str, digest: str) -> bool:
    """Whether the key has this digest, compared in constant time."""
    return hmac.compare_digest(digest_of(salt, key), digest)
