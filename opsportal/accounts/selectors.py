"""What the pages of people read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.models import Group
from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from opsportal.accounts.models import Strategy, StrategyGrant, User, UserSession
from opsportal.accounts.roles import MATRIX, Role, plain_words
from opsportal.accounts.session_ending import reference_of
from opsportal.accounts.wording import browser_words, event_words, role_words
from opsportal.audit.models import Entry

ENTRIES_SHOWN = 10

#: The parts of the portal, in the order of the navigation; a permission belongs to one by its app's label.
AREAS = {
    "circuit": "Circuit breaker",
    "health": "Service health",
    "accounts": "People",
    "apikeys": "API keys",
    "sysconfig": "System configuration",
    "audit": "Audit log",
}


def users_like(q: str = "", role: str = "", strategy: Strategy | None = None, state: str = "") -> QuerySet[User]:
    """The users that the filters let through, by name. `role` also takes "none", `state` "enabled" and "disabled".

    Not by e-mail address: what is searched for stands in the address of the page, and in logs of proxies.
    """
    users = User.objects.order_by("username")
    for word in q.split():
        named = Q(username__icontains=word) | Q(first_name__icontains=word) | Q(last_name__icontains=word)
        users = users.filter(named)
    if role == "superuser":
        users = users.filter(is_superuser=True)
    elif role == "none":
        users = users.filter(is_superuser=False).exclude(groups__name__in=list(Role))
    elif role:
        stronger = [other.value for other in list(Role)[list(Role).index(Role(role)) + 1 :]]
        of_role = User.groups.through.objects.filter(group__name=role).values("user_id")
        of_stronger = User.groups.through.objects.filter(group__name__in=stronger).values("user_id")
        users = users.filter(pk__in=of_role, is_superuser=False).exclude(pk__in=of_stronger)
    if strategy:
        users = users.filter(pk__in=StrategyGrant.objects.filter(strategy=strategy).values("user_id"))
    if state:
        users = users.filter(is_active=state == "enabled")
    return users


@dataclass(frozen=True)
class Person:
    """One user as the list shows them."""

    user: User
    role: str
    strategies: tuple[str, ...]
    sessions: int


def people_of(users: Iterable[User]) -> list[Person]:
    """These users for the list, with a number of queries that does not depend on how many they are."""
    page = list(users)
    ids = [user.pk for user in page]
    roles: dict[int, set[str]] = defaultdict(set)
    for user_id, name in User.groups.through.objects.filter(user_id__in=ids).values_list("user_id", "group__name"):
        roles[user_id].add(name)
    strategies: dict[int, list[str]] = defaultdict(list)
    grants = StrategyGrant.objects.filter(user_id__in=ids).order_by("strategy__name")
    for user_id, name in grants.values_list("user_id", "strategy__name"):
        strategies[user_id].append(name)
    counts = live_session_counts(ids)
    people = []
    for user in page:
        user.remembered_roles = tuple(roles[user.pk])
        people.append(Person(user, role_words(user), tuple(strategies[user.pk]), counts[user.pk]))
    return people


def live_sessions(now: datetime) -> QuerySet[UserSession]:
    """The sessions that have not run into a limit."""
    return UserSession.objects.filter(
        expire_date__gt=now,
        started_at__gt=now - timedelta(seconds=settings.SESSION_ABSOLUTE_SECONDS),
        seen_at__gt=now - timedelta(seconds=settings.SESSION_IDLE_SECONDS),
    )


def live_session_counts(ids: Iterable[int]) -> Counter[int]:
    """How many live sessions each of these users has."""
    rows = live_sessions(timezone.now()).filter(user_id__in=list(ids)).values("user_id").annotate(number=Count("pk"))
    return Counter({row["user_id"]: row["number"] for row in rows})


@dataclass(frozen=True)
class Session:
    """One signed-in browser as the pages show it. `reference` stands for the key, which is a credential."""

    reference: str
    ip: str
    browser: str
    started_at: datetime
    seen_at: datetime
    is_this: bool


def sessions_of(user: User, *, this_key: str | None = None) -> list[Session]:
    """The live sessions of a user, the latest first. `this_key` is that of the browser that asks."""
    rows = live_sessions(timezone.now()).filter(user_id=user.pk).order_by("-seen_at", "session_key")
    return [
        Session(
            reference=reference_of(row.session_key),
            ip=row.ip or "unknown",
            browser=browser_words(row.user_agent),
            started_at=row.started_at,
            seen_at=row.seen_at,
            is_this=row.session_key == this_key,
        )
        for row in rows
        if row.started_at and row.seen_at
    ]


def entries_about(user: User) -> list[tuple[Entry, str]]:
    """The newest entries of the audit log about a user, each with what happened in words."""
    rows = Entry.objects.filter(resource_type="user", resource_id=str(user.pk)).order_by("-timestamp", "-id")
    return [(row, event_words(row.event)) for row in rows[:ENTRIES_SHOWN]]


def strategies_with_holders() -> QuerySet[Strategy]:
    """All strategies, each with `holders`, the number of users who have it."""
    return Strategy.objects.annotate(holders=Count("grants")).order_by("retired", "name")


@dataclass(frozen=True)
class MatrixRow:
    """One permission in words, and whether viewer, operator and admin have it."""

    allows: str
    given: tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class CustomGroup:
    """A group that somebody has built from the permissions (RBAC-2)."""

    name: str
    users: int
    allows: tuple[str, ...]


@dataclass(frozen=True)
class RolesPage:
    """Who may do what: the three roles, by area, and the groups beside them."""

    counts: tuple[tuple[str, int], ...]
    areas: tuple[tuple[str, tuple[MatrixRow, ...]], ...]
    groups: tuple[CustomGroup, ...]
    superusers: int


def roles_page() -> RolesPage:
    """The matrix as the code has it, with the number of enabled users."""
    areas: dict[str, list[MatrixRow]] = {title: [] for title in AREAS.values()}
    for grant in MATRIX:
        label = grant.permission.split(".")[0]
        given = tuple((role.value, grant.given_to(role)) for role in Role)
        areas.setdefault(AREAS.get(label, label), []).append(MatrixRow(grant.allows, given))
    names = [role.value for role in Role]
    enabled = Count("user", filter=Q(user__is_active=True), distinct=True)
    counts = dict(Group.objects.filter(name__in=names).annotate(number=enabled).values_list("name", "number"))
    others = Group.objects.exclude(name__in=names).annotate(number=enabled).order_by("name")
    return RolesPage(
        counts=tuple((name, counts.get(name, 0)) for name in names),
        areas=tuple((title, tuple(rows)) for title, rows in areas.items() if rows),
        groups=tuple(
            CustomGroup(group.name, group.number, _allows(group))
            for group in others.prefetch_related("permissions__content_type")
        ),
        superusers=User.objects.filter(is_superuser=True, is_active=True).count(),
    )


def _allows(group: Group) -> tuple[str, ...]:
    names = (f"{row.content_type.app_label}.{row.codename}" for row in group.permissions.all())
    return tuple(sorted(plain_words(name) for name in names))
