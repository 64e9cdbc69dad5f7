"""The contract of a health reply holds still: what is accepted, what is not, and in which words."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from django.test import Client

from health.contract import (
    OPERATIONS,
    Broken,
    HealthReply,
    json_schema,
    latest_operation,
    own_words,
    parse_reply,
    shown_text,
)
from health.probes.base import Cause

PUBLISHED = Path(__file__).resolve().parents[2] / "docs" / "contracts" / "health.schema.json"
NOON = "2026-01-31T12:00:00Z"

#: What services may answer. These keep working whatever else changes.
VALID: dict[str, dict[str, Any]] = {
    "the least": {"status": "healthy", "service": "orders"},
    "degraded": {"status": "degraded", "service": "orders"},
    "unhealthy": {"status": "unhealthy", "service": "orders"},
    "everything": {
        "status": "healthy",
        "service": "orders",
        "version": "1.4.2",
        "timestamp": NOON,
        "details": {"queue": 3, "status": "fine"},
        **dict.fromkeys(OPERATIONS, NOON),
    },
    "extra fields": {"status": "healthy", "service": "orders", "uptime": 12.5, "checks": [{"status": "ok"}]},
    "nulls for absent": {"status": "healthy", "service": "orders", "version": None, "last_order_at": None},
    "a hundred characters": {"status": "healthy", "service": "x" * 100, "version": "v" * 100},
    "no zone": {"status": "healthy", "service": "orders", "last_order_at": "2026-01-31T12:00:00"},
    "a space, a fraction, an offset": {
        "status": "healthy",
        "service": "orders",
        "timestamp": "2026-01-31 12:00:00.123456789+01:00",
    },
    "details of any kind": {"status": "healthy", "service": "orders", "details": ["a", 1, None]},
    "words of JSON's neighbours": {"status": "degraded", "service": "orders", "details": "NaN and Infinity"},
}

#: What breaks the contract: the reply, the field named, and the words an operator reads.
BROKEN: dict[str, tuple[dict[str, Any], str, str]] = {
    "status of another kind": (
        {"status": "ok", "service": "orders"},
        "status",
        '`status` is "ok"; it must be healthy, degraded or unhealthy.',
    ),
    "status in capitals": ({"status": "HEALTHY", "service": "o"}, "status", "must be healthy, degraded or unhealthy"),
    "status a number": ({"status": 1, "service": "orders"}, "status", "`status` is 1; it must be healthy"),
    "status an object": ({"status": {"a": 1}, "service": "o"}, "status", "`status` is an object; it must be healthy"),
    "status null": ({"status": None, "service": "orders"}, "status", "`status` is null; it must be healthy"),
    "status true": ({"status": True, "service": "orders"}, "status", "`status` is true; it must be healthy"),
    "no status": ({"service": "orders"}, "status", "`status` is missing."),
    "no service": ({"status": "healthy"}, "service", "`service` is missing."),
    "nothing": ({}, "status", "`status` is missing."),
    "service empty": ({"status": "healthy", "service": ""}, "service", "`service` is empty."),
    "service a list": ({"status": "healthy", "service": ["o"]}, "service", "`service` is a list; it must be a text."),
    "service long": ({"status": "healthy", "service": "x" * 101}, "service", "`service` is 101 characters long"),
    "version a number": ({"status": "healthy", "service": "o", "version": 1.4}, "version", "`version` is 1.4; it must"),
    "version long": ({"status": "healthy", "service": "o", "version": "v" * 101}, "version", "101 characters long"),
    "time a number": (
        {"status": "healthy", "service": "o", "last_order_at": 1_769_860_800},
        "last_order_at",
        "`last_order_at` is 1769860800; it must be a time in ISO 8601 such as 2026-01-31T09:30:00Z.",
    ),
    "time a number in text": (
        {"status": "healthy", "service": "o", "timestamp": "1769860800"},
        "timestamp",
        '`timestamp` is "1769860800"; it must be a time in ISO 8601',
    ),
    "time of mail": (
        {"status": "healthy", "service": "o", "timestamp": "Sat, 31 Jan 2026 12:00:00 GMT"},
        "timestamp",
        "ISO 8601",
    ),
    "time a date": ({"status": "healthy", "service": "o", "last_signal_at": "2026-01-31"}, "last_signal_at", "8601"),
    "time empty": ({"status": "healthy", "service": "o", "last_operation_at": ""}, "last_operation_at", 'is ""; it'),
    "time impossible": (
        {"status": "healthy", "service": "o", "last_message_at": "2026-02-30T12:00:00Z"},
        "last_message_at",
        "ISO 8601",
    ),
    "time at the end of time": (
        {"status": "healthy", "service": "o", "last_processed_at": "9999-12-31T23:59:59-14:00"},
        "last_processed_at",
        "ISO 8601",
    ),
    "time true": ({"status": "healthy", "service": "o", "last_risk_check_at": True}, "last_risk_check_at", "8601"),
}

#: Bodies that are no JSON object: the words an operator reads.
UNREADABLE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "The reply is empty."),
    "white": (b" \r\n", "The reply is empty."),
    "a page": (b"<!DOCTYPE html><html>", 'The reply is not JSON: it begins with "<!DOCTYPE html><html>".'),
    "plain": (b"OK", 'The reply is not JSON: it begins with "OK".'),
    "half": (b'{"status":"healthy"', "The reply is not JSON: EOF while parsing an object"),
    "more after it": (b'{"status":"healthy","service":"o"}{}', "trailing characters"),
    "Python": (b"{'status':'healthy'}", "key must be a string"),
    "a list": (b'[{"status":"healthy","service":"o"}]', "The reply is a list; it must be a JSON object."),
    "a text": (b'"healthy"', 'The reply is "healthy"; it must be a JSON object.'),
    "null": (b"null", "The reply is null; it must be a JSON object."),
    "a mark": (b'\xef\xbb\xbf{"status":"healthy","service":"o"}', "byte order mark"),
    "other letters": ('{"status":"healthy"}'.encode("utf-16"), "not UTF-8"),
    "Latin-1": ('{"status":"healthy","service":"caf\xe9"}'.encode("latin-1"), "not UTF-8"),
    "half a letter": (b'{"status":"healthy","service":"\\ud800"}', "hex escape"),
    "NaN": (b'{"status":"healthy","service":"o","load":NaN}', "it contains NaN, which JSON does not have."),
    "Infinity": (b'{"status":"healthy","service":"o","details":{"a":-Infinity}}', "contains -Infinity"),
    "deep": (b'{"status":"healthy","service":"o","details":' + b"[" * 100_000, "nested too deeply"),
    "a control character": (b'{"status":"heal\nthy","service":"o"}', "control character"),
    "an endless number": (b'{"status":"healthy","service":"o","n":' + b"1" * 5_000 + b"}", "number out of range"),
}


@pytest.mark.parametrize("case", VALID)
def test_parse_reply__valid__is_accepted(case: str) -> None:
    """HM-3: the contract, extra fields tolerated."""
    reply = parse_reply(json.dumps(VALID[case]).encode())
    assert (reply.status, reply.service) == (VALID[case]["status"], VALID[case]["service"])


@pytest.mark.parametrize("case", BROKEN)
def test_parse_reply__broken_field__is_named_in_plain_words(case: str) -> None:
    """HM-3: the field that breaks the contract, and what it must be."""
    body, field, words = BROKEN[case]
    with pytest.raises(Broken) as broken:
        parse_reply(json.dumps(body).encode())
    assert (broken.value.field, broken.value.cause) == (field, Cause.FIELD)
    assert words in broken.value.sentence and len(broken.value.sentence) <= 300


@pytest.mark.parametrize("case", UNREADABLE)
def test_parse_reply__no_json_object__says_why(case: str) -> None:
    """HM-3: every body has an answer; none raises anything else."""
    body, words = UNREADABLE[case]
    with pytest.raises(Broken) as broken:
        parse_reply(body)
    assert (broken.value.field, broken.value.cause) == ("", Cause.NOT_JSON)
    assert words in broken.value.sentence and len(broken.value.sentence) <= 300


def test_parse_reply__field_given_twice__is_refused() -> None:
    """HM-3: two readers could take different ones, so neither is believed."""
    with pytest.raises(Broken, match="`status` is given 2 times") as broken:
        parse_reply(b'{"status":"healthy","service":"o","status":"unhealthy"}')
    assert broken.value.field == "status"
    assert parse_reply(b'{"details":{"status":"bad","service":"b"},"status":"healthy","service":"o"}').service == "o"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("mail me at joe@example.com", "***@example.com"),
        ("x\x00\x1b[31m\u202ey\n" * 3, "x [31m y x [31m y x [31m y"),
        ("z" * 10_000, "zzz…"),
        ("tp_live_AbCd1234" + "k" * 35, "tp_live_AbCd1234…***"),
    ],
)
def test_broken__value_shown__is_masked_and_short(value: str, shown: str) -> None:
    """AC-5, HM-3: what a service puts into a field reaches no page as it is."""
    with pytest.raises(Broken) as broken:
        parse_reply(json.dumps({"status": value, "service": "o"}).encode())
    sentence = broken.value.sentence
    assert shown in sentence and len(sentence) < 130 and sentence.isprintable()
    assert "joe" not in sentence and "kkk" not in sentence


def reply(**fields: Any) -> HealthReply:
    return parse_reply(json.dumps({"status": "degraded", "service": "o", **fields}).encode())


def test_latest_operation__several__is_the_newest_in_utc() -> None:
    """HM-7: whichever of the fields is newest; with no zone it is UTC."""
    found = latest_operation(
        reply(last_order_at="2026-01-31T12:00:00+02:00", last_signal_at="2026-01-31T11:00:00", last_message_at=None)
    )
    assert found == ("last_signal_at", datetime(2026, 1, 31, 11, tzinfo=UTC))


@pytest.mark.parametrize("never", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "1970-01-01T00:00:00Z"])
def test_latest_operation__a_language_s_never__counts_as_none(never: str) -> None:
    """HM-7: the zero time of Go and Unix is no operation 56 years ago."""
    assert latest_operation(reply(last_order_at=never)) is None
    assert latest_operation(reply()) is None


def test_own_words__from_details__are_masked_and_short() -> None:
    """HM-3: what a service says of itself, where it says it shortly."""
    assert own_words(reply(details={"reason": "queue is long", "message": "m"})) == "queue is long"
    assert own_words(reply(details={"message": "call +44 20 7946 0958", "reason": 3})) == "call ***0958"
    assert own_words(reply(details="slow disk")) == "slow disk"
    assert (
        own_words(reply(details={"redis": {"status": "unhealthy"}, "db": {"status": "healthy"}}))
        == "redis is unhealthy"
    )
    assert len(own_words(reply(details={"error": "e" * 10_000}))) == 200
    assert own_words(reply(details=[1])) == own_words(reply()) == own_words(reply(details={"reason": " "})) == ""


@pytest.mark.parametrize("text", ["", "\ud800", "a\x00b", "é" * 10_000, " ".join("x" * 3_000)])
def test_shown_text__anything__fits_a_row(text: str) -> None:
    """What is stored is valid UTF-8 without NUL and no longer than its column."""
    shown = shown_text(text, 100)
    assert len(shown) <= 100 and shown.isprintable()
    assert shown.encode().decode() == shown


@pytest.mark.django_db
def test_portal__its_own_health__obeys_the_contract(client: Client) -> None:
    """HM-3: the portal answers as it asks of others."""
    answer = parse_reply(client.get("/health").content)
    assert (answer.service, answer.status) == ("opsportal", "healthy")
    assert answer.timestamp is not None and answer.timestamp.tzinfo is not None


def test_schema__published__is_the_contract() -> None:
    """HM-3: docs/contracts/health.schema.json; renew it with `manage.py check_health_contract --schema >` that file."""
    assert json.loads(PUBLISHED.read_text(encoding="utf-8")) == json_schema()
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_schema__same_verdicts__as_the_parser() -> None:
    """HM-3: whoever checks against the schema gets the portal's verdict. Times are formats, which a schema only notes."""
    validator = jsonschema.Draft202012Validator(json_schema())
    assert [case for case, body in VALID.items() if not validator.is_valid(body)] == []
    times = {case for case in BROKEN if case.startswith("time") and case not in ("time a number", "time true")}
    assert {case for case, (body, _, _) in BROKEN.items() if validator.is_valid(body)} == times
