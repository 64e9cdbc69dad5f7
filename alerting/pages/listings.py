"""A page of a long list with its filters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from django.forms import Form

Filter = TypeVar("Filter", bound=Form)
Row = TypeVar("Row")


@dataclass(frozen=True)
class Listing(Generic[Filter, Row]):
    """What was asked for and found. `stopped`: the search took too long."""

    form: Filter
    rows: tuple[Row, ...] = ()
    querystring: str = ""
    newer: str = ""
    older: str = ""
    newest: bool = True
    stopped: bool = False

    @property
    def valid(self) -> bool:
        """Whether the filters could be understood."""
        return not self.form.errors
