"""Fixtures of the health monitor's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from health import store
from health.models import Service
from health.queues import forget_queues
from health.selectors import forget_grid
from tests.health.platform import Platform, PlatformService


@pytest.fixture(autouse=True)
def _forget() -> None:
    """What this process remembers is state of an earlier test."""
    forget_grid()
    forget_queues()


@pytest.fixture
def platform() -> Iterator[Platform]:
    """`platform.add("orders")` is a service that really answers."""
    running = Platform()
    yield running
    running.close()


@pytest.fixture
def register() -> Callable[..., Service]:
    """`register(service, interval=1)`: the row of a platform's service, known to the sweep."""

    def registered(service: PlatformService, *depends_on: Service, **fields: Any) -> Service:
        row = Service.objects.create(
            name=fields.pop("name", service.name), base_url=service.url, **{"interval": 1, "timeout": 1.0, **fields}
        )
        row.depends_on.set(depends_on)
        store.publish_registry()
        return row

    return registered
