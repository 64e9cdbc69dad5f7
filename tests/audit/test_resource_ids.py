"""What somebody types into an address ends up in the log: masked and storable (AK-9, RBAC-1)."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from apikeys.wire import draw_key
from opsportal.audit.models import Entry


def denied(users: Any, path: str) -> Entry:
    """The entry of a viewer's attempt."""
    client = Client()
    client.force_login(users.viewer, backend="opsportal.accounts.backends.CachedUserBackend")
    assert client.get(path).status_code == 403
    entry: Entry = Entry.objects.filter(outcome="denied").latest("id")
    return entry


def test_denied__key_in_the_address__keeps_its_prefix_only(users: Any) -> None:
    """AK-9: an append-only log would keep it for ever."""
    key = draw_key()
    entry = denied(users, f"/admin/sysconfig/{key.text}/")
    assert key.prefix in entry.resource_id and key.text not in entry.resource_id


@pytest.mark.parametrize(
    "path", ["/admin/sysconfig/%00/", "/admin/audit/export/%00/", "/admin/sysconfig/" + "x" * 900 + "/"]
)
def test_denied__odd_address__is_audited(users: Any, path: str) -> None:
    """RBAC-1: PostgreSQL keeps no NUL, and a column has its width."""
    assert denied(users, path).resource_id.startswith("/admin/")
