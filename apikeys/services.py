"""Every change of a key: made, rotated, revoked. The key itself is handed back once and kept nowhere (AK-2)."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from apikeys import recognising, wire
from apikeys.draft import NAME_MAX, KeyDraft, drafted
from apikeys.models import ApiKey, KeyState
from apikeys.wire import NewKey
from opsportal.accounts.actors import Actor, PermissionRefused
from opsportal.accounts.models import User
from opsportal.accounts.refusals import InvalidInput, WrongState
from opsportal.accounts.roles import plain_words
from opsportal.accounts.scopes import SCOPES, opened_by
from opsportal.accounts.stepup import STEP_UP_REASON_MIN, clean_reason
from opsportal.audit import recorder

log = logging.getLogger(__name__)

#: How often a key is drawn anew because its prefix is taken (AK-1), and a rotated name because somebody was faster.
_TRIES = 3
_SUFFIX = re.compile(r"_rotated_\d{8}(_\d+)?$", re.ASCII)


class _NameTaken(Exception):
    """The owner has a live key of this name."""


@dataclass(frozen=True)
class Revoked:
    """A revocation. `announced` is False if Redis could not be told: then the database alone stops the key."""

    key: ApiKey
    announced: bool


def create_key(
    *,
    by: Actor,
    owner: User,
    name: str,
    scopes: Iterable[str],
    expires_in_days: Any = None,
    networks: Iterable[str] = (),
    now: datetime | None = None,
) -> tuple[ApiKey, NewKey]:
    """A new key and its text, which nobody can read again. `expires_in_days` is 1 to 3,650, or None for no end.

    Raises `PermissionRefused` (also where the scopes open what `by` may not do, and for somebody else's key without the
    permission to change users), and `InvalidInput`.
    """
    by.require("apikeys.add_apikey")
    _require_own_name(by, owner)
    draft = drafted(name=name, scopes=scopes, expires_in_days=expires_in_days, networks=networks)
    _require_own_rights(by, draft.scopes)
    _require_able_owner(owner, draft)
    now = now or timezone.now()
    row = ApiKey(
        owner=owner,
        name=draft.name,
        scopes=list(draft.scopes),
        networks=list(draft.networks),
        created_at=now,
        created_by=by.label,
        expires_at=now + timedelta(days=draft.expires_in_days) if draft.expires_in_days else None,
    )
    try:
        with transaction.atomic():
            new = _insert(row)
            _audit("api_key_create", row, by=by, details=_limits(row))
    except _NameTaken:
        raise InvalidInput(
            "name",
            f"{owner.get_username()} has a key named “{draft.name}” already. If this page was sent twice, the key is "
            "made: find it in the list. Otherwise choose another name.",
        ) from None
    log.info("api_key_created", extra={"key_prefix": row.prefix, "action": "api_key_create"})
    return row, new


def rotate_key(key: ApiKey, *, by: Actor, now: datetime | None = None) -> tuple[ApiKey, NewKey]:
    """The successor of a key, with its owner, scopes, networks and length of life; the old one stays valid (AK-6).

    Raises `PermissionRefused`, and `WrongState` for a key that is revoked, has a successor, or has a disabled owner.
    """
    by.require("apikeys.add_apikey")
    now = now or timezone.now()
    for _ in range(_TRIES):
        try:
            with transaction.atomic():
                old = _locked(key)
                _require_own_name(by, old.owner)
                _require_rotatable(old, now)
                _require_own_rights(by, old.scopes)
                row = _successor(old, by=by, now=now)
                new = _insert(row)
                old.pending_since = now
                old.save(update_fields=["pending_since"])
                details = {"replaces": old.prefix, "replaces_name": old.name, **_limits(row)}
                _audit("api_key_rotate", row, by=by, details=details)
        except _NameTaken:
            continue
        log.info("api_key_rotated", extra={"key_prefix": row.prefix, "action": "api_key_rotate"})
        return row, new
    raise WrongState("Somebody makes keys of the same name at this moment. Nothing was changed. Try again.")


def revoke_key(key: ApiKey, *, by: Actor, reason: str, now: datetime | None = None) -> Revoked:
    """End a key for good: within a second everywhere, also with Redis down (AK-5).

    Raises `PermissionRefused`, `InvalidInput` (a reason under 20 characters) and `WrongState` (revoked already).
    """
    by.require("apikeys.revoke_apikey")
    text = clean_reason(reason, minimum=STEP_UP_REASON_MIN)
    told: list[bool] = []
    with transaction.atomic():
        row = _locked(key)
        if row.revoked_at is not None:
            raise WrongState(f"{_when_revoked(row)} Nothing was changed.")
        row.revoked_at, row.revoked_by, row.revoke_reason = now or timezone.now(), by.label, text
        row.save(update_fields=["revoked_at", "revoked_by", "revoke_reason"])
        _audit("api_key_revoke", row, by=by, reason=text)
        # Before the commit, so that no process reads the row as valid and is not told; after it, so that the mark
        # outlives every copy that was read until then. Should the commit fail, the key stays shut for five minutes.
        told.append(recognising.mark_revoked(row.prefix))
        transaction.on_commit(lambda: told.append(recognising.mark_revoked(row.prefix)))
    log.warning("api_key_revoked", extra={"key_prefix": row.prefix, "action": "api_key_revoke"})
    return Revoked(row, announced=told[-1])


def _locked(key: ApiKey) -> ApiKey:
    return ApiKey.objects.select_for_update(of=("self",)).select_related("owner").get(pk=key.pk)


def _insert(row: ApiKey) -> NewKey:
    """Write the row under a freshly drawn key. Raises `_NameTaken`, and `WrongState` after too many collisions."""
    for attempt in range(1, _TRIES + 1):
        new = wire.draw_key()
        row.prefix, row.last4, row.salt, row.digest = new.prefix, new.last4, new.salt, new.digest
        try:
            with transaction.atomic():
                row.save(force_insert=True)
        except IntegrityError as error:
            constraint = str(getattr(getattr(error.__cause__, "diag", None), "constraint_name", ""))
            if constraint == "apikeys_one_live_name":
                raise _NameTaken from None
            if "prefix" not in constraint:
                # The database's own message quotes the row: it must not travel on.
                raise IntegrityError(f"the key could not be written: {constraint}") from None
            log.warning("api_key_prefix_taken", extra={"attempt": attempt})
            continue
        return new
    raise WrongState(f"{_TRIES} keys in a row were drawn whose prefix is taken. Nothing was changed. Try again.")


def _require_own_name(by: Actor, owner: User) -> None:
    """A key acts in its owner's name, and whoever makes it has seen it."""
    if by.user is None or by.user.pk == owner.pk or by.may("accounts.change_user"):
        return
    words = f"You may not make keys for somebody else: this would be {owner.get_username()}’s. Ask an admin."
    raise PermissionRefused(by.label, "apikeys.add_apikey", words=words)


def _require_own_rights(by: Actor, scopes: Iterable[str]) -> None:
    """Nobody gives what they do not have: otherwise a key of a mightier owner would lend them its rights."""
    scopes = frozenset(scopes)
    for permission in sorted(opened_by(scopes)):
        by.require(permission)
    for scope in SCOPES:
        if scope.name in scopes and scope.least_role and not by.may_use(scope.name):
            words = f"“{scope.name}” needs the role {scope.least_role}, which you do not have. Ask an admin."
            raise PermissionRefused(by.label, scope.name, words=words)


def _require_able_owner(owner: User, draft: KeyDraft) -> None:
    if not owner.is_active:
        raise InvalidInput("owner", f"{owner.get_username()} is disabled: their keys open nothing.")
    able = Actor.of(owner)
    for scope in SCOPES:
        if scope.name in draft.scopes and scope.least_role and not able.may_use(scope.name):
            raise InvalidInput(
                "scopes",
                f"“{scope.name}” would open nothing: it needs the role {scope.least_role} or a mightier one, and "
                f"{owner.get_username()} has {owner.role or 'none'}. Leave it out, choose another owner, or change the "
                "owner's role first.",
            )
        lacking = sorted(permission for permission in scope.permissions if not owner.has_perm(permission))
        if scope.name in draft.scopes and lacking:
            words = " and ".join(plain_words(permission) for permission in lacking)
            raise InvalidInput(
                "scopes",
                f"“{scope.name}” would open nothing: {owner.get_username()} may not {words}. Leave it out, choose "
                "another owner, or change the owner's role first.",
            )


def _require_rotatable(old: ApiKey, now: datetime) -> None:
    if old.state(now) == KeyState.REVOKED:
        raise WrongState(f"{_when_revoked(old)} A revoked key cannot be rotated: make a new one.")
    successor = ApiKey.objects.filter(rotated_from=old).first()
    if successor is not None:
        then = (
            "which is revoked: make a new key."
            if successor.revoked_at
            else "If that one was lost, rotate it in its turn."
        )
        raise WrongState(
            f"“{old.name}” was rotated by {successor.created_by} at {_at(successor.created_at)}. Its successor is "
            f"{successor}{', ' if successor.revoked_at else '. '}{then} Nothing was changed."
        )
    if not old.owner.is_active:
        raise WrongState(f"{old.owner.get_username()}, who owns the key, is disabled. Nothing was changed.")


def _successor(old: ApiKey, *, by: Actor, now: datetime) -> ApiKey:
    return ApiKey(
        owner=old.owner,
        name=_rotated_name(old, now),
        scopes=old.scopes,
        networks=old.networks,
        created_at=now,
        created_by=by.label,
        expires_at=now + (old.expires_at - old.created_at) if old.expires_at else None,
        rotated_from=old,
    )


def _rotated_name(old: ApiKey, now: datetime) -> str:
    """`{name}_rotated_YYYYMMDD`, then `_2`, `_3` …: the first that the owner has no live key of."""
    stem = _SUFFIX.sub("", old.name)
    suffix = f"_rotated_{now.astimezone(UTC):%Y%m%d}"
    taken = set(
        ApiKey.objects.filter(owner=old.owner, revoked_at__isnull=True, name__contains=suffix).values_list(
            "name", flat=True
        )
    )
    number = 1
    while True:
        ending = suffix + (f"_{number}" if number > 1 else "")
        name = stem[: NAME_MAX - len(ending)] + ending
        if name not in taken:
            return name
        number += 1


def _when_revoked(row: ApiKey) -> str:
    assert row.revoked_at is not None
    return f"“{row.name}” was revoked by {row.revoked_by} at {_at(row.revoked_at)}."


def _at(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _limits(row: ApiKey) -> dict[str, Any]:
    return {"networks": row.networks, "expires_at": row.expires_at.isoformat() if row.expires_at else None}


def _audit(event: str, row: ApiKey, *, by: Actor, details: dict[str, Any] | None = None, reason: str = "") -> None:
    recorder.record(
        event,
        event_type="admin",
        actor=by.user,
        actor_label=by.label,
        resource_type="api_key",
        resource_id=row.prefix,
        details={
            "prefix": row.prefix,
            "last4": row.last4,
            "name": row.name,
            "owner": row.owner.get_username(),
            "scopes": row.scopes,
            **(details or {}),
        },
        reason=reason,
    )
