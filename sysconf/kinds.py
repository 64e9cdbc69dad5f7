"""How each type of field is written by people: text in, JSON value out, and back. No HTML here."""

from __future__ import annotations

import re
import types
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from math import isfinite
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MultipleOf

from sysconf.sections.base import Section
from sysconf.sections.marks import Choices, Unit
from sysconf.wording import limit_text

ON, OFF = "true", "false"
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9]{1,18}(\.[0-9]{0,18})?|\.[0-9]{1,18})", re.ASCII)
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


class Kind(ABC):
    """One way of writing values."""

    @abstractmethod
    def parse(self, text: str) -> Any:
        """The JSON value. Raises `ValueError` with a sentence for people."""

    def text(self, value: Any) -> str:
        """The value as a form holds it; also of a value that does not fit."""
        return "" if value is None else str(value)

    def words(self, value: Any) -> str:
        """The value as people read it."""
        return self.text(value) or "none"

    def change(self, old: Any, new: Any) -> tuple[str, str]:
        """Both sides of a change as people read them."""
        return self.words(old), self.words(new)


class Switch(Kind):
    """On or off, said explicitly: what is missing is not off."""

    def parse(self, text: str) -> Any:
        """`true` or `false`."""
        if text not in (ON, OFF):
            raise ValueError("Choose on or off.")
        return text == ON

    def text(self, value: Any) -> str:
        """`true`, `false`, or whatever it is."""
        return {True: ON, False: OFF}[value] if isinstance(value, bool) else str(value)

    def words(self, value: Any) -> str:
        """On or off."""
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number."""

    low: int | None = None
    high: int | None = None
    unit: str = ""

    def parse(self, text: str) -> Any:
        """Digits, with or without thousands separators as the page itself shows them."""
        plain = text.replace(",", "") if re.fullmatch(r"[+-]?[0-9]{1,3}(,[0-9]{3})+", text, re.ASCII) else text
        if not _WHOLE.fullmatch(plain):
            raise ValueError("Type a whole number in digits, for example 1000.")
        return int(plain)

    def words(self, value: Any) -> str:
        """With thousands separators and unit."""
        return f"{limit_text(value)} {self.unit}".strip()


@dataclass(frozen=True)
class Number(Kind):
    """A number with decimals."""

    low: float | None = None
    high: float | None = None
    unit: str = ""
    percent: bool = False

    def parse(self, text: str) -> Any:
        """Digits with a decimal point."""
        if not _NUMBER.fullmatch(text):
            raise ValueError("Type a number in digits with a decimal point, for example 0.05.")
        return float(text)

    def text(self, value: Any) -> str:
        """All its digits, never with an exponent."""
        return format(Decimal(str(value)), "f") if _is_finite(value) else str(value)

    def words(self, value: Any) -> str:
        """A fraction also as a percentage."""
        if self.percent and _is_finite(value):
            return f"{self.text(value)} ({percent_text(value)})"
        return f"{self.text(value)} {self.unit}".strip()


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


class Clock(Kind):
    """A time of the day."""

    def parse(self, text: str) -> Any:
        """`09:30`, or with seconds."""
        if not _CLOCK.fullmatch(text):
            raise ValueError("Type a time as hours and minutes, for example 09:30.")
        return text.removesuffix(":00") if text.count(":") == 2 else text


class Day(Kind):
    """A date."""

    def parse(self, text: str) -> Any:
        """`2026-12-25`."""
        try:
            if not _DAY.fullmatch(text):
                raise ValueError
            return date.fromisoformat(text).isoformat()
        except ValueError:
            raise ValueError(f"“{text[:40]}” is not a date. Type it as 2026-12-25.") from None


@dataclass(frozen=True)
class Text(Kind):
    """Words."""

    longest: int | None = None

    def parse(self, text: str) -> Any:
        """As it is typed."""
        return text


@dataclass(frozen=True)
class Choice(Kind):
    """One of a few."""

    options: tuple[tuple[str, Any], ...]

    def parse(self, text: str) -> Any:
        """The option's value."""
        for name, value in self.options:
            if name == text:
                return value
        raise ValueError("Choose one of the list." if text else "Choose one.")


@dataclass(frozen=True)
class Lines(Kind):
    """A list, one entry a line."""

    entry: Kind
    most: int

    def parse(self, text: str) -> Any:
        """Entries by line, and by comma where an entry can have none; empty lines do not count."""
        lines = text if isinstance(self.entry, Text | Choice) else text.replace(",", "\n")
        entries = [part.strip() for part in lines.splitlines() if part.strip()]
        if len(entries) > self.most:
            raise ValueError(f"There are {len(entries):,} entries; at most {self.most:,} are kept.")
        values = []
        for number, part in enumerate(entries, 1):
            try:
                values.append(self.entry.parse(part))
            except ValueError as error:
                raise ValueError(f"Entry {number}: {error}") from None
        return values

    def text(self, value: Any) -> str:
        """One entry a line."""
        return "\n".join(self.entry.text(part) for part in value) if isinstance(value, list) else str(value)

    def words(self, value: Any) -> str:
        """Comma-separated."""
        return ", ".join(self.entry.words(part) for part in value) or "none" if isinstance(value, list) else str(value)

    def change(self, old: Any, new: Any) -> tuple[str, str]:
        """How many there were and are, and which came and went."""
        if not isinstance(old, list) or not isinstance(new, list):
            return self.words(old), self.words(new)
        gone = [self.entry.words(part) for part in old if part not in new]
        come = [self.entry.words(part) for part in new if part not in old]
        parts = ([f"added {', '.join(come)}"] if come else []) + ([f"removed {', '.join(gone)}"] if gone else [])
        return _entries(old), f"{_entries(new)}: {'; '.join(parts)}" if parts else self.words(new)


@dataclass(frozen=True)
class Optional(Kind):
    """Nothing, or a value."""

    inner: Kind

    def parse(self, text: str) -> Any:
        """Nothing typed is nothing."""
        return self.inner.parse(text) if text else None

    def text(self, value: Any) -> str:
        """Empty for nothing."""
        return "" if value is None else self.inner.text(value)

    def words(self, value: Any) -> str:
        """`none` for nothing."""
        return "none" if value is None else self.inner.words(value)


def percent_text(fraction: float) -> str:
    """`5 %`, to six decimals."""
    return f"{fraction * 100:.6f}".rstrip("0").rstrip(".") + " %"


@lru_cache(maxsize=256)
def kind_of(section: type[Section], name: str) -> Kind:
    """How the field is written. Raises `TypeError` for a type that no form can hold."""
    field = section.model_fields[name]
    return _kind(field.annotation, tuple(field.metadata), f"{section.__name__}.{name}")


def _kind(annotation: Any, marks: tuple[Any, ...], where: str) -> Kind:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        inner = [argument for argument in arguments if argument is not type(None)]
        if len(inner) == 1 and len(arguments) == 2:
            return Optional(_kind(inner[0], marks, where))
    if hasattr(annotation, "__metadata__"):
        return _kind(annotation.__origin__, (*marks, *annotation.__metadata__), where)
    if origin is Literal:
        return Choice(tuple((str(value), value) for value in arguments))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return Choice(tuple((str(one.value), one.value) for one in annotation))
    if origin is list and arguments:
        longest = next((mark.max_length for mark in marks if isinstance(mark, MaxLen)), None)
        return Lines(_kind(arguments[0], (), where), longest or 1_000)
    return _plain(annotation, marks, where)


def _plain(annotation: Any, marks: tuple[Any, ...], where: str) -> Kind:
    if annotation is bool:
        return Switch()
    if annotation in (int, float):
        low, high = _range(marks, whole=annotation is int)
        unit = next((mark for mark in marks if isinstance(mark, Unit)), Unit(""))
        if annotation is int:
            return Whole(low, high, unit.name)
        return Number(low, high, unit.name, unit.percent)
    if annotation is time:
        return Clock()
    if annotation is date:
        return Day()
    if annotation is str:
        choices = next((mark for mark in marks if isinstance(mark, Choices)), None)
        if choices:
            return Choice(tuple((text, text) for text in choices.values()))
        return Text(next((mark.max_length for mark in marks if isinstance(mark, MaxLen)), None))
    raise TypeError(f"{where}: the form knows no way to write {annotation!r}")


def _range(marks: tuple[Any, ...], *, whole: bool) -> tuple[Any, Any]:
    """Bounds for the input's min and max; an exclusive one of a whole number is the next number."""
    low: Any = None
    high: Any = None
    for mark in marks:
        if isinstance(mark, Ge):
            low = mark.ge
        elif isinstance(mark, Le):
            high = mark.le
        elif isinstance(mark, Gt):
            low = mark.gt + 1 if whole and isinstance(mark.gt, int) else mark.gt
        elif isinstance(mark, Lt):
            high = mark.lt - 1 if whole and isinstance(mark.lt, int) else mark.lt
        elif isinstance(mark, MultipleOf):
            continue
    return low, high


def _entries(values: list[Any]) -> str:
    return f"{len(values)} {'entry' if len(values) == 1 else 'entries'}"
