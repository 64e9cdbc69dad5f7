"""The WSGI entry point: `granian --interface wsgi opsportal.wsgi:application`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application
from django.utils.http import parse_header_parameters

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsportal.settings")

CHARSETS = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
SENTENCE = "The request says that it is written in another character set than UTF-8. Nothing was changed. Send UTF-8."


class Utf8Only:
    """Refuses a request that names another character set, before Django decodes its address and body with it.

    Python has "character sets" that decode to no text at all, or to text that nothing can store.
    """

    def __init__(self, inner: Callable[[dict[str, Any], Any], Iterable[bytes]]) -> None:
        self._inner = inner

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """The portal's answer, or 415."""
        _, parameters = parse_header_parameters(environ.get("CONTENT_TYPE", ""))
        if parameters.get("charset", "utf-8").lower() in CHARSETS:
            return self._inner(environ, start_response)
        media_type, body = "text/plain; charset=utf-8", SENTENCE
        if environ.get("PATH_INFO", "").startswith("/api/"):
            problem = {"type": "about:blank", "title": "Unsupported Media Type", "status": 415, "detail": SENTENCE}
            media_type, body = "application/problem+json", json.dumps(problem)
        headers = [("Content-Type", media_type), ("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store")]
        start_response("415 Unsupported Media Type", headers)
        return [body.encode()]


application = Utf8Only(get_wsgi_application())
