"""Loaded by schemathesis, in its own process: sets the breaker for each request, and notes what was answered."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import redis
import schemathesis

_client = redis.Redis.from_url(os.environ["REDIS_URL"])
_answers = Path(os.environ["FUZZ_ANSWERS"])


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Trading, or halted where it is to be allowed again; and nobody has reset it in the last minute."""
    state = "TRIPPED" if case.operation.path.endswith("/reset") else "OPEN"
    _client.delete("opsportal:circuit:reset_cooldown", "opsportal:circuit:note", "circuit_breaker:last_trip_at")
    _client.mset({"circuit_breaker:state": state, "circuit_breaker:last_trip_reason": "A drill"})


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """One line an answer: operation, the method that was really sent, status."""
    with _answers.open("a", encoding="utf-8") as lines:
        lines.write(f"{case.operation.label}\t{case.method}\t{response.status_code}\n")
