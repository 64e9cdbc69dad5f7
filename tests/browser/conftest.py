"""A real Chromium against the live server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_client
from playwright.sync_api import Browser, sync_playwright
from pytest_django.live_server_helper import LiveServer

from circuit.selectors import forget_readings
from tests.browser.chromium import start_chromium
from tests.browser.visitor import Visitor
from tests.conftest import Users


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """One browser for the package. Not for the whole run: its event loop would be in other tests' way."""
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # Playwright keeps an event loop in this thread; Django would take every query here for one made inside it.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        browser = start_chromium(playwright)
        yield browser
        browser.close()


@pytest.fixture
def breaker(redis: redis_client.Redis) -> redis_client.Redis:
    """The platform's Redis with trading allowed."""
    forget_readings()
    redis.set("circuit_breaker:state", "OPEN")
    return redis


class Visitors:
    """Opens windows and closes them all at the end."""

    def __init__(self, browser: Browser, address: str, users: Users) -> None:
        self._browser, self._address, self._users = browser, address, users
        self._open: list[Visitor] = []

    def stranger(self, **options: Any) -> Visitor:
        """Somebody who is not signed in. Options as of `Visitor`."""
        visitor = Visitor(self._browser, self._address, **options)
        self._open.append(visitor)
        return visitor

    def signed_in(self, role: str, **options: Any) -> Visitor:
        """Somebody of this role: viewer, operator or admin."""
        return self.stranger(**options).sign_in(getattr(self._users, role), self._users.password)

    def close(self) -> None:
        """Close every window."""
        for visitor in self._open:
            visitor.close()


@pytest.fixture
def visitors(
    live_server: LiveServer, chromium: Browser, users: Users, breaker: redis_client.Redis
) -> Iterator[Visitors]:
    """`visitors.signed_in("operator", width=390)`; the breaker is open to begin with."""
    opened = Visitors(chromium, live_server.url, users)
    yield opened
    opened.close()
