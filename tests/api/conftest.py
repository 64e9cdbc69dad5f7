"""Keys of three kinds of callers, and the API's own description of itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from apikeys import wire
from apikeys.models import ApiKey
from opsportal.accounts.scopes import SCOPE_NAMES


def key_of(owner: Any, scopes: Any = None) -> str:
    """A key of this person; with every scope there is unless told otherwise."""
    new = wire.draw_key()
    ApiKey.objects.create(
        owner=owner,
        name=f"fuzz {new.prefix}",
        prefix=new.prefix,
        last4=new.last4,
        salt=new.salt,
        digest=new.digest,
        scopes=list(SCOPE_NAMES) if scopes is None else scopes,
        created_by="tests",
    )
    return new.text


@pytest.fixture
def admin_key(users: Any) -> str:
    """May do all that the API has."""
    return key_of(users.admin)


@pytest.fixture
def viewer_key(users: Any) -> str:
    """Has every scope, but its owner may only look."""
    return key_of(users.viewer)


@pytest.fixture
def described(admin_key: str) -> Any:
    """The schema as the portal serves it to a key."""
    headers = {"Authorization": f"Bearer {admin_key}", "Accept": "application/vnd.oai.openapi+json"}
    answer = Client().get("/api/schema/", headers=headers)
    assert answer.status_code == 200, answer.content
    return json.loads(answer.content)
