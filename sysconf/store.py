"""The cache of the sections in Redis, and the notice of a change (CF-2, CF-5). PostgreSQL holds the truth.

Beside each entry lies a gate: the newest version that may have been saved. It is raised before a save commits, and an
entry older than the gate never gets in, so no slow reader can bring back what it read before.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import redis

from opsportal.observability.redis_client import redis_client

CHANNEL = "system_config"
TTL_SECONDS = 300
_LUA = Path(__file__).with_name("lua")


class CacheUnreachable(Exception):
    """Redis did not answer."""


@dataclass(frozen=True)
class Cached:
    """What Redis holds of one section, as raw texts; None for what is not there.

    `gate` is the newest version that may have been saved, `attempt` the name of the last save that began, `told` the
    newest version that was announced.
    """

    entry: str | None
    gate: str | None
    attempt: str | None
    told: str | None

    @property
    def knows_gate(self) -> bool:
        """Whether an entry could be put in at all."""
        return self.gate is not None and self.gate.isascii() and self.gate.isdigit()


def entry_key(section: str) -> str:
    """Where the platform's services find the section."""
    return f"system_config:{section}"


def gate_key(section: str) -> str:
    """The newest version that may have been saved."""
    return f"system_config_version:{section}"


def _attempt_key(section: str) -> str:
    return f"opsportal:sysconfig:attempt:{section}"


def _told_key(section: str) -> str:
    return f"opsportal:sysconfig:told:{section}"


def look(sections: Sequence[str]) -> list[Cached]:
    """What there is of these sections, in one round trip. Raises `CacheUnreachable`."""
    keys = [key(section) for section in sections for key in (entry_key, gate_key, _attempt_key, _told_key)]
    try:
        found = cast(list[Any], redis_client().mget(keys)) if keys else []
    except (redis.RedisError, OSError, UnicodeDecodeError) as error:
        raise CacheUnreachable(type(error).__name__) from error
    return [Cached(*found[at : at + 4]) for at in range(0, len(found), 4)]


def raise_gate(section: str, number: int) -> None:
    """A save of version `number` is about to commit. Raises `CacheUnreachable`."""
    keys = [entry_key(section), gate_key(section), _attempt_key(section)]
    _run("raise", keys, [number, uuid.uuid4().hex])


def fill(section: str, number: int, entry: str) -> bool:
    """Put an entry in, unless a newer version may have been saved. Raises `CacheUnreachable`."""
    return bool(_run("fill", [entry_key(section), gate_key(section)], [number, entry, TTL_SECONDS]))


def settle(section: str, seen: Cached, number: int, entry: str) -> bool:
    """Put gate and entry right, unless a save began after `seen`; an empty entry removes it.

    Only for who holds the lock of the section: otherwise a save that began before could still commit.
    Raises `CacheUnreachable`.
    """
    keys = [entry_key(section), gate_key(section), _attempt_key(section)]
    attempt = "-" if seen.attempt is None else f"={seen.attempt}"
    return bool(_run("settle", keys, [attempt, number, entry, TTL_SECONDS]))


def tell(section: str, number: int) -> None:
    """Announce the version to whoever listens, and remember that it was. Raises `CacheUnreachable`."""
    notice = json.dumps({"section": section, "version": number}, separators=(",", ":"))
    try:
        with redis_client().pipeline(transaction=True) as steps:
            steps.publish(CHANNEL, notice)
            steps.set(_told_key(section), number)
            steps.execute()
    except (redis.RedisError, OSError) as error:
        raise CacheUnreachable(type(error).__name__) from error


def _run(name: str, keys: list[str], arguments: list[Any]) -> Any:
    try:
        return _script(name)(keys=keys, args=arguments, client=redis_client())
    except (redis.RedisError, OSError) as error:
        raise CacheUnreachable(type(error).__name__) from error


@cache
def _script(name: str) -> Any:
    return redis.Redis().register_script((_LUA / f"{name}.lua").read_text(encoding="utf-8"))
