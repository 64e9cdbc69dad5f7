"""Changes to one user or many: what each would do, and doing it (AM-1, AM-2, AM-4).

The rules live in the plan, and the plan is made again under the lock before anything is done: what a page showed, what
is refused and what is carried out can never differ.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from django.contrib.auth.models import Group
from django.db.models import Q

from opsportal.accounts.actors import Actor
from opsportal.accounts.models import Strategy, StrategyGrant, User
from opsportal.accounts.reach import held_by, why_not_give, why_not_over
from opsportal.accounts.records import audit, one_at_a_time, optional_reason
from opsportal.accounts.refusals import InvalidInput, StaleForm, WrongState
from opsportal.accounts.roles import Role
from opsportal.accounts.session_ending import end_sessions
from opsportal.accounts.stepup import clean_reason
from opsportal.accounts.wording import role_words

#: The most users that one change is for: more cannot be read before they are confirmed.
MOST_USERS = 500
LARGEST_ID = 2**63 - 1


class Verb(StrEnum):
    """What can be done to many at once."""

    ROLE = "role"
    GRANT = "grant"
    REVOKE = "revoke"
    SIGN_OUT = "sign-out"
    DISABLE = "disable"
    ENABLE = "enable"


@dataclass(frozen=True)
class Change:
    """One thing to do: `role` goes with ROLE, `strategy` with GRANT and REVOKE."""

    verb: Verb
    role: Role | None = None
    strategy: Strategy | None = None

    @property
    def permission(self) -> str:
        """What it takes to do it."""
        return "accounts.grant_strategy" if self.strategy else "accounts.change_user"

    @property
    def value(self) -> str:
        """The change as forms and addresses carry it: `role:viewer`, `grant:3`, `disable`."""
        what = self.role or (self.strategy.pk if self.strategy else "")
        return f"{self.verb}:{what}" if what else str(self.verb)

    @property
    def title(self) -> str:
        """What a button says."""
        return {
            Verb.ROLE: f"Change the role to {self.role}",
            Verb.GRANT: f"Grant the strategy {self.strategy}",
            Verb.REVOKE: f"Revoke the strategy {self.strategy}",
            Verb.SIGN_OUT: "Sign out everywhere",
            Verb.DISABLE: "Disable",
            Verb.ENABLE: "Enable",
        }[self.verb]


def read_change(value: str) -> Change:
    """The change that a form asks for. Raises `InvalidInput`."""
    verb, _, what = value.partition(":")
    unknown = InvalidInput("do", "Choose what to do with the selected people.")
    if verb in (Verb.GRANT, Verb.REVOKE):
        number = read_id(what)
        strategy = Strategy.objects.filter(pk=number).first() if number else None
        if strategy is None:
            raise InvalidInput("do", "There is no such strategy.")
        return Change(Verb(verb), strategy=strategy)
    if verb == Verb.ROLE and what in list(Role):
        return Change(Verb.ROLE, role=Role(what))
    if verb in (Verb.SIGN_OUT, Verb.DISABLE, Verb.ENABLE) and not what:
        return Change(Verb(verb))
    raise unknown


def read_id(text: str) -> int | None:
    """The id of a row as an address or a form carries it; None for what cannot be one."""
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        return None
    number = int(text)
    return number if 0 < number <= LARGEST_ID else None


@dataclass(frozen=True)
class Step:
    """What the change does to one user: before, after, and why not where it is refused."""

    user: User
    before: str
    after: str
    refusal: str = ""

    @property
    def changes(self) -> bool:
        """Whether anything is done."""
        return not self.refusal and self.before != self.after


@dataclass(frozen=True)
class Plan:
    """All steps of one change, in the order of user names."""

    change: Change
    steps: tuple[Step, ...]

    @property
    def doing(self) -> tuple[Step, ...]:
        """The steps that do something."""
        return tuple(step for step in self.steps if step.changes)

    @property
    def version(self) -> str:
        """Differs as soon as anything that the plan was made from differs."""
        facts = [[step.user.pk, step.before, step.after, step.refusal] for step in self.steps]
        return hashlib.sha256(json.dumps([self.change.value, facts]).encode()).hexdigest()[:32]


@dataclass
class _Board:
    """Who decides, what the users have, and the enabled admins that are left as the plan goes on."""

    by: Actor
    change: Change
    held: Mapping[int, frozenset[str]]
    admins: set[int] = field(default_factory=set)

    def is_self(self, user: User) -> bool:
        return self.by.user is not None and self.by.user.pk == user.pk

    def out_of_reach(self, user: User) -> str:
        """Why the user may too much for the actor to change them; empty if not."""
        shuts_out = self.change.verb in (Verb.SIGN_OUT, Verb.DISABLE)
        return why_not_over(user, self.held[user.pk], by=self.by, shuts_out=shuts_out)

    def gives_up_admin(self, user: User) -> str:
        """Why the user must stay an enabled admin; empty, and they no longer count as one, if they need not."""
        if self.admins == {user.pk}:
            return "This is the last enabled admin. Make somebody else an admin first."
        self.admins.discard(user.pk)
        return ""


def plan_change(change: Change, users: Iterable[User], *, by: Actor) -> Plan:
    """What the change would do to each of these users. Raises `PermissionRefused`."""
    by.require(change.permission)
    ordered = sorted(users, key=lambda user: user.get_username().casefold())
    board = _Board(by, change, held_by(ordered), set(enabled_admins()))
    return Plan(change, tuple(_PLANS[change.verb](user, board) for user in ordered))


def enabled_admins() -> list[int]:
    """Everybody who can put right what others have done wrong: enabled, in the admin role or a superuser."""
    powerful = Q(groups__name=Role.ADMIN.value) | Q(is_superuser=True)
    admins = User.objects.filter(powerful, is_active=True, is_staff=True)
    return list(admins.order_by("pk").values_list("pk", flat=True).distinct())


def _plan_role(user: User, board: _Board) -> Step:
    before, after = role_words(user), str(board.change.role)
    refusal = ""
    if board.is_self(user):
        refusal = "Nobody changes the own role. Ask another admin."
    elif before != after:
        refusal = board.out_of_reach(user) or why_not_give(Role(after), by=board.by)
        if not refusal and board.change.role != Role.ADMIN:
            refusal = board.gives_up_admin(user)
    return Step(user, before, after, refusal)


def _plan_grant(user: User, board: _Board) -> Step:
    strategy = board.change.strategy
    has = any(grant.strategy_id == strategy.pk for grant in user.strategy_grants.all()) if strategy else False
    refusal = ""
    if strategy and strategy.retired and not has:
        refusal = "The strategy is retired: it is no longer granted."
    return Step(user, "granted" if has else "not granted", "granted", refusal)


def _plan_revoke(user: User, board: _Board) -> Step:
    strategy = board.change.strategy
    has = any(grant.strategy_id == strategy.pk for grant in user.strategy_grants.all()) if strategy else False
    return Step(user, "granted" if has else "not granted", "not granted")


def _plan_sign_out(user: User, board: _Board) -> Step:
    # How many sessions there are is shown beside it: they come and go while somebody reads the page.
    after = "signed out, also from this browser" if board.is_self(user) else "signed out"
    return Step(user, "may be signed in", after, board.out_of_reach(user))


def _plan_disable(user: User, board: _Board) -> Step:
    refusal = ""
    if board.is_self(user):
        refusal = "Nobody disables the own account. Ask another admin."
    elif user.is_active:
        refusal = board.out_of_reach(user) or board.gives_up_admin(user)
    return Step(user, "enabled" if user.is_active else "disabled", "disabled", refusal)


def _plan_enable(user: User, board: _Board) -> Step:
    refusal = "" if user.is_active else board.out_of_reach(user)
    return Step(user, "enabled" if user.is_active else "disabled", "enabled", refusal)


_PLANS: dict[Verb, Callable[[User, _Board], Step]] = {
    Verb.ROLE: _plan_role,
    Verb.GRANT: _plan_grant,
    Verb.REVOKE: _plan_revoke,
    Verb.SIGN_OUT: _plan_sign_out,
    Verb.DISABLE: _plan_disable,
    Verb.ENABLE: _plan_enable,
}


def users_to_change(ids: Iterable[int]) -> list[User]:
    """The users of a change, with what its plan looks at. Raises `InvalidInput` for none, or more than `MOST_USERS`."""
    wanted = set(ids)
    if len(wanted) > MOST_USERS:
        raise InvalidInput("user", f"{len(wanted):,} people are selected; at most {MOST_USERS} are changed at once.")
    users = list(User.objects.filter(pk__in=wanted).prefetch_related("groups", "strategy_grants"))
    if not users:
        raise InvalidInput("user", "Nobody is selected. Tick the people in the list first.")
    return users


def carry_out(change: Change, ids: Iterable[int], *, by: Actor, reason: str, expected_version: str) -> Plan:
    """Do to these users what was confirmed, all of it or nothing, with one audit entry a user.

    Returns what was done. Raises `PermissionRefused`, `InvalidInput` for the reason, `StaleForm` when anything that was
    confirmed is no longer so, and `WrongState` when there is nothing to do.
    """
    reason = clean_reason(reason)
    with one_at_a_time(by, change.permission) as actor:
        plan = plan_change(_as_now(change), users_to_change(ids), by=actor)
        if plan.version != expected_version:
            raise StaleForm("Something has changed since this page was drawn. Nothing was done: look at it again.")
        if not plan.doing:
            raise WrongState("There is nothing to change.")
        _apply(plan, by=by, reason=reason)
    return plan


def change_one(change: Change, user: User, *, by: Actor, reason: str = "") -> None:
    """The same for a single user, for callers that are no page.

    Raises `PermissionRefused`, and `WrongState` where a rule forbids it or nothing would change.
    """
    reason = optional_reason(reason)
    with one_at_a_time(by, change.permission) as actor:
        plan = plan_change(_as_now(change), users_to_change([user.pk]), by=actor)
        step = plan.steps[0]
        if not step.changes:
            raise WrongState(step.refusal or f"{user.get_username()} is {step.after} already.")
        _apply(plan, by=by, reason=reason)
    user.refresh_from_db()


def _as_now(change: Change) -> Change:
    """The change with its strategy read under the lock."""
    return read_change(change.value) if change.strategy else change


def _apply(plan: Plan, *, by: Actor, reason: str) -> None:
    for step in plan.doing:
        _APPLY[plan.change.verb](step, plan.change, by, reason)


def _apply_role(step: Step, change: Change, by: Actor, reason: str) -> None:
    user, role = step.user, Role(str(change.role))
    user.groups.remove(*Group.objects.filter(name__in=[other.value for other in Role if other != role]))
    user.groups.add(Group.objects.get(name=role.value))
    if user.is_superuser:
        # A superuser has every permission whatever the role: the role would only seem to be changed.
        user.is_superuser = False
        user.save(update_fields=["is_superuser"])
    ended = end_sessions(user)
    details = {"before": step.before, "after": step.after, "signed_out": ended}
    audit("role_change", user, by=by, details=details, reason=reason)


def _apply_grant(step: Step, change: Change, by: Actor, reason: str) -> None:
    StrategyGrant.objects.create(user=step.user, strategy=_strategy(change), granted_by=by.label)
    audit("strategy_grant", step.user, by=by, details={"strategy": _strategy(change).name}, reason=reason)


def _apply_revoke(step: Step, change: Change, by: Actor, reason: str) -> None:
    StrategyGrant.objects.filter(user=step.user, strategy=_strategy(change)).delete()
    audit("strategy_revoke", step.user, by=by, details={"strategy": _strategy(change).name}, reason=reason)


def _strategy(change: Change) -> Strategy:
    if change.strategy is None:
        raise ValueError(f"{change.verb} needs a strategy")
    return change.strategy


def _apply_sign_out(step: Step, change: Change, by: Actor, reason: str) -> None:
    ended = end_sessions(step.user)
    audit("sessions_end", step.user, by=by, details={"which": "all", "ended": ended}, reason=reason)


def _apply_disable(step: Step, change: Change, by: Actor, reason: str) -> None:
    user = step.user
    user.is_active = False
    user.disabled_reason = reason
    user.save(update_fields=["is_active", "disabled_reason"])
    audit("user_disable", user, by=by, details={"signed_out": end_sessions(user)}, reason=reason)


def _apply_enable(step: Step, change: Change, by: Actor, reason: str) -> None:
    user = step.user
    user.is_active = True
    user.disabled_reason = ""
    user.save(update_fields=["is_active", "disabled_reason"])
    audit("user_enable", user, by=by, reason=reason)


_APPLY: dict[Verb, Callable[[Step, Change, Actor, str], None]] = {
    Verb.ROLE: _apply_role,
    Verb.GRANT: _apply_grant,
    Verb.REVOKE: _apply_revoke,
    Verb.SIGN_OUT: _apply_sign_out,
    Verb.DISABLE: _apply_disable,
    Verb.ENABLE: _apply_enable,
}
