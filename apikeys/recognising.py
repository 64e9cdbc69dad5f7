"""Whose key is this, and is it worth anything now? Runs before every call of the API that comes with a key.

A row that was read within the last `ROW_SECONDS` is believed again as long as Redis says that the key is not revoked
(AK-5: cache first, database second); that answer serves a busy key for `MARK_SECONDS`. If Redis does not answer, every
request reads the row. So a revocation bites at once in the process that made it, within a quarter of a second where
Redis was told, and within a second where it was not: also when it was down during the revocation and is back since.

What is refused takes the same way, whatever the reason: one look into Redis, one query, one digest. An answer that
came sooner would tell a guesser which prefixes exist.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import redis
from django.core.cache import cache
from django.db import Error
from django.db.models import Q

from apikeys import metrics, wire
from apikeys.models import ApiKey
from opsportal.accounts.actors import Actor
from opsportal.accounts.backends import CachedUserBackend
from opsportal.accounts.models import User
from opsportal.observability.redis_client import redis_client

log = logging.getLogger(__name__)

#: Less than the second within which a revocation must bite.
ROW_SECONDS = 0.9
#: How long Redis' answer that a key is not revoked is believed. At a few hundred calls a second it is asked four times.
MARK_SECONDS = 0.25
#: With PostgreSQL down a row so old still serves while Redis says that the key is not revoked, so that a machine can
#: halt trading (CB-8). Shorter than Redis remembers a revocation: nobody can revoke while PostgreSQL is down.
OUTAGE_SECONDS = 240
REVOKED_SECONDS = 300
NOTE_EVERY_SECONDS = 60
_MOST_ROWS = 10_000
#: What a prefix that nobody has is compared with.
_NOBODY = ("0" * 32, "0" * 64)


@dataclass(frozen=True)
class Known:
    """What one look into the database said of a key. `read_at` is when that look began."""

    id: int
    prefix: str
    name: str
    salt: str = field(repr=False)
    digest: str = field(repr=False)
    scopes: frozenset[str]
    networks: tuple[str, ...]
    expires_at: datetime | None
    revoked: bool
    owner_id: int
    owner_active: bool
    read_at: float
    owner: User | None = None


@dataclass(frozen=True)
class KeyActor(Actor):
    """A machine that acts for the owner of its key, and which key that is."""

    prefix: str = ""
    key_name: str = ""
    expires_at: datetime | None = None


class KeyRefused(Exception):
    """The key opens nothing. `outcome` is for the log and the metric, never for the caller.

    `known` is the row where the caller really had the key.
    """

    def __init__(self, outcome: str, known: Known | None = None) -> None:
        self.outcome = outcome
        self.known = known
        super().__init__(outcome)


_rows: dict[str, Known] = {}
#: When the question began to which Redis last said that the key is not revoked.
_unmarked: dict[str, float] = {}
_noted: dict[str, float] = {}


def forget_rows() -> None:
    """Forget what this process has read."""
    _rows.clear()
    _unmarked.clear()
    _noted.clear()


def recognise(token: str, *, ip: str | None, now: datetime) -> KeyActor:
    """Who acts with this key.

    Raises `KeyRefused`, and `django.db.Error` when PostgreSQL is down and this process has not seen the key lately.
    """
    if not wire.KEY_FORM.fullmatch(token):
        raise _refused("malformed")
    prefix = token[: wire.PREFIX_LENGTH]
    started = time.monotonic()
    asked = started - _unmarked.get(prefix, -MARK_SECONDS) >= MARK_SECONDS
    marked = _marked_revoked(prefix) if asked else False
    known = _rows.get(prefix) if marked is False else None
    if known is not None and started - known.read_at < ROW_SECONDS and _opens(known, token, ip, now):
        if asked:
            _unmarked[prefix] = started
        return _accepted(known, ip, now)
    known = _read_or_remember(prefix, marked)
    salt, digest = (known.salt, known.digest) if known else _NOBODY
    if not wire.matches(token, salt=salt, digest=digest) or known is None:
        raise _refused("unknown")
    problem = "revoked" if marked else _problem(known, ip, now)
    if problem:
        _rows.pop(prefix, None)
        raise _refused(problem, known)
    return _accepted(_with_owner(known), ip, now)


def mark_revoked(prefix: str) -> bool:
    """Tell every process at once that the key is revoked; False if Redis could not be told."""
    _rows.pop(prefix, None)
    _unmarked.pop(prefix, None)
    try:
        redis_client().set(_mark_key(prefix), "1", ex=REVOKED_SECONDS)
    except redis.RedisError:
        log.warning("api_key_revocation_not_announced", extra={"key_prefix": prefix})
        return False
    return True


def _mark_key(prefix: str) -> str:
    return f"api_key_revoked:{prefix}"


def _marked_revoked(prefix: str) -> bool | None:
    """What Redis says; None if it does not answer."""
    try:
        return bool(redis_client().exists(_mark_key(prefix)))
    except redis.RedisError:
        return None


def _opens(known: Known, token: str, ip: str | None, now: datetime) -> bool:
    return wire.matches(token, salt=known.salt, digest=known.digest) and not _problem(known, ip, now)


def _problem(known: Known, ip: str | None, now: datetime) -> str:
    if known.revoked:
        return "revoked"
    if known.expires_at is not None and known.expires_at <= now:
        return "expired"
    if not known.owner_active:
        return "owner_disabled"
    return "" if _allowed_from(known.networks, ip) else "network"


def _allowed_from(networks: tuple[str, ...], ip: str | None) -> bool:
    """An empty list allows every address; otherwise an address that nobody knows is not in it."""
    if not networks:
        return True
    if ip is None:
        return False
    address = ip_address(ip)
    return any(address in network for network in _parsed(networks))


@lru_cache(maxsize=4096)
def _parsed(networks: tuple[str, ...]) -> Sequence[IPv4Network | IPv6Network]:
    return [ip_network(text) for text in networks]


def _read_or_remember(prefix: str, marked: bool | None) -> Known | None:
    try:
        return _read(prefix)
    except Error:
        known = _rows.get(prefix)
        if marked is False and known is not None and time.monotonic() - known.read_at < OUTAGE_SECONDS:
            log.warning("api_key_served_from_memory_only", extra={"key_prefix": prefix})
            # The owner is asked for anew: Redis has no entry of one who was disabled or lost a role since then.
            return replace(known, owner=None)
        raise


def _read(prefix: str) -> Known | None:
    # Taken before the query: what a slow one brings is as old as its beginning, and a revocation may lie between.
    started = time.monotonic()
    row = (
        ApiKey.objects.filter(prefix=prefix)
        .values_list(
            *("id", "name", "salt", "digest", "scopes", "networks", "expires_at", "revoked_at"),
            *("owner_id", "owner__is_active"),
        )
        .first()
    )
    if row is None:
        return None
    number, name, salt, digest, scopes, networks, expires_at, revoked_at, owner_id, owner_active = row
    return Known(
        id=number,
        prefix=prefix,
        name=name,
        salt=salt,
        digest=digest,
        scopes=frozenset(scopes),
        networks=tuple(networks),
        expires_at=expires_at,
        revoked=revoked_at is not None,
        owner_id=owner_id,
        owner_active=owner_active,
        read_at=started,
    )


def _with_owner(known: Known) -> Known:
    """The row with its owner and what the owner may do now; kept for the next request."""
    if known.owner is not None:
        return known
    owner = CachedUserBackend().get_user(known.owner_id)
    if owner is None:
        raise _refused("owner_disabled", known)
    known = replace(known, owner=owner)
    if len(_rows) >= _MOST_ROWS:
        _rows.clear()
        _unmarked.clear()
    _rows[known.prefix] = known
    return known


def _accepted(known: Known, ip: str | None, now: datetime) -> KeyActor:
    assert known.owner is not None
    metrics.REQUESTS.labels("accepted").inc()
    _note_use(known, ip, now)
    return replace(
        KeyActor.of_key(known.owner, known.prefix, known.scopes),
        prefix=known.prefix,
        key_name=known.name,
        expires_at=known.expires_at,
    )


def _refused(outcome: str, known: Known | None = None) -> KeyRefused:
    metrics.REQUESTS.labels(outcome).inc()
    log.warning("api_key_refused", extra={"outcome": outcome, "key_prefix": known.prefix if known else ""})
    return KeyRefused(outcome, known)


def _note_use(known: Known, ip: str | None, now: datetime) -> None:
    """Write when and whence the key was last used, at most once a minute (AK-7)."""
    if not first_of_minute(f"api-key-used:{known.prefix}"):
        return
    older = Q(last_used_at__isnull=True) | Q(last_used_at__lte=now - timedelta(seconds=NOTE_EVERY_SECONDS))
    try:
        ApiKey.objects.filter(older, pk=known.id).update(last_used_at=now, last_used_ip=ip)
    except Error:
        log.warning("api_key_use_not_written", extra={"key_prefix": known.prefix})


def first_of_minute(mark: str) -> bool:
    """Whether nobody has asked this of `mark` within a minute.

    This process remembers, then Redis; with Redis down each process answers for itself.
    """
    moment = time.monotonic()
    if moment - _noted.get(mark, -NOTE_EVERY_SECONDS) < NOTE_EVERY_SECONDS:
        return False
    if len(_noted) >= _MOST_ROWS:
        _noted.clear()
    _noted[mark] = moment
    return bool(cache.add(mark, 1, timeout=NOTE_EVERY_SECONDS)) or cache.get(mark) is None
