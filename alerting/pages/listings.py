"""A page of a long list with its filters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import parse_qsl, urlencode

from django.forms import Form

Filter = TypeVar("Filter", bound=Form)
Row = TypeVar("Row")
#: Far longer than the filters of any list.
_LONGEST = 4_000
_PLACES = ("before", "after")


@dataclass(frozen=True)
class Listing(Generic[Filter, Row]):
    """What was asked for and found. `stopped`: the search took too long. `here`: filters and place, to come back to."""

    form: Filter
    rows: tuple[Row, ...] = ()
    querystring: str = ""
    newer: str = ""
    older: str = ""
    here: str = ""
    newest: bool = True
    stopped: bool = False

    @property
    def valid(self) -> bool:
        """Whether the filters could be understood."""
        return not self.form.errors


def place_in(query: str | Mapping[str, str], form: type[Form]) -> str:
    """The filters and the place in a query string, whoever wrote it: what the list does not know is left out."""
    asked = dict(parse_qsl(query[:_LONGEST])) if isinstance(query, str) else query
    known = {name: asked.get(name, "") for name in (*form.base_fields, *_PLACES)}  # type: ignore[attr-defined]
    return urlencode({name: text for name, text in known.items() if text})
