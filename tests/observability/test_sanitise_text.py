"""What is masked in text, what is not, and how long it takes at worst."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsportal.observability.sanitise import mask_text

KEY = "tp_live_AbCd1234" + "aZ9-_" * 7
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("mail bob.smith+desk@example.com.", "mail ***@example.com."),
        ("to=<o'brien@mail.example.co.uk>", "to=<***@mail.example.co.uk>"),
        ("GET /unsubscribe?who=bob%40example.com", "GET /unsubscribe?who=***@example.com"),
        ("jürgen@exämple.de", "***@exämple.de"),
        ("sms +15551234567 sent", "sms ***4567 sent"),
        ("+44 20 7946 0958", "***0958"),
        ("+33 1 23 45 67 89", "***6789"),
        ("+1 (555) 123-4567", "***4567"),
        ("(555) 123-4567, 555-123-4567, 555.123.4567", "***4567, ***4567, ***4567"),
        ("1-555-123-4567", "***4567"),
        ("07700 900123 or 020 7946 0958", "***0123 or ***0958"),
        ("To=%2B15551234567&From=x", "To=***4567&From=x"),
        ("phone=5551234567", "phone=***4567"),
    ],
)
def test_mask_text__personal_data__keeps_only_what_the_rule_allows(text: str, masked: str) -> None:
    """AC-5: e-mail ***@domain.com, phone ***1234."""
    assert mask_text(text) == masked


ACK_TOKEN = "123456-495001.1w9fkC.b8Jd-Xk_4mQz7LrTn0VpYe2HsGu5AoWc1IfDx3EyNqM"


@pytest.mark.parametrize(
    "text",
    ["/ack/{}/", "GET /ack/../{}/ HTTP/1.1", "//ack/{}/", "/{}/", "/x/{}", "Not Found: /ack/%2e%2e/{}/x/", "?next=%2Fack%2F{}%2F",
     '{{"url":"https:\\/\\/portal.example\\/ack\\/{}\\/"}}', "token={}", "/ack/x;{}/", "/ACK/{}"],
)  # fmt: skip
@pytest.mark.parametrize("written", [ACK_TOKEN, ACK_TOKEN.replace(".", "%2E").replace("-", "%2d", 1)])
def test_mask_text__token_of_an_acknowledging_link__is_masked_wherever_it_stands(text: str, written: str) -> None:
    """AL-6: also in a link that somebody mangled."""
    masked = mask_text(text.format(written))
    assert "***" in masked and not {"b8Jd", "1w9fkC", "495001"} & set(re.split(r"[^A-Za-z0-9]", masked))


def test_mask_text__ids_with_a_number_before__stay() -> None:
    """AL-6: only what has all four parts of a token."""
    for text in ("10-5.3.1", "pool-2.10-5.abc.def", "2026-11.tar.gz.sha256", "1-2.3-4.b8JdXk4mQz7LrTn0VpYe2HsGu5A"):
        assert mask_text(text) == text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"pasted {KEY} here", "pasted tp_live_AbCd1234…*** here"),
        (f"key={KEY}", "key=tp_live_AbCd1234…***"),
        (f"api_key: {KEY}", "api_key: tp_live_AbCd1234…***"),
        ("prefix tp_live_AbCd1234", "prefix tp_live_AbCd1234"),
        ("tp_live_Ab-d1234" + "x" * 35, "tp_live_***"),
    ],
)
def test_mask_text__portal_key__keeps_its_prefix_only(text: str, masked: str) -> None:
    """AK-9: a key pasted into any text is masked."""
    assert mask_text(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer S3cr3tS3cr3t",
        "{'Authorization': 'Bearer S3cr3tS3cr3t'}",
        "HTTP_AUTHORIZATION=Basic UzNjS3cr3tN0UzNjcjN0",
        "proxy-authorization: Digest username=x, response=S3cr3t",
        "using bearer S3cr3tS3cr3tS3cr3t now",
        "Cookie: sessionid=S3cr3t; csrftoken=S3cr3t",
        "Set-Cookie: __Host-sessionid=S3cr3t; Path=/",
        "__Host-csrftoken=S3cr3t",
        f"jwt S3cr3t{JWT}".replace("S3cr3t", ""),
        "redis://:S3cr3t@127.0.0.1:6379/0",
        "postgresql://opsportal_app:S3cr3t@db.internal:5432/opsportal",
        "amqp://u:p/S3cr3t@host/",
        "https://u:p@S3cr3t@host/",
        "DATABASE_URL='postgres://u:S3cr3t@h/d'",
        "https://hooks.slack.com/services/T000/B000/S3cr3t",
        "https://discord.com/api/webhooks/1/S3cr3t",
        "password=S3cr3t",
        "db_password = 'S3cr3t with spaces'",
        '{"newPassword": "S3cr3t\\" S3cr3t", "x": 1}',
        r"{\"client_secret\": \"S3cr3t\"}",
        "GET /x?token=S3cr3t&y=1",
        "SECRET_KEY=S3cr3t AUDIT_CHAIN_KEY=S3cr3t",
        "unclosed password='S3cr3t",
        "otp: S3cr3t",
        "KeyError: 'password=S3cr3t'",
        "url=http://h/x?token=S3cr3t",
        'error="login: token=S3cr3t failed"',
        "a=b=c=password=S3cr3t",
        "xoxb-123456789012-S3cr3tS3cr3t",
        "SG.S3cr3tS3cr3tS3cr3t.S3cr3tS3cr3t",
        "-----BEGIN RSA PRIVATE KEY-----\nS3cr3t\nS3cr3t\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nS3cr3tcut",
    ],
)
def test_mask_text__credential__is_gone(text: str) -> None:
    """SLA-5, AU-3: no credential survives, however it is written."""
    masked = mask_text(text)
    assert "S3cr3t" not in masked
    assert JWT[40:] not in masked
    assert "***" in masked


def test_mask_text__url_with_password__keeps_user_and_host() -> None:
    """What remains must still tell which server was meant."""
    assert mask_text("postgresql://app:x@db:5432/ops") == "postgresql://app:***@db:5432/ops"


# Lines as the portal's parts really write them.
UNTOUCHED = [
    "2025-12-18T14:00:00Z INFO request_finished method=GET path=/admin/circuit/fragment/ status=200 duration_ms=3.2",
    "2025-12-18 14:00:00.123456+00:00 [info] circuit_tripped category=manual version=8f14e45fceea167a",
    "2025-12-18 14:00:00,123 beat: Starting... 20251218-140000 +0530 +00:00 -08:00",
    "order 1234567890 filled 100@187.25 ref ORD-555-123-4567 client 20251218001234567",
    "epoch 1734530400123 and 1734530400.123456 ns=1734530400123456789",
    "trace 550e8400-e29b-41d4-a716-446655440000 12345678-1234-1234-1234-123456789012",
    "span deadbeefcafebabe0123456789abcdef sha256:9f86d081884c7d659a2feaa0c55ad015",
    "peer 192.168.100.200:54321 10.0.0.0/8 2001:db8::ff00:42:8329 127.0.0.1",
    "pnl +12345.67 -0.25 +1,234,567.89 1,234,567 notional 100000.00 qty +100",
    "columns 12 345 678 901 1.50 2.75 33.20 +1.50 2.75 33.20",
    "GET http://127.0.0.1:8000/admin/circuit/history.csv?since=2025-12-01&until=2025-12-18 302",
    "celery@worker-1 ready. mingle: all alone; pool -c2 pid 12345",
    "psycopg.OperationalError: connection failed: FATAL: role does not exist (SQLSTATE 28000)",
    'File "/work/opsportal/circuit/services.py", line 123, in trip',
    "key_prefix=tp_live_AbCd1234 dedup_key=42:email:e6276c486755af55:2025-12-18T14:00:00Z",
    "token_count=5 password_changed_at=2025-12-18 hash_bucket=7 recipient_hash=e6276c486755af55",
    "basic authentication failed; bearer authentication required",
    "circuit_breaker:state TRIPPED circuit_breaker:last_trip_at 2025-12-18T14:00:00.123456+00:00",
    "XLEN orders=10234 pending=77 lag=1002003004 ratelimit:email:202512181400",
    "pip pkg@1.2.3 v2.10.1 urllib3==2.5.0 root@localhost",
]


@pytest.mark.parametrize("line", UNTOUCHED)
def test_mask_text__real_log_line__is_left_as_it_is(line: str) -> None:
    """SLA-5: timestamps, ids and long numbers stay intact."""
    assert mask_text(line) == line


@given(
    st.datetimes(timezones=st.just(__import__("datetime").UTC)), st.uuids(), st.integers(0, 10**19), st.ip_addresses()
)
def test_mask_text__any_time_id_number_or_address__is_intact(
    moment: object, uuid: object, number: int, address: object
) -> None:
    """SLA-5: whatever their digits are."""
    line = f"at {moment} {moment.isoformat()} id {uuid} n {number} {uuid.hex} from {address} x={number}"  # type: ignore[attr-defined]
    assert mask_text(line) == line


@given(st.text())
def test_mask_text__any_text__never_raises_and_settles(text: str) -> None:
    """Masking what is masked changes nothing more."""
    once = mask_text(text)
    assert mask_text(once) == once


SECRET_ALPHABET = st.text(st.sampled_from("abcXYZ019_-"), min_size=35, max_size=35)


@given(SECRET_ALPHABET, st.text(st.sampled_from(" \n\"'=:,;()[]{}<>/"), max_size=3), st.text(max_size=10))
def test_mask_text__key_between_any_punctuation__never_shows_its_secret(tail: str, before: str, after: str) -> None:
    """AK-9: prefix only, wherever it was pasted."""
    assert tail not in mask_text(f"{before}tp_live_AbCd1234{tail} {after}")


@given(st.integers(10**9, 10**14), st.sampled_from([" ", "\n", '"', "'", "(", "=", ":", ",", "tel:"]))
def test_mask_text__any_e164_number__shows_four_digits(number: int, before: str) -> None:
    """AC-5: phone ***1234."""
    assert mask_text(f"{before}+{number} ok") == f"{before}***{str(number)[-4:]} ok"


ADVERSARIAL = [
    "a", "a.", "a@", "@", "eyJ", "eyJaaaaaaaaaaa.", "://", "://a:", "+1 ", "1-", "1 ", "+", "1", "(", "(1)", "((555) ",
    'password="', "password='", "password=\\", "token:'", "key ", "key=", "k=", "tp_live_", "tp_live_-", "xoxb-", "SG.",
    "-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "cookie:", "authorization: bearer ", "bearer ", "a'", "a-", "%2B1", "%40",
    "https://", "https://a.webhook.office.com", "012 3456 ", "555-123-", "x@a.", "\\", "\n", "é", "password", "+44 20 ", "1-1.aaaa.",
]  # fmt: skip


@pytest.mark.parametrize("piece", ADVERSARIAL)
def test_mask_text__one_megabyte_of_adversarial_text__takes_linear_time(piece: str) -> None:
    """A quadratic pattern would take hours here; a linear one takes well under a second."""
    text = (piece * (1_000_000 // len(piece) + 1))[:1_000_000]
    started = time.process_time()
    mask_text(text)
    assert time.process_time() - started < 5


@settings(max_examples=25)
@given(st.lists(st.sampled_from(ADVERSARIAL), min_size=2, max_size=4))
def test_mask_text__mixed_adversarial_text__takes_linear_time(pieces: list[str]) -> None:
    """Patterns that fail late on each other's text."""
    unit = "".join(pieces)
    started = time.process_time()
    mask_text((unit * (100_000 // len(unit) + 1))[:100_000])
    assert time.process_time() - started < 2
