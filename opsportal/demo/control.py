"""How an operator of the demo speaks to the running platform: a request by publish, an answer in a list of its own.

A request is published, not queued: where nobody listens it is gone, and the sender is told so at once.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis

CHANNEL = "demo:commands"
ANSWER_SECONDS = 5
KEPT_SECONDS = 30


class NoAnswer(Exception):
    """The request came to nothing. `sentence` says why, for people."""

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence
        super().__init__(sentence)


@dataclass(frozen=True)
class Answer:
    """What the platform says. `ok` false: it was refused, and `lines` say why."""

    ok: bool
    lines: tuple[str, ...]


def request(client: redis.Redis, verb: str, subject: str = "") -> Answer:
    """Ask the running platform. Its answer is waited for at most 5 s; the client must wait longer than that.

    Raises NoAnswer when none runs or it does not answer, redis.RedisError.
    """
    to: Any = client
    name = uuid.uuid4().hex
    if to.publish(CHANNEL, json.dumps({"id": name, "verb": verb, "subject": subject})) == 0:
        raise NoAnswer("No demo platform is running on this Redis; `make run` starts one.")
    found = to.blpop([_answer_key(name)], timeout=ANSWER_SECONDS)
    if found is None:
        raise NoAnswer(f"The demo platform did not answer within {ANSWER_SECONDS} s; what was asked may still happen.")
    said = json.loads(found[1])
    return Answer(bool(said["ok"]), tuple(said["lines"]))


class Ear:
    """The platform's side: hears requests one by one. Subscribes anew when Redis comes back."""

    def __init__(self, client: redis.Redis) -> None:
        self._client: Any = client
        self._heard: Any = client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        self._subscribed = False

    def listen(self, seconds: float, obey: Callable[[str, str], Answer]) -> None:
        """Wait at most `seconds` for a request and answer it with what `obey(verb, subject)` says.

        Raises redis.RedisError. A request that cannot be understood is passed over.
        """
        if not self._subscribed:
            self._heard.subscribe(CHANNEL)
            self._subscribed = True
        message = self._heard.get_message(timeout=seconds)
        if message is None:
            return
        try:
            asked = json.loads(message["data"])
            name, verb, subject = str(asked["id"]), str(asked["verb"]), str(asked["subject"])
        except (ValueError, KeyError, TypeError):
            return
        answer = obey(verb, subject)
        with self._client.pipeline(transaction=True) as steps:
            steps.rpush(_answer_key(name), json.dumps({"ok": answer.ok, "lines": answer.lines}))
            steps.expire(_answer_key(name), KEPT_SECONDS)
            steps.execute()

    def close(self) -> None:
        """Leave the channel."""
        self._heard.close()


def _answer_key(name: str) -> str:
    return f"demo:answer:{name}"
