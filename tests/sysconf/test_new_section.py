"""A new section is one Pydantic class (CF-6): page, form, review, history, API, cache and audit come with it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, time
from enum import Enum
from typing import Annotated, Any, ClassVar, Literal

import pytest
from django.core.checks import run_checks
from django.urls import reverse
from pydantic import Field

from opsportal.audit.models import Entry
from sysconf import services
from sysconf.errors import InvalidValues
from sysconf.sections import Section
from sysconf.sections.base import forget_section
from sysconf.sections.marks import Dangerous, TimeZone, Unit
from tests.desk import DESK, WHY
from tests.sysconf.desk import form_of, signed_in, values

KEY = "order_routing"


class Venue(Enum):
    """Where orders go."""

    PRIMARY = "primary"
    DARK = "dark pool"


@pytest.fixture
def routing() -> Iterator[type[Section]]:
    """A section with every type of field there is, and names that a form or page could trip over."""

    class OrderRouting(Section):
        """How orders are sent."""

        key: ClassVar[str] = KEY
        title: ClassVar[str] = "Order routing <new>"
        description: ClassVar[str] = "Which way orders go."

        venue: Venue = Venue.PRIMARY
        urgency: Literal["low", "high"] = "low"
        timeout_ms: Annotated[int, Unit("ms"), Dangerous.when_lowered("Orders fail sooner.")] = Field(
            500, gt=0, lt=10_000
        )
        ratio: float = Field(0.5, ge=0, le=1)
        enabled: Annotated[bool, Dangerous.when_on("It sends.")] = False
        cut_off: time = time(15, 55)
        valid_from: date = date(2026, 1, 1)
        zone: TimeZone = "UTC"
        comment: str = Field("", max_length=20)
        most: int | None = None
        accounts: list[str] = Field([], max_length=3)
        levels: list[int] = [1, 2]
        reason: str = ""
        base: int = 0
        about: str = ""
        prefix: str = ""

    yield OrderRouting
    forget_section(KEY)


TYPED = {
    "venue": "dark pool",
    "urgency": "high",
    "timeout_ms": "250",
    "ratio": ".25",
    "enabled": "true",
    "cut_off": "15:50:30",
    "valid_from": "2026-02-01",
    "zone": "Asia/Tokyo",
    "comment": "“quoted” <b>",
    "most": "7",
    "accounts": "A\nB",
    "levels": "3, 4",
    "reason": "r",
    "base": "9",
    "about": "a",
    "prefix": "p",
}
VALUES = {
    "venue": "dark pool",
    "urgency": "high",
    "timeout_ms": 250,
    "ratio": 0.25,
    "enabled": True,
    "cut_off": "15:50:30",
    "valid_from": "2026-02-01",
    "zone": "Asia/Tokyo",
    "comment": "“quoted” <b>",
    "most": 7,
    "accounts": ["A", "B"],
    "levels": [3, 4],
    "reason": "r",
    "base": 9,
    "about": "a",
    "prefix": "p",
}


def test_section__one_class__has_everything(users: Any, routing: type[Section]) -> None:
    """CF-6: nothing but the class was written."""
    assert not [message for message in run_checks() if str(message.id).startswith("sysconfig")]
    client = signed_in(users.admin)
    edit, keep = (reverse(f"admin:sysconfig_{name}", args=[KEY]) for name in ("section", "save"))
    assert "Order routing &lt;new&gt;" in client.get(reverse("admin:sysconfig")).content.decode()
    sent = form_of(client, KEY, **TYPED)
    review = client.post(edit, sent)
    assert review.status_code == 200, review.context["form"].errors
    page = review.content.decode()
    assert "Orders fail sooner." in page and "It sends." in page and "500 ms" in page and "<b>" not in page
    assert client.post(keep, sent | {"reason": WHY, "acknowledged": "on"}).status_code == 302
    assert values(KEY) == VALUES
    assert client.get(f"/api/v1/config/{KEY}").json()["values"] == VALUES
    assert Entry.objects.get(event="config_update").resource_id == KEY
    assert WHY in client.get(edit).content.decode()
    assert form_of(client, KEY) == form_of(client, KEY, **TYPED | {"levels": "3\n4", "ratio": "0.25"})


@pytest.mark.parametrize(
    ("name", "typed", "said"),
    [
        ("venue", "moon", "Choose one of the list."),
        ("timeout_ms", "0", "Must be more than 0."),
        ("timeout_ms", "10000", "Must be less than 10,000."),
        ("comment", "x" * 21, "At most 20 characters are kept."),
        ("comment", "a\x00b", "Null characters"),
        ("accounts", "a\nb\nc\nd", "at most 3"),
        ("levels", "1\ntwo", "Entry 2: Type a whole number"),
        ("most", "none", "Type a whole number"),
    ],
)
def test_section__one_class__refuses_in_plain_words(
    users: Any, routing: type[Section], name: str, typed: str, said: str
) -> None:
    """CF-6: the errors are made from the class as well."""
    client = signed_in(users.admin)
    answer = client.post(reverse("admin:sysconfig_section", args=[KEY]), form_of(client, KEY, **{name: typed}))
    assert answer.status_code == 422 and said in str(answer.context["form"].errors[name])


def test_section__empty_option__is_none(users: Any, routing: type[Section]) -> None:
    """CF-6: a value that may be absent."""
    client = signed_in(users.admin)
    edit, keep = (reverse(f"admin:sysconfig_{name}", args=[KEY]) for name in ("section", "save"))
    client.post(keep, form_of(client, KEY, most="7") | {"reason": WHY})
    assert values(KEY)["most"] == 7
    client.post(keep, form_of(client, KEY, most="") | {"reason": WHY})
    assert values(KEY)["most"] is None
    assert "<del>7</del>" in client.get(edit).content.decode()


@pytest.mark.parametrize(
    ("name", "value"),
    [("comment", "a\x00b"), ("accounts", ["a", "\x00"]), ("base", 10**30), ("levels", [10**400])],
    ids=["text", "list", "number", "numbers"],
)
def test_section__what_postgresql_cannot_keep__is_refused(
    db: None, routing: type[Section], name: str, value: Any
) -> None:
    """Q-5: a sentence at the field, not a failure of the database."""
    with pytest.raises(InvalidValues) as refusal:
        services.save_section(KEY, values(KEY) | {name: value}, by=DESK, reason=WHY, base_version=0)
    assert list(refusal.value.errors) == [name]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"key": "Bad Key", "title": "x"}, "needs a key"),
        ({"key": "", "title": "x"}, "needs a key"),
        ({"key": "no_title", "title": ""}, "a title"),
        ({"key": "trading_hours", "title": "x"}, "already a section"),
    ],
)
def test_section__that_cannot_work__fails_at_start(fields: dict[str, str], said: str) -> None:
    """CF-6: before anybody meets it."""
    annotated = dict.fromkeys(fields, ClassVar[str])
    with pytest.raises(TypeError, match=said):
        type("Wrong", (Section,), {**fields, "__annotations__": annotated, "__module__": __name__})


def test_section__without_default_or_with_a_strange_type__is_found_at_start() -> None:
    """CF-6: a missing default at once, a type without a form by `manage.py check`."""
    with pytest.raises(TypeError, match="without a default"):

        class Required(Section):
            """No value to begin with."""

            key: ClassVar[str] = "required_one"
            title: ClassVar[str] = "x"
            amount: int

    class Strange(Section):
        """A type that no form holds."""

        key: ClassVar[str] = "strange_one"
        title: ClassVar[str] = "x"
        amount: complex = 1j

    try:
        assert [str(message.id) for message in run_checks() if str(message.id).startswith("sysconfig")] == [
            "sysconfig.E001"
        ]
    finally:
        forget_section("strange_one")
