"""Wrong settings, found at start."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register


@register(Tags.security)
def session_limits(**_: Any) -> list[CheckMessage]:
    """The idle limit must lie below the absolute one."""
    if settings.SESSION_IDLE_SECONDS > settings.SESSION_ABSOLUTE_SECONDS:
        return [
            Error(
                "SESSION_IDLE_SECONDS is larger than SESSION_ABSOLUTE_SECONDS, so it never takes effect.",
                hint="Lower SESSION_IDLE_SECONDS or raise SESSION_ABSOLUTE_SECONDS.",
                id="accounts.E001",
            )
        ]
    return []


@register(Tags.security, deploy=True)
def one_database_role(**_: Any) -> list[CheckMessage]:
    """The application should not own its tables: an owner can lift the triggers that guard the audit log."""
    if settings.DATABASE_OWNER is None or (settings.DATABASE_OWNER["USER"] == settings.DATABASES["default"]["USER"]):
        return [
            Warning(
                "The portal runs with the role that owns its tables.",
                hint="Give DATABASE_URL a role of its own and DATABASE_OWNER_URL the owner; see docs/configuration.md.",
                id="accounts.W001",
            )
        ]
    return []
