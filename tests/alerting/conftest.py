"""Fixtures of alerting's tests."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from alerting import pressure
from alerting.models import Rule
from tests.alerting.providers.fixtures import providers
from tests.api.conftest import key_of

__all__ = ["providers"]


@pytest.fixture
def no_rules(db: None) -> None:
    """A portal without the rules that a fresh one has."""
    Rule.objects.all().delete()


@pytest.fixture
def sender(users: Any, no_rules: None) -> Client:
    """A service with a key that may send values and alerts."""
    pressure.forget_depth()
    key = key_of(users.operator, ["write:alerts", "write:observations"])
    return Client(raise_request_exception=False, headers={"Authorization": f"Bearer {key}"})
