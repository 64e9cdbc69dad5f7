"""Requests that no honest client sends: each gets a problem document with a plain sentence, never a 500 (Q-5)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from circuit import services
from circuit.selectors import read_breaker
from tests.desk import DESK

JSON = "application/json"
MEGABYTE = 1_000_000
#: What is sent, and as what; none of it is a reason to halt trading.
BODIES = {
    "nothing": (b"", JSON),
    "broken JSON": (b'{"reason": "limit"', JSON),
    "text after the JSON": (b'{"reason": "limit"} and more', JSON),
    "a list": (b"[]", JSON),
    "null": (b"null", JSON),
    "deep lists": (b"[" * 200_000 + b"]" * 200_000, JSON),
    "deep objects": (b'{"a":' * 200_000 + b"1" + b"}" * 200_000, JSON),
    "a deep reason": (b'{"reason": ' + b"[" * 5_000 + b"]" * 5_000 + b"}", JSON),
    "2 MB of text": (json.dumps({"reason": "x" * 2 * MEGABYTE}).encode(), JSON),
    "20 MB of text": (json.dumps({"reason": "x" * 20 * MEGABYTE}).encode(), JSON),
    "2 MB of fields": (json.dumps({f"field{number}": "x" for number in range(100_000)}).encode(), JSON),
    "NUL, escaped": (b'{"reason": "li\\u0000mit"}', JSON),
    "NUL, as a byte": (b'{"reason": "li\x00mit"}', JSON),
    "half a surrogate": (b'{"reason": "li\\ud800mit"}', JSON),
    "half a surrogate in a choice": (b'{"reason": "limit", "category": "\\udfff"}', JSON),
    "half a surrogate in a name": (b'{"\\ud800": "limit"}', JSON),
    "bad UTF-8": (b'{"reason": "\xff\xfe\xfa"}', JSON),
    "UTF-16": ('{"reason": "limit"}'.encode("utf-16"), JSON),
    "a number of 401 digits": (b'{"reason": 1' + b"0" * 400 + b"}", JSON),
    "a number of 10,000 digits": (b'{"reason": 1' + b"0" * 10_000 + b"}", JSON),
    "a number beyond the floats": (b'{"reason": 1e400}', JSON),
    "not a number": (b'{"reason": NaN}', JSON),
    "XML": (b"<reason>limit</reason>", "application/xml"),
    "a form": (b"reason=limit", "application/x-www-form-urlencoded"),
    "half a multipart form": (b"--b\r\nContent-Disposition: form-data", "multipart/form-data; boundary=b"),
    "no media type": (b'{"reason": "limit"}', ""),
    "nonsense as a media type": (b'{"reason": "limit"}', "\x01/\x02; ==="),
}
#: Headers of a request that is honest otherwise.
HEADERS = {
    "an unknown form of the answer": {"Accept": "text/html"},
    "nonsense as the form of the answer": {"Accept": "////;;q=,"},
    "another host": {"Host": "evil.example.com"},
    "nonsense as the host": {"Host": "a b\x00c"},
}
WRITES = ("/api/v1/circuit/trip", "/api/v1/circuit/reset")
READS = ("/api/v1/circuit", "/api/v1/health/services", "/api/v1/health/contract", "/api/schema/")


@pytest.fixture
def caller(admin_key: str) -> Client:
    """A client whose exceptions become answers, as they do in production."""
    services.init_breaker(by=DESK)
    return Client(raise_request_exception=False, headers={"Authorization": f"Bearer {admin_key}"})


def assert_refused(answer: Any, *statuses: int) -> None:
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.content[:500])
    assert not statuses or answer.status_code in statuses, answer.status_code
    assert answer["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code
    assert body["detail"].endswith((".", "?")) and len(body["detail"]) < 500
    assert read_breaker().state == "OPEN"


@pytest.mark.parametrize("address", WRITES)
@pytest.mark.parametrize("name", BODIES)
def test_body__hostile__is_refused_in_a_sentence(caller: Client, address: str, name: str) -> None:
    """Q-5: whatever is sent."""
    content, media_type = BODIES[name]
    too_large = len(content) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    assert_refused(caller.generic("POST", address, content, media_type), *((413,) if too_large else (400, 415, 422)))


@pytest.mark.parametrize("address", READS)
@pytest.mark.parametrize("name", HEADERS)
def test_header__hostile__is_refused_in_a_sentence(caller: Client, address: str, name: str) -> None:
    """Q-5: whatever it is sent with."""
    assert_refused(caller.get(address, headers=HEADERS[name]), 400, 406)


@pytest.mark.parametrize(
    "value",
    ["Bearer", "Bearer ", "Bearer \x00", "Bearer tp_live_", "Bearer " + "x" * 100_000, "Bearer tp_live_é" + "A" * 42,
     "bearer tp_live_" + "A" * 43, "Bearer a b c", "Basic Og==", "\xff\xfe", "Bearer tp_live_" + "A" * 43 + "\n"],
)  # fmt: skip
def test_authorization__no_key__is_401(db: None, value: str) -> None:
    """AK-4: one same answer to them all."""
    answer = Client(raise_request_exception=False).get("/api/v1/circuit", headers={"Authorization": value})
    assert_refused_only(answer)


def assert_refused_only(answer: Any) -> None:
    plain = Client().get("/api/v1/circuit")
    assert (answer.status_code, answer.content) == (401, plain.content)


@pytest.mark.parametrize(
    "address",
    ["/api/v1/", "/api/", "/api/v1/circuit/", "/api/v1/circuit%00", "/api/v1/%ff%fe", "/api/v1/circuit/../../x",
     "/api/v1/" + "x" * 10_000, "/api/v1/config/%00", "/api/v1/config/" + "9" * 5_000, "/api/v1/config/%ed%a0%80",
     "/api/v1/config/..%2f..%2fetc", "/api//v1/circuit"],
)  # fmt: skip
def test_address__nothing_there__is_404(caller: Client, address: str) -> None:
    """Q-5: as a problem document too."""
    assert_refused(caller.get(address), 404)


@pytest.mark.parametrize("query", ["%00", "a=%ff", "format=xml", "&".join(["a=1"] * 5_000), "a=" + "9" * 10_000])
@pytest.mark.parametrize("address", READS)
def test_query__nobody_asked_for__does_no_harm(caller: Client, address: str, query: str) -> None:
    """Q-5: ignored or refused."""
    answer = caller.get(f"{address}?{query}")
    assert answer.status_code in (200, 400, 404), (answer.status_code, answer.content[:300])


@pytest.mark.parametrize("address", (*WRITES, *READS))
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "BREW"])
def test_method__not_there__is_405(caller: Client, address: str, method: str) -> None:
    """Q-5: with the methods that are."""
    answer = caller.generic(method, address, b"{}", JSON)
    assert_refused(answer, 405)
    assert answer["Allow"]
