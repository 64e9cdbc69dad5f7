"""Fixtures of alerting's tests."""

from __future__ import annotations

import pytest

from alerting.models import Rule
from tests.alerting.providers.fixtures import providers

__all__ = ["providers"]


@pytest.fixture
def no_rules(db: None) -> None:
    """A portal without the rules that a fresh one has."""
    Rule.objects.all().delete()
