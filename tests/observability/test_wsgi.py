"""The door in front of Django: what it must never be asked to decode."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from opsportal.wsgi import application


def ask(path: str, content_type: str, query: str = "next=%2Fx") -> tuple[int, dict[str, str], bytes]:
    """One request through the entry point that the web server uses."""
    told: dict[str, Any] = {}

    def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> None:
        told.update(status=int(status.split()[0]), headers=dict(headers))

    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_TYPE": content_type,
        "CONTENT_LENGTH": "1",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(b"x"),
        "wsgi.errors": io.StringIO(),
    }
    answer = application(environ, start_response)
    body = b"".join(answer)
    if hasattr(answer, "close"):
        answer.close()
    return told["status"], told["headers"], body


@pytest.mark.parametrize("charset", ["rot13", "hex", "utf-7", "unicode_escape", "idna", "undefined", "no such", "\x00"])
def test_request__another_character_set__is_refused_in_words(charset: str) -> None:
    """Q-5: Python decodes with what the header names; some of these are no character sets at all."""
    status, _, body = ask("/admin/login/", f"text/plain; charset={charset}")
    assert status == 415 and b"Send UTF-8" in body
    status, headers, body = ask("/api/v1/circuit", f"application/json; charset={charset}")
    assert status == 415 and headers["Content-Type"] == "application/problem+json"
    assert json.loads(body)["status"] == 415


@pytest.mark.django_db
@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "text/plain; charset=UTF-8", "application/json; charset=us-ascii", "; ;=", "a" * 9_000],
)
def test_request__utf8_or_nothing_said__goes_on(content_type: str) -> None:
    """Q-5: everything else is Django's."""
    assert ask("/admin/login/", content_type)[0] == 200
