"""What the sweeper leaves in Redis for the dashboards: the snapshot, the registry's copy, and its lease."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache, lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import redis
from django.db import Error
from pydantic import ValidationError

from health.catalogue import Catalogue, load_catalogue
from health.models import Status
from opsportal.observability.redis_client import redis_client

log = logging.getLogger(__name__)

SNAPSHOT_KEY = "health:snapshot"
REGISTRY_KEY = "health:registry"
GENERATION_KEY = "health:registry:generation"
LEASE_KEY = "health:lease"
#: The field of the snapshot in which the sweeper tells of itself.
SWEEPER = "sweeper"
LEASE_MS = 6_000

_LUA = Path(__file__).with_name("lua")


class HealthUnreachable(Exception):
    """Redis did not answer."""


@dataclass(slots=True)
class Record:
    """What is known of one service. Ages in milliseconds, as they were when it was written; None: never.

    `status` is the recorded one; `reply_status` that of the last reply; `unconfirmed` the newest result where it
    differs and flap control waits (`seen` of `needed`), else -1.
    """

    status: int = Status.UNKNOWN
    since_age: int | None = None
    reply_status: int = Status.UNKNOWN
    reply_age: int | None = None
    probe_age: int | None = None
    latency_us: int | None = None
    unconfirmed: int = -1
    seen: int = 0
    needed: int = 0
    cause: str = ""
    field: str = ""
    sentence: str = ""
    version: str = ""
    last_operation_at: str = ""
    last_operation: str = ""

    def to_json(self) -> str:
        """One line for the snapshot: the values, in the order of the fields."""
        return _encode(_values(self))


_values = attrgetter(*(field.name for field in fields(Record)))
_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True)
class Stamped:
    """A record and how many milliseconds ago it was written, by the clock of Redis."""

    record: Record
    age_ms: int


@dataclass(frozen=True)
class Snapshot:
    """All of it in one reading. `sweeper` is what the sweeper said of itself, empty if it never did."""

    catalogue: Catalogue | None
    records: dict[int, Stamped]
    now_ms: int
    sweeper: dict[str, Any]
    sweeper_age_ms: int | None


def write_records(records: Iterable[tuple[int, Record]], about: dict[str, Any]) -> str:
    """Put the records into the snapshot, and what the sweeper says of itself; returns the registry's generation.

    The generation changes whenever somebody has changed the registry. Raises `HealthUnreachable`.
    """
    arguments = [SWEEPER, json.dumps(about, separators=(",", ":"))]
    for service_id, record in records:
        arguments += [str(service_id), record.to_json()]
    try:
        return str(_script("snapshot")(keys=[SNAPSHOT_KEY, GENERATION_KEY], args=arguments, client=redis_client()))
    except (redis.RedisError, OSError) as error:
        raise HealthUnreachable(type(error).__name__) from error


def remove_records(service_ids: Iterable[int]) -> None:
    """Forget services that are no longer probed. Raises `HealthUnreachable`."""
    gone = [str(service_id) for service_id in service_ids]
    try:
        if gone:
            redis_client().hdel(SNAPSHOT_KEY, *gone)
    except (redis.RedisError, OSError) as error:
        raise HealthUnreachable(type(error).__name__) from error


def read_snapshot() -> Snapshot:
    """Records, registry and time in one round trip. Raises `HealthUnreachable`.

    What cannot be understood (written by another version, or by hand) is left out: the service is then unknown.
    """
    try:
        with redis_client().pipeline(transaction=False) as pipe:
            pipe.get(REGISTRY_KEY)
            pipe.hgetall(SNAPSHOT_KEY)
            pipe.time()
            registry, raw, (seconds, micros) = pipe.execute()
    except (redis.RedisError, OSError, UnicodeDecodeError) as error:
        raise HealthUnreachable(type(error).__name__) from error
    now_ms = seconds * 1000 + micros // 1000
    about, about_age = {}, None
    records = {}
    for name, text in raw.items():
        stamp, _, body = text.partition("|")
        try:
            values = json.loads(body)
            if name == SWEEPER:
                about, about_age = dict(values), now_ms - int(stamp)
            else:
                records[int(name)] = Stamped(_decoded(values), now_ms - int(stamp))
        except (ValueError, TypeError, AttributeError):
            log.warning("health_record_not_understood")
    return Snapshot(_parse_registry(registry), records, now_ms, about, about_age)


def _decoded(values: Any) -> Record:
    if not isinstance(values, list) or len(values) != len(fields(Record)):
        raise ValueError("a record of another version")
    return Record(*values)


def publish_registry() -> Catalogue | None:
    """Copy the registry from PostgreSQL to Redis for the dashboards and the sweeper; the copy, None if it failed.

    Called after each change of it, and by the sweeper now and then. Never raises: the sweeper's next copy mends it.
    """
    try:
        catalogue = load_catalogue()
        write_registry(catalogue)
        redis_client().incr(GENERATION_KEY)  # the sweeper sees it within a second
    except (Error, HealthUnreachable, redis.RedisError, OSError) as error:
        log.warning("health_registry_not_published", extra={"cause": type(error).__name__})
        return None
    return catalogue


def write_registry(catalogue: Catalogue) -> None:
    """Put the copy into Redis. Raises `HealthUnreachable`."""
    try:
        redis_client().set(REGISTRY_KEY, catalogue.model_dump_json())
    except (redis.RedisError, OSError) as error:
        raise HealthUnreachable(type(error).__name__) from error


def hold_lease(holder: str) -> bool:
    """Take or prolong the sweeper's lease of 6 s; False while it is somebody else's. Raises `HealthUnreachable`."""
    try:
        return bool(_script("lease")(keys=[LEASE_KEY], args=[holder, LEASE_MS], client=redis_client()))
    except (redis.RedisError, OSError) as error:
        raise HealthUnreachable(type(error).__name__) from error


def release_lease(holder: str) -> None:
    """Give the lease up if it is ours. Never raises: it ends by itself."""
    try:
        if redis_client().get(LEASE_KEY) == holder:
            redis_client().delete(LEASE_KEY)
    except (redis.RedisError, OSError):
        log.info("health_lease_left_to_end")


def _parse_registry(text: str | None) -> Catalogue | None:
    if not text:
        return None
    try:
        return _parsed(text)
    except ValidationError:
        log.warning("health_registry_not_understood")
        return None


@lru_cache(maxsize=2)
def _parsed(text: str) -> Catalogue:
    return Catalogue.model_validate_json(text)


@cache
def _script(name: str) -> Any:
    return redis.Redis().register_script((_LUA / f"{name}.lua").read_text(encoding="utf-8"))
