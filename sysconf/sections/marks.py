"""What a field of a section may carry beside its type and range: what makes it dangerous, its unit, its choices."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from datetime import time
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError


@dataclass(frozen=True)
class Dangerous:
    """An edit of the field in this direction asks for step-up (CF-4). `why` says what it means, in one sentence."""

    when: Literal["lowered", "raised", "off", "on", "changed"]
    why: str

    @classmethod
    def when_lowered(cls, why: str) -> Dangerous:
        """A number that goes down."""
        return cls("lowered", why)

    @classmethod
    def when_raised(cls, why: str) -> Dangerous:
        """A number that goes up."""
        return cls("raised", why)

    @classmethod
    def when_off(cls, why: str) -> Dangerous:
        """A switch that is turned off."""
        return cls("off", why)

    @classmethod
    def when_on(cls, why: str) -> Dangerous:
        """A switch that is turned on."""
        return cls("on", why)

    @classmethod
    def when_changed(cls, why: str) -> Dangerous:
        """Any change."""
        return cls("changed", why)

    def applies(self, old: Any, new: Any) -> bool:
        """Whether going from old to new is dangerous. An old value that cannot be compared counts as dangerous."""
        if self.when in ("off", "on"):
            return new is (self.when == "on") and old is not new
        if self.when == "changed":
            return bool(old != new)
        if isinstance(old, bool) or not isinstance(old, int | float):
            return True
        return bool(new > old if self.when == "raised" else new < old)

    def holds(self, value: Any, default: Any) -> bool:
        """Whether the value is already on the dangerous side of its default."""
        return value != default and self.applies(default, value)


@dataclass(frozen=True)
class Unit:
    """What the number counts, such as `shares`. With `percent` it is a fraction that people read as a percentage."""

    name: str
    percent: bool = False


@dataclass(frozen=True)
class Choices:
    """Makes the form offer these texts only; the type itself must refuse others."""

    values: Callable[[], tuple[str, ...]]


@cache
def zones() -> tuple[str, ...]:
    """The names of all time zones, as IANA spells them."""
    return tuple(sorted(zoneinfo.available_timezones()))


def _known_zone(name: str) -> str:
    if name not in zones():
        raise PydanticCustomError("unknown_zone", "There is no such time zone. One is, for example, Europe/London.")
    return name


def _wall_clock(value: time) -> time:
    if value.tzinfo is not None:
        raise PydanticCustomError("zoned_time", "Give the time without a zone; the section has its own.")
    if value.second or value.microsecond:
        raise PydanticCustomError("seconds", "Give hours and minutes only, for example 09:30.")
    return value


#: The name of a time zone, such as America/New_York.
TimeZone = Annotated[str, AfterValidator(_known_zone), Choices(zones)]
#: A time on the wall: hours and minutes, without a zone.
ClockTime = Annotated[
    time,
    AfterValidator(_wall_clock),
    PlainSerializer(lambda value: f"{value:%H:%M}", return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"}),
]
