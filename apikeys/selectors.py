"""Keys as people look for them. What recognises a key, salt and digest, is never read here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import Error
from django.db.models import Count, Q, QuerySet

from apikeys.models import ApiKey, KeyState
from opsportal.accounts.models import User

#: Days before the end at which a warning becomes more urgent (AK-8), the most urgent first.
WARN_DAYS = (1, 3, 14)
MOST_OWNERS = 20


def live(now: datetime) -> Q:
    """Keys that are worth something at `now`, whatever their owners are."""
    return Q(revoked_at__isnull=True) & (Q(expires_at__isnull=True) | Q(expires_at__gt=now))


def in_state(state: KeyState, now: datetime) -> Q:
    """The condition that `ApiKey.state` is this one."""
    if state == KeyState.REVOKED:
        return Q(revoked_at__isnull=False)
    if state == KeyState.EXPIRED:
        return Q(revoked_at__isnull=True, expires_at__lte=now)
    return live(now) & Q(pending_since__isnull=state == KeyState.ACTIVE)


def ends_within(days: int, now: datetime) -> Q:
    """Live keys whose end is at most so many days away."""
    return live(now) & Q(expires_at__lte=now + timedelta(days=days))


def shown_keys() -> QuerySet[ApiKey]:
    """Every key with its owner, newest first, without what recognises it."""
    return (
        ApiKey.objects.select_related("owner").defer("salt", "digest", "owner__password").order_by("-created_at", "-id")
    )


def shown_key(number: int) -> ApiKey | None:
    """The key of this row number, with its predecessor at hand."""
    return (
        shown_keys()
        .select_related("rotated_from")
        .defer("salt", "digest", "owner__password", "rotated_from__salt", "rotated_from__digest")
        .filter(pk=number)
        .first()
    )


def successor_of(key: ApiKey) -> ApiKey | None:
    """The key that was made to replace this one."""
    return shown_keys().filter(rotated_from=key.pk).first()


def key_by_prefix(text: str) -> ApiKey | None:
    """The key that a prefix names; a whole key, pasted by mistake, names itself as well."""
    if "\x00" in text:
        return None
    return shown_keys().filter(prefix=text[:16]).first()


def owners_like(text: str) -> list[User]:
    """The first active users whose name holds this text, for the suggestions of the form."""
    if "\x00" in text:
        return []
    people = User.objects.filter(is_active=True, username__icontains=text[:150]).only("id", "username")
    found = list(people.prefetch_related("groups").order_by("username")[:MOST_OWNERS])
    for user in found:
        user.remembered_roles = tuple(group.name for group in user.groups.all())
    return found


@dataclass(frozen=True)
class Expiring:
    """How many keys end within the days of `WARN_DAYS`; those of one day are among those of three."""

    within: tuple[tuple[int, int], ...]

    @property
    def total(self) -> int:
        """How many end within the longest of the three."""
        return self.within[-1][1]

    @property
    def nearest(self) -> tuple[int, int]:
        """The shortest of the three within which any key ends, and how many do; (0, 0) if none does."""
        return next(((days, number) for days, number in self.within if number), (0, 0))


def expiring(now: datetime) -> Expiring:
    """The warnings before expiry, for the overview and the metric: keys of active owners only."""
    counts: dict[str, Any] = {f"within_{days}": Count("id", filter=ends_within(days, now)) for days in WARN_DAYS}
    found = ApiKey.objects.filter(ends_within(WARN_DAYS[-1], now), owner__is_active=True).aggregate(**counts)
    return Expiring(tuple((days, found[f"within_{days}"]) for days in WARN_DAYS))


def expiring_or_unknown(now: datetime) -> Expiring | None:
    """The same; None with PostgreSQL down, for a page that must be there all the same."""
    try:
        return expiring(now)
    except Error:
        return None


def count_by_state(now: datetime) -> dict[KeyState, int]:
    """How many keys there are of each state."""
    counts: dict[str, Any] = {state.value: Count("id", filter=in_state(state, now)) for state in KeyState}
    found = ApiKey.objects.aggregate(**counts)
    return {state: found[state.value] for state in KeyState}
