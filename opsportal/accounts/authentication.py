"""How the API knows a person. Apart from `api`, which Django REST framework can only load once it has this."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request


class PortalSessionAuthentication(SessionAuthentication):
    """The browser's session, with CSRF protection; without one the answer is 401, not 403."""

    def authenticate_header(self, request: Request) -> str:
        """The challenge that makes DRF answer 401."""
        return 'Session realm="opsportal"'


class PortalSessionScheme(OpenApiAuthenticationExtension):
    """How the schema names the browser's session."""

    target_class = PortalSessionAuthentication
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """A cookie."""
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}


def after_answer(request: Request, act: Callable[[], None]) -> None:
    """Have `act` run when the answer to this refused request has been sent."""
    request._request.__dict__.setdefault("after_answer", []).append(act)
