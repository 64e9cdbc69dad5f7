"""What becomes of structures: dictionaries, lists, objects."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsportal.observability.keys import is_sensitive_name
from opsportal.observability.sanitise import CUT, REDACTED, sanitise

SENSITIVE = [
    "password", "new_password2", "passwd", "pwd", "passphrase", "secret", "client_secret", "clientSecret", "SECRET_KEY", "token",
    "access_token", "accessToken", "api_key", "apiKey", "X-Api-Key", "private_key", "AUDIT_CHAIN_KEY", "key_material", "salt",
    "key_hash", "hash", "credential", "credentials", "Authorization", "HTTP_AUTHORIZATION", "Cookie", "Set-Cookie", "csrfmiddlewaretoken",
    "X-CSRFToken", "csrf", "otp", "otp_code", "jwt", "session_id", "sessionid", "webhook_url", "recovery_codes", "encryption-key",
]  # fmt: skip
HARMLESS = [
    "key_prefix", "key", "dedup_key", "idempotency_key", "hash_bucket", "recipient_hash", "token_count", "password_changed_at",
    "token_type", "secret_name", "secret_age_days", "username", "author", "reason", "state", "keyboard", "monkey", "passenger", "saltwater",
    "secretary", "hashtag", "tokenizer", "compass", "primary_key", "session_count", "api_key_prefix", "api_key_last4", "", "💥",
]  # fmt: skip


@pytest.mark.parametrize("name", SENSITIVE)
def test_is_sensitive_name__holds_a_secret__is_true(name: str) -> None:
    """AU-3: password, key, salt, hash, token, credential."""
    assert is_sensitive_name(name)


@pytest.mark.parametrize("name", HARMLESS)
def test_is_sensitive_name__only_sounds_like_it__is_false(name: str) -> None:
    """What operators need to see stays visible."""
    assert not is_sensitive_name(name)


def test_sanitise__nested_secrets__are_redacted_and_the_rest_kept() -> None:
    """AU-3: at every depth, in every kind of container."""
    value = {
        "user": {"email": "bob@example.com", "password": "x", "phone": "5551234567", "mobile": 15551234567},
        "headers": [("Authorization", "Bearer x"), ("Accept", "text/html")],
        "keys": [{"apiKey": b"raw"}, {"token": {"deep": "x"}}],
        "switches": {"password": None, "token": False},
        b"bytes": b"password=hunter2",
    }
    assert sanitise(value) == {
        "user": {"email": "***@example.com", "password": REDACTED, "phone": "***4567", "mobile": "***4567"},
        "headers": [["Authorization", REDACTED], ["Accept", "text/html"]],
        "keys": [{"apiKey": REDACTED}, {"token": REDACTED}],
        "switches": {"password": None, "token": False},
        "b'bytes'": "password=***",
    }


def test_sanitise__plain_values__stay_what_they_are() -> None:
    """SLA-5: times, numbers and ids are not touched."""
    now = datetime(2025, 12, 18, 14, 0, tzinfo=UTC)
    uid = UUID("550e8400-e29b-41d4-a716-446655440000")
    plain = [1, -2.5, True, None, Decimal("1.50"), now, uid, 10**18]
    assert sanitise(plain) == plain


def test_sanitise__personal_data_as_a_key__is_masked_without_losing_an_entry() -> None:
    """AC-5: keys are text too; two that look the same afterwards stay two."""
    assert sorted(sanitise({"a@x.com": 1, "b@x.com": 2}).values()) == [1, 2]
    assert not any("a@" in key for key in sanitise({"a@x.com": 1}))


def test_sanitise__oversized__is_cut_with_a_mark() -> None:
    """Bounded text, breadth, depth and number."""
    assert sanitise("x" * 5_000) == "x" * 4_000 + CUT
    assert sanitise(["x"] * 500)[-1].startswith(CUT)
    assert len(sanitise({str(n): n for n in range(500)})) == 201
    deep: Any = "bottom"
    for _ in range(100):
        deep = [deep]
    assert "[too deep]" in json.dumps(sanitise(deep))
    assert len(json.dumps(sanitise([[["x"] * 200] * 200] * 200))) < 100_000


def test_sanitise__secret_where_huge_text_is_cut__does_not_show_half_of_it() -> None:
    """AK-9: a cut key no longer looks like a key, so the piece goes as a whole."""
    for length in range(31_960, 32_010):
        shown = sanitise("eyJ" + "a" * (length - 4) + " tp_live_Ab" + "Z" * 41)
        assert "Z" not in shown


def test_sanitise__itself_inside__ends() -> None:
    """A structure may contain itself."""
    loop: list[Any] = []
    loop.append(loop)
    sanitise(loop)


class Hostile:
    """Fails at whatever is asked of it."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no")


class HostileDict(dict[str, Any]):
    """A mapping that breaks while it is read."""

    def items(self) -> Any:
        raise RuntimeError("no")


def test_sanitise__hostile_objects__are_named() -> None:
    """A log line must never crash the application."""
    assert sanitise(Hostile()) == "<Hostile>"
    assert sanitise({"x": HostileDict(a=1)}) == {"x": "[unreadable HostileDict]"}
    assert sanitise(ValueError("password=x")) == "password=***"
    assert sanitise(x for x in "ab") == "<generator>"


def test_sanitise__what_postgresql_refuses__is_replaced() -> None:
    """AU-3's details are stored as JSON, which takes no NUL, lone surrogate or NaN."""
    assert sanitise(["a\x00b", "\ud800", float("nan"), float("inf")]) == ["a\ufffdb", "\\ud800", "nan", "inf"]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.decimals() | st.datetimes(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@given(ANYTHING)
def test_sanitise__anything__gives_what_json_and_postgresql_take(value: Any) -> None:
    """Total on every input."""
    text = json.dumps(sanitise(value), default=str, allow_nan=False)
    assert "\\u0000" not in text
    text.encode("utf-8")


@given(st.sampled_from(SENSITIVE), st.text(st.characters(categories=["Lu"]), min_size=6), st.integers(0, 4))
def test_sanitise__secret_at_any_depth__is_nowhere_in_the_result(name: str, secret: str, depth: int) -> None:
    """AU-3: never enters, however deep."""
    value: Any = {name: secret}
    for level in range(depth):
        value = [value] if level % 2 else {"x": value}
    assert secret not in json.dumps(sanitise(value), ensure_ascii=False)
