"""Keys for the tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from apikeys import services
from apikeys.models import ApiKey
from tests.conftest import Users
from tests.desk import DESK

MadeKey = tuple[ApiKey, str]
REASON = "The key was seen in a chat window today."


def bearer(key: str, **more: Any) -> dict[str, Any]:
    """What the test client sends for `Authorization: Bearer …`."""
    return {"HTTP_AUTHORIZATION": f"Bearer {key}", **more}


def signed_in(user: Any, **options: Any) -> Client:
    """A browser of this user."""
    client = Client(**options)
    client.force_login(user, backend="opsportal.accounts.backends.CachedUserBackend")
    return client


@pytest.fixture
def made(users: Users) -> Callable[..., MadeKey]:
    """`made("read:circuit", owner=…, name=…)`: a key of the operator's, and its text."""
    numbers = iter(range(1, 1000))

    def make(*scopes: str, owner: Any = None, name: str = "", **more: Any) -> MadeKey:
        key, new = services.create_key(
            by=DESK,
            owner=owner or users.operator,
            name=name or f"machine {next(numbers)}",
            scopes=scopes or ("read:circuit",),
            **more,
        )
        return key, new.text

    return make
