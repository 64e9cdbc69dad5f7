"""Waiting for something that another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def until(ask: Callable[[], Value], *, seconds: float = 20.0, what: str = "") -> Value:
    """The first true answer; fails after `seconds`. Generous, because machines are shared: it ends as soon as it can."""
    deadline = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or ask}; last answer {answer!r}"
        time.sleep(0.02)
