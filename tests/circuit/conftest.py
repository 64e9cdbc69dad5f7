"""Fixtures of the breaker's tests."""

from __future__ import annotations

import pytest

from circuit import services
from tests.desk import DESK


@pytest.fixture
def open_breaker(db: None) -> None:
    """A breaker that says OPEN, and a history that says why."""
    services.init_breaker(by=DESK)
