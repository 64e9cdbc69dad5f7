"""Saving sections in tests."""

from __future__ import annotations

from typing import Any

from django.test import Client
from django.urls import reverse

from sysconf import services
from sysconf.models import Version
from sysconf.sections import find_section
from sysconf.selectors import values_of_version
from tests.desk import DESK, WHY

DEFAULTS, LIMITS, HOURS = "system_defaults", "position_limits", "trading_hours"


def newest(key: str) -> int:
    """The number of the newest version."""
    row = Version.objects.filter(section=key).order_by("-number").first()
    return row.number if row else 0


def values(key: str, **changed: Any) -> dict[str, Any]:
    """The present values with some changed."""
    section = find_section(key)
    assert section
    present = values_of_version(section, newest(key))
    assert present is not None
    return {**present, **changed}


def save(key: str, *, by: Any = DESK, reason: str = WHY, base: int | None = None, **changed: Any) -> services.Saved:
    """Save these changes as the next version, dangerous or not."""
    number = newest(key) if base is None else base
    return services.save_section(
        key, values(key, **changed), by=by, reason=reason, base_version=number, acknowledged=True
    )


def spoil(key: str, stored: dict[str, Any]) -> Version:
    """A version that does not fit the section, as one of an older portal would be."""
    return Version.objects.create(
        section=key, number=newest(key) + 1, values=stored, changes={}, by_label="older portal", reason="old"
    )


def signed_in(user: Any, **options: Any) -> Client:
    """A browser of this user."""
    client = Client(**options)
    client.force_login(user, backend="opsportal.accounts.backends.CachedUserBackend")
    return client


def form_of(client: Client, key: str, **typed: str) -> dict[str, str]:
    """What the page's form would send, with some settings typed anew."""
    context = client.get(reverse("admin:sysconfig_section", args=[key])).context
    sent = dict(context["form"].kept) | {"base": str(context["base"])}
    return sent | {f"set-{name}": text for name, text in typed.items()}
