"""What the pretend outside world has received: the newest messages, in a Redis list, so that a page can show them.

The recipients are the demo's own and made up: so they are kept and shown in full, as nothing else in the portal is.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

import redis

KEY = "demo:inbox"
KEPT = 200
TEXT_MAX = 4000
KINDS = {
    "email": "E-mail",
    "slack": "Slack",
    "sms": "SMS",
    "pagerduty": "PagerDuty",
    "webhook": "Webhook",
}
"""Where a message can arrive, and what people call it."""


@dataclass(frozen=True)
class Letter:
    """One message as it arrived. `at`: ISO 8601, UTC. `answer`: what the sender was told, e.g. "250 accepted"."""

    at: str
    kind: str
    to: str
    subject: str
    text: str
    answer: str
    #: By what name the sender knows it: where the same one comes twice, it was sent twice.
    key: str = ""
    accepted: bool = True


class Letterbox:
    """Where the outside world puts what it receives. What Redis does not take now waits in memory."""

    def __init__(self, client: redis.Redis) -> None:
        self._client: Any = client
        self._waiting: deque[str] = deque(maxlen=KEPT)

    def put(self, letter: Letter) -> None:
        """Keep it at the next `flush`; of too many the newest."""
        self._waiting.append(json.dumps({**asdict(letter), "text": letter.text[:TEXT_MAX]}))

    def flush(self) -> bool:
        """Hand what waits to Redis; False if Redis does not answer, and it waits on."""
        if not self._waiting:
            return True
        handed = list(self._waiting)
        try:
            with self._client.pipeline(transaction=True) as steps:
                steps.lpush(KEY, *handed)
                steps.ltrim(KEY, 0, KEPT - 1)
                steps.execute()
        except redis.RedisError:
            return False
        for _ in handed:
            self._waiting.popleft()
        return True


def newest(client: redis.Redis, kind: str = "") -> list[Letter]:
    """What was received, newest first; of one kind, if it is given. Raises redis.RedisError."""
    reader: Any = client
    found = []
    for raw in reader.lrange(KEY, 0, KEPT - 1):
        try:
            letter = Letter(**json.loads(raw))
        except (ValueError, TypeError):
            continue
        if not kind or letter.kind == kind:
            found.append(letter)
    return found
