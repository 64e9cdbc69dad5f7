"""Users: created, renamed, given a role, a new password, disabled, enabled; never deleted (AM-1, AM-2)."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from axes.utils import reset
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from opsportal.accounts.actors import Actor
from opsportal.accounts.changes import Change, Verb, change_one
from opsportal.accounts.models import Strategy, StrategyGrant, User
from opsportal.accounts.reach import require_over, require_to_give
from opsportal.accounts.records import audit, looks_like_a_key, one_at_a_time, plain_text
from opsportal.accounts.refusals import InvalidInput, StaleForm, WrongState
from opsportal.accounts.roles import Role
from opsportal.accounts.session_ending import end_sessions
from opsportal.accounts.stepup import clean_reason
from opsportal.observability.sanitise import mask_text

#: Without what looks alike: people read these passwords to each other.
_LETTERS = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_GROUPS, _GROUP_LENGTH = 4, 5  # 20 characters of 55: 115 bits
NAME_MAX = 150
EMAIL_MAX = 254


def new_password() -> str:
    """A password that nobody has chosen."""
    groups = ("".join(secrets.choice(_LETTERS) for _ in range(_GROUP_LENGTH)) for _ in range(_GROUPS))
    return "-".join(groups)


def create_user(
    username: str,
    password: str,
    role: Role,
    *,
    by: Actor,
    first_name: str = "",
    last_name: str = "",
    email: str = "",
    strategies: Iterable[Strategy] = (),
    one_time: bool = False,
) -> User:
    """A new member of staff with one role. A `one_time` password has to be changed at the first sign-in.

    Raises `PermissionRefused`, also where `by` may not all that the role may, and `InvalidInput` for a name that is
    wrong or taken.
    """
    by.require("accounts.add_user")
    username = clean_username(username)
    names = _clean_names(first_name, last_name)
    email = _clean_email(email)
    with one_at_a_time(by, "accounts.add_user") as actor:
        require_to_give(role, by=actor)
        if User.objects.filter(username__iexact=username).exists():
            raise InvalidInput("username", f"There is a user “{username}” already, in these or other capitals.")
        user = User.objects.create_user(
            username, email, password, is_staff=True, must_change_password=one_time, **names
        )
        user.groups.add(Group.objects.get(name=role.value))
        granted = _grant_first(user, strategies, by=by)
        audit("user_create", user, by=by, details={"role": role, **({"strategies": granted} if granted else {})})
    return user


def _grant_first(user: User, strategies: Iterable[Strategy], *, by: Actor) -> list[str]:
    chosen = list(strategies)
    if not chosen:
        return []
    by.require("accounts.grant_strategy")
    wanted = Strategy.objects.filter(pk__in=[strategy.pk for strategy in chosen])
    if retired := next((strategy for strategy in wanted if strategy.retired), None):
        raise InvalidInput("strategies", f"The strategy {retired.name} is retired: it is no longer granted.")
    StrategyGrant.objects.bulk_create(
        StrategyGrant(user=user, strategy=strategy, granted_by=by.label) for strategy in wanted
    )
    return [strategy.name for strategy in wanted]


def clean_username(text: str) -> str:
    """The user name as it is kept: trimmed, letters in one form (NFKC). Raises `InvalidInput`."""
    username = User.normalize_username(text.strip())
    if not username:
        raise InvalidInput("username", "Give a user name.")
    if len(username) > NAME_MAX:
        raise InvalidInput("username", f"The user name has {len(username):,} characters; at most {NAME_MAX} are kept.")
    try:
        User.username_validator(username)
    except ValidationError:
        raise InvalidInput("username", "A user name holds only letters, digits and @ . + - _") from None
    # Many a house names its people by their address or number, so only a key of the portal is looked for.
    local = username.partition("@")[0]
    if "tp_" in local and mask_text(local) != local:
        raise looks_like_a_key("username", "The user name")
    return username


def _clean_names(first_name: str, last_name: str) -> dict[str, str]:
    return {
        "first_name": plain_text("first_name", first_name, longest=NAME_MAX, name="The first name"),
        "last_name": plain_text("last_name", last_name, longest=NAME_MAX, name="The last name"),
    }


def _clean_email(text: str) -> str:
    email = plain_text("email", text, longest=EMAIL_MAX, name="The e-mail address")
    if email:
        try:
            validate_email(email)
        except ValidationError:
            raise InvalidInput("email", "This is no e-mail address, such as name@example.com.") from None
    return User.objects.normalize_email(email)


def update_user(
    user: User,
    *,
    by: Actor,
    first_name: str,
    last_name: str,
    email: str | None = None,
    expected: tuple[str, str] | None = None,
) -> bool:
    """New names, and a new e-mail address unless `email` is None; empty removes it. False if all was so already.

    `expected` are the names that the form was drawn with. Raises `PermissionRefused`, also for a user who may more than
    `by`, `InvalidInput`, and `StaleForm` when somebody else has changed them meanwhile.
    """
    by.require("accounts.change_user")
    wanted = _clean_names(first_name, last_name)
    if email is not None:
        wanted["email"] = _clean_email(email)
    with one_at_a_time(by, "accounts.change_user") as actor:
        now = User.objects.get(pk=user.pk)
        require_over(now, by=actor)
        if expected is not None and expected != (now.first_name, now.last_name):
            raise StaleForm("Somebody else has changed this user meanwhile. Nothing was saved: look at it again.")
        changed = {name: value for name, value in wanted.items() if getattr(now, name) != value}
        if not changed:
            return False
        # The log says that the address changed, never to what.
        details = {
            name: "changed" if name == "email" else {"before": getattr(now, name), "after": value}
            for name, value in changed.items()
        }
        for name, value in changed.items():
            setattr(now, name, value)
        now.save(update_fields=list(changed))
        audit("user_update", now, by=by, details=details)
    return True


def set_role(user: User, role: Role, *, by: Actor, reason: str = "") -> None:
    """Give the user exactly this one of the three roles and end their sessions.

    Raises `PermissionRefused`, and `WrongState` for the own role, the last enabled admin, the role they have, and where
    the user, or the role, may more than `by`.
    """
    change_one(Change(Verb.ROLE, role=role), user, by=by, reason=reason)


def disable_user(user: User, *, by: Actor, reason: str) -> None:
    """Shut the user out at once. Raises `PermissionRefused`, `InvalidInput` without a reason, and `WrongState`."""
    by.require("accounts.change_user")
    change_one(Change(Verb.DISABLE), user, by=by, reason=clean_reason(reason))


def enable_user(user: User, *, by: Actor, reason: str = "") -> None:
    """Let the user in again. Raises `PermissionRefused`, and `WrongState` for one who is not shut out."""
    change_one(Change(Verb.ENABLE), user, by=by, reason=reason)


def sign_out(user: User, *, by: Actor, reason: str = "") -> None:
    """End every session of the user. Raises `PermissionRefused`."""
    change_one(Change(Verb.SIGN_OUT), user, by=by, reason=reason)


def set_one_time_password(user: User, *, by: Actor) -> str:
    """A new password that opens only the page that changes it. Returns it, once.

    Every session of the user ends, and so does a lock-out after failed sign-ins.

    Raises `PermissionRefused`, also for a user who may more than `by`, and `WrongState` for one's own.
    """
    with one_at_a_time(by, "accounts.change_user") as actor:
        if by.user is not None and by.user.pk == user.pk:
            raise WrongState("Your own password is changed on the page “Change password”.")
        now = User.objects.get(pk=user.pk)
        require_over(now, by=actor)
        password = new_password()
        now.set_password(password)
        now.must_change_password = True
        now.save(update_fields=["password", "must_change_password"])
        reset(username=now.get_username())
        audit("password_set", now, by=by, details={"kind": "one-time", "signed_out": end_sessions(now)})
    return password
