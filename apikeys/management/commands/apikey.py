"""`manage.py apikey create|list|rotate|revoke`."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from apikeys import services
from apikeys.models import ApiKey
from apikeys.rows import Row, row_of
from apikeys.selectors import key_by_prefix, shown_keys
from apikeys.wire import NewKey
from opsportal.accounts.commands import ActionCommand, acting, add_as_user
from opsportal.accounts.models import User
from opsportal.accounts.scopes import SCOPE_NAMES

_COLUMNS = ("KEY", "STATE", "OWNER", "EXPIRES", "LAST USED", "NAME", "SCOPES")


class Command(ActionCommand):
    """Makes, lists, rotates and revokes API keys."""

    help = "Create, list, rotate or revoke API keys. A new key is printed once, alone on standard output."

    def add_arguments(self, parser: CommandParser) -> None:
        """The four actions."""
        actions = parser.add_subparsers(dest="action", required=True)
        create = actions.add_parser("create", help="make a key and print it once, alone on standard output")
        create.add_argument("--user", required=True, help="the owner: the key never does more than they may")
        create.add_argument("--name", required=True, help="who uses it and for what")
        create.add_argument(
            "--scope", action="append", required=True, metavar="SCOPE", help=f"repeatable: {', '.join(SCOPE_NAMES)}"
        )
        create.add_argument("--expires-days", metavar="D", help="1 to 3650; without it the key has no end")
        create.add_argument(
            "--network", action="append", default=[], metavar="CIDR", help="repeatable: whence it may be used"
        )
        listed = actions.add_parser("list", help="list every key, newest first")
        listed.add_argument("--json", action="store_true", help="as JSON")
        rotate = actions.add_parser("rotate", help="make the successor of a key and print it once; the old one stays")
        revoke = actions.add_parser("revoke", help="end a key for good")
        revoke.add_argument("--reason", required=True, help="at least 20 characters")
        for parser_ in (rotate, revoke):
            parser_.add_argument("prefix", metavar="PREFIX", help="tp_live_ and 8 characters")
        for parser_ in (create, rotate, revoke):
            add_as_user(parser_)

    def _create(self, options: dict[str, Any]) -> None:
        key, new = services.create_key(
            by=acting(options),
            owner=_user(options["user"]),
            name=options["name"],
            scopes=options["scope"],
            expires_in_days=options["expires_days"],
            networks=options["network"],
        )
        self._print_once(key, new)

    def _rotate(self, options: dict[str, Any]) -> None:
        old = _key(options["prefix"])
        key, new = services.rotate_key(old, by=acting(options))
        self._print_once(key, new)
        self.stderr.write(f"The old key {old} stays valid until it is revoked.")

    def _revoke(self, options: dict[str, Any]) -> None:
        done = services.revoke_key(_key(options["prefix"]), by=acting(options), reason=options["reason"])
        self.stdout.write(f"revoked: {done.key}")
        if not done.announced:
            self.stderr.write("Redis does not answer; the processes find out from the database, within a second.")

    def _list(self, options: dict[str, Any]) -> None:
        now = timezone.now()
        rows = (row_of(key, now) for key in shown_keys().iterator(chunk_size=1000))
        if options["json"]:
            self.stdout.write(json.dumps([_values(row) for row in rows], indent=2))
            return
        table = [_COLUMNS, *(_cells(row) for row in rows)]
        widths = [max(len(cells[column]) for cells in table) for column in range(len(_COLUMNS))]
        for cells in table:
            line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
            self.stdout.write(line.rstrip())

    def _print_once(self, key: ApiKey, new: NewKey) -> None:
        self.stdout.write(new.text)
        end = f"expires {_day(key.expires_at)}" if key.expires_at else "has no end"
        self.stderr.write(f"{key} of {key.owner.get_username()} {end}. It is shown this once: store it now.")


def _values(row: Row) -> dict[str, Any]:
    key = row.key
    return {
        "prefix": key.prefix,
        "last4": key.last4,
        "name": key.name,
        "owner": row.owner,
        "owner_active": not row.owner_off,
        "scopes": key.scopes,
        "networks": key.networks,
        "state": row.state.value,
        "created_at": key.created_at.isoformat(),
        "created_by": key.created_by,
        "expires_at": key.expires_at.isoformat() if key.expires_at else None,
        "last_used_at": key.last_used_at.isoformat() if key.last_used_at else None,
        "last_used_ip": key.last_used_ip,
        "pending_since": key.pending_since.isoformat() if key.pending_since else None,
        "revoked_at": key.revoked_at.isoformat() if key.revoked_at else None,
        "revoked_by": key.revoked_by,
    }


def _cells(row: Row) -> tuple[str, ...]:
    key = row.key
    state = f"{row.word}, owner disabled" if row.owner_off else row.word
    if row.use_note:
        state = f"{state} ({row.use_note})"
    expires = _day(key.expires_at) if key.expires_at else "never"
    used = f"{_day(key.last_used_at)} {key.last_used_ip or ''}".strip() if key.last_used_at else "never"
    return (f"{key.prefix}…{key.last4}", state, row.owner, expires, used, key.name, " ".join(key.scopes))


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}Z"


def _key(text: str) -> ApiKey:
    key = key_by_prefix(text)
    if key is None:
        raise CommandError("There is no key with this prefix; `manage.py apikey list` shows them all.")
    return key


def _user(name: str) -> User:
    user = None if "\x00" in name else User.objects.filter(username=name).first()
    if user is None:
        raise CommandError("There is no user of this name, so nobody can own the key.")
    return user
