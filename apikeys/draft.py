"""What a new key shall be: checked here for page and command line alike, each error with its field (AK-3, AK-8)."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from opsportal.accounts.refusals import InvalidInput
from opsportal.accounts.scopes import SCOPE_NAMES
from opsportal.observability.client_ip import as_known
from opsportal.observability.sanitise import mask_text

NAME_MAX = 100
NETWORKS_MAX = 50
DAYS_MAX = 3_650


def _wrong(sentence: str) -> PydanticCustomError:
    # Pydantic fills {…} in from its own values, so the sentence comes as one.
    return PydanticCustomError("apikeys", "{sentence}", {"sentence": sentence})


class KeyDraft(BaseModel):
    """Name, scopes, life and allowed networks of a key to be made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    scopes: tuple[str, ...]
    expires_in_days: int | None = Field(default=None)
    networks: tuple[str, ...] = ()

    @field_validator("name", mode="before")
    @classmethod
    def _name(cls, value: Any) -> str:
        # Spaces only: a tab or a line break is refused below.
        name = " ".join(word for word in value.split(" ") if word) if isinstance(value, str) else ""
        if not name:
            raise _wrong("Give the key a name: it says who uses it and for what.")
        if not name.isprintable():
            raise _wrong("The name holds a character that cannot be shown. Type it again.")
        if len(name) > NAME_MAX:
            raise _wrong(f"The name has {len(name):,} characters; at most {NAME_MAX} are kept.")
        if mask_text(name) != name:
            raise _wrong(
                "The name holds what looks like a key, a password, an e-mail address or a telephone number. "
                "Names stand in lists and logs: choose another."
            )
        return name

    @field_validator("scopes", mode="before")
    @classmethod
    def _scopes(cls, value: Any) -> tuple[str, ...]:
        scopes = [str(item) for item in value] if isinstance(value, list | tuple | set | frozenset) else []
        if not scopes:
            raise _wrong("Choose at least one scope: a key without any opens nothing.")
        for scope in scopes:
            if scope not in SCOPE_NAMES:
                raise _wrong(f"There is no scope “{_short(scope)}”. There are: {', '.join(SCOPE_NAMES)}.")
        if len(set(scopes)) < len(scopes):
            raise _wrong("A scope is named twice. Name each once.")
        return tuple(sorted(scopes, key=SCOPE_NAMES.index))

    @field_validator("expires_in_days", mode="before")
    @classmethod
    def _days(cls, value: Any) -> int | None:
        if value is None or value == "":
            return None
        try:
            days = 0 if isinstance(value, bool | float) else int(value)
        except (TypeError, ValueError):
            days = 0
        if not 1 <= days <= DAYS_MAX:
            raise _wrong(f"The key may live 1 to {DAYS_MAX:,} whole days, or without end: then leave this empty.")
        return days

    @field_validator("networks", mode="before")
    @classmethod
    def _networks(cls, value: Any) -> tuple[str, ...]:
        given = [str(item) for item in value] if isinstance(value, list | tuple) else []
        networks = list(dict.fromkeys(_network(text.strip()) for text in given if text.strip()))
        if len(networks) > NETWORKS_MAX:
            raise _wrong(f"These are {len(networks):,} networks; at most {NETWORKS_MAX} are kept.")
        return tuple(networks)


def _network(text: str) -> str:
    """The canonical form of an address or network: 10.1.2.3 becomes 10.1.2.3/32."""
    shown = _short(text)
    if len(text) > 100 or "%" in text:
        raise _wrong(f"“{shown}” is not an address or a network such as 10.1.0.0/16 or 2001:db8::/32.")
    try:
        network = ip_network(text)
    except ValueError:
        raise _wrong(_why_no_network(text, shown)) from None
    return str(as_known(network))


def _why_no_network(text: str, shown: str) -> str:
    try:
        meant = ip_network(text, strict=False)
    except ValueError:
        return f"“{shown}” is not an address or a network such as 10.1.0.0/16 or 2001:db8::/32."
    address = ip_address(text.partition("/")[0])
    return f"“{shown}” names one address inside a network. Did you mean the network {meant}, or {address} alone?"


def _short(text: str) -> str:
    """What was typed, fit to be shown back."""
    clean = "".join(character if character.isprintable() else "�" for character in text[:200])
    clean = mask_text(clean)
    return clean if len(clean) <= 60 else clean[:60] + "…"


def drafted(*, name: str, scopes: Iterable[str], expires_in_days: Any = None, networks: Iterable[str] = ()) -> KeyDraft:
    """The checked draft. Raises `InvalidInput` for the first field that is wrong."""
    try:
        return KeyDraft(
            name=name,
            scopes=cast(Any, list(scopes)),
            expires_in_days=expires_in_days,
            networks=cast(Any, list(networks)),
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidInput(str(first["loc"][0]), first["msg"]) from None
