"""A page of a table that grows: it begins where the one before ended, is never counted, and takes a bounded time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import OperationalError, connection, transaction
from psycopg.errors import QueryCanceled

PAGE_SIZE = 50
#: After so long a search is given up, and says so.
SEARCH_SECONDS = 2.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PLACE = re.compile(r"(\d{1,18})-([0-9a-f]{32})", re.ASCII)


class TooSlow(Exception):
    """A search took longer than it may. Nothing can be said of what it would have found."""


@contextmanager
def limited(seconds: float | None = None) -> Iterator[None]:
    """What is asked inside may only read, and ends in `seconds`, else `SEARCH_SECONDS`: `TooSlow` if it would not."""
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                # Compiling takes longer than any of these.
                cursor.execute(
                    "SELECT set_config('statement_timeout', %s, true), set_config('jit', 'off', true)",
                    [str(max(1, int((seconds or SEARCH_SECONDS) * 1000)))],
                )
            yield
            transaction.set_rollback(True)  # nothing was written, and the settings go with it
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise TooSlow from None
        raise


@dataclass(frozen=True)
class Place:
    """Where an event is in the order of time."""

    at: datetime
    id: UUID

    @classmethod
    def parse(cls, text: str) -> Place | None:
        """What `str` of a place gave; None for anything else."""
        found = _PLACE.fullmatch(text)
        if not found:
            return None
        try:
            return cls(_EPOCH + timedelta(microseconds=int(found[1])), UUID(found[2]))
        except OverflowError:
            return None

    def __str__(self) -> str:
        return f"{(self.at - _EPOCH) // timedelta(microseconds=1)}-{self.id.hex}"


def parse_number(text: str) -> int | None:
    """A row's number out of an address; None for anything that cannot be one."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
