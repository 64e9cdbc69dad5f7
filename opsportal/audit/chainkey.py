"""The key of the audit chain, in the form in which a database connection carries it.

The chain is an HMAC-SHA256 (RFC 2104) computed inside PostgreSQL, which has `sha256()` but no HMAC and no fast XOR
of byte strings. So the client sends the two padded keys, 64 bytes each, ready made.
"""

from __future__ import annotations

import hashlib

#: The name of the connection's start-up parameter.
SETTING = "opsportal.audit_pads"
_BLOCK = 64


def chain_pads(key: str) -> bytes:
    """The inner pad (64 bytes) followed by the outer pad (64 bytes) of RFC 2104 for this key."""
    raw = key.encode()
    if len(raw) > _BLOCK:
        raw = hashlib.sha256(raw).digest()
    raw = raw.ljust(_BLOCK, b"\0")
    return bytes(b ^ 0x36 for b in raw) + bytes(b ^ 0x5C for b in raw)


def chain_key_option(key: str) -> str:
    """The libpq `options` text that gives a connection the key, as 256 hexadecimal digits."""
    return f"-c {SETTING}={chain_pads(key).hex()}"
