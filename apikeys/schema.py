"""How the API's schema names a key."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension


class ApiKeyScheme(OpenApiAuthenticationExtension):
    """A bearer token."""

    target_class = "apikeys.authentication.ApiKeyAuthentication"
    name = "api_key"
    priority = 1

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """The Authorization header."""
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "tp_live_…",
            "description": "An API key of the portal. Each operation says which scope it needs.",
        }
