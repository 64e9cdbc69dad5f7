"""What the API reads: JSON of a bounded depth, whose text is real text (Q-5). Its size is bounded by Django."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import IO, Any

from rest_framework import exceptions
from rest_framework.parsers import JSONParser


class Unreadable(exceptions.APIException):
    """The body is JSON, but nothing that can be worked with."""

    status_code = 400


class PortalJSONParser(JSONParser):
    """JSON as its parent reads it. What would fail later, where nobody expects it, is refused here."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The body. Raises `Unreadable`, and `ParseError` when it is not JSON."""
        content = stream.read()
        try:
            found: dict[str, Any] = super().parse(io.BytesIO(content), media_type, parser_context)
            if b"\\u" in content:
                _refuse_half_characters(found)
        except RecursionError:
            raise Unreadable("The body is nested too deeply. Nothing was changed.") from None
        return found


def _refuse_half_characters(found: object) -> None:
    """Half of a surrogate pair is no character: neither PostgreSQL nor an answer could hold it."""
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Unreadable("The body has half a character in its text. Nothing was changed.") from None
