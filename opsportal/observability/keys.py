"""Which names hold secrets: one answer for dictionaries, log pairs and audit details."""

import re
from functools import lru_cache
from itertools import pairwise

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_BREAKS = re.compile(r"[^A-Za-z0-9]+")

# fmt: off
# A name that contains one of these words holds a secret ...
_SECRET_WORDS = frozenset((
    "password", "passwords", "passwd", "pwd", "passphrase", "secret", "secrets", "token", "tokens",
    "salt", "salts", "hash", "hashes", "credential", "credentials", "authorization", "cookie",
    "cookies", "csrf", "otp", "totp", "hotp", "jwt", "apikey", "apikeys", "sessionid", "csrftoken",
    "csrfmiddlewaretoken", "accesstoken", "refreshtoken",
))
# ... or one of these pairs of words side by side.
_SECRET_PAIRS = frozenset((
    "api_key", "api_keys", "private_key", "secret_key", "access_key", "encryption_key", "signing_key",
    "chain_key", "session_key", "session_id", "master_key", "auth_key", "raw_key", "full_key",
    "plain_key", "plaintext_key", "key_material", "recovery_code", "recovery_codes", "backup_code",
    "backup_codes", "webhook_url", "audit_pads",
))
# A name that ends so speaks *about* the secret: its age, its place, how many there are.
_ABOUT_WORDS = frozenset((
    "prefix", "prefixes", "last4", "bucket", "count", "counts", "name", "names", "type", "types", "at",
    "age", "length", "len", "expires", "expiry", "ttl", "algorithm", "version", "required", "present",
    "enabled", "disabled", "valid", "invalid", "status", "policy", "days", "seconds", "ms", "reason",
    "backend", "field", "fields", "hashers", "validators", "strength", "owner", "scope", "scopes",
    "class", "path",
))
# Hashes that are made to be shown: they identify, they do not protect.
_PUBLIC_PAIRS = frozenset((
    "recipient_hash", "content_hash", "commit_hash", "file_hash", "record_hash", "previous_hash",
    "prev_hash", "chain_hash", "head_hash", "schema_hash",
))
_PHONE_WORDS = frozenset(("phone", "phones", "mobile", "msisdn", "telephone", "tel", "sms"))
# fmt: on


@lru_cache(maxsize=4096)
def _words(name: str) -> tuple[str, ...]:
    spaced = _CAMEL.sub("_", name)
    words = [word.lower() for word in _BREAKS.split(spaced) if word]
    # password1, password2: the number of a form field says nothing about its content.
    return tuple(word.rstrip("0123456789") if word != "last4" else word for word in words)


@lru_cache(maxsize=4096)
def is_sensitive_name(name: str) -> bool:
    """True when a value kept under `name` must never be shown.

    Snake case, kebab case, camel case and header names are understood. Names that only speak about a
    secret ("key_prefix", "token_count", "password_changed_at", "hash_bucket") are not sensitive.
    """
    words = _words(name[:256])
    if not words or words[-1] in _ABOUT_WORDS or "_".join(words[-2:]) in _PUBLIC_PAIRS:
        return False
    if any(word in _SECRET_WORDS for word in words):
        return True
    return any(f"{one}_{next_one}" in _SECRET_PAIRS for one, next_one in pairwise(words))


@lru_cache(maxsize=4096)
def is_phone_name(name: str) -> bool:
    """True when a value kept under `name` is a telephone number, whatever its form."""
    words = _words(name[:256])
    return bool(words) and (words[-1] in _PHONE_WORDS or words[-2:] == ("phone", "number"))
