"""The overview: what is halted, what is wrong, what needs me. Each domain adds its items."""

from __future__ import annotations

from dataclasses import dataclass

from django.urls import reverse

from circuit.selectors import Status
from opsportal.observability.health import check_components


@dataclass(frozen=True)
class Item:
    """One line of the overview."""

    tone: str
    title: str
    text: str
    url: str = ""
    link_text: str = ""


@dataclass(frozen=True)
class Overview:
    """The three lists and the breaker's card."""

    breaker: Status | None
    halted: tuple[Item, ...]
    wrong: tuple[Item, ...]
    needs_me: tuple[Item, ...]


def build_overview(breaker: Status | None) -> Overview:
    """What an operator must know first."""
    return Overview(
        breaker=breaker,
        halted=tuple(_halted(breaker)),
        wrong=tuple(_wrong(breaker)),
        needs_me=tuple(_needs_me(breaker)),
    )


def _halted(breaker: Status | None) -> list[Item]:
    if breaker is None or breaker.state == "OPEN":
        return []
    text = breaker.last_trip_reason if breaker.state == "TRIPPED" else breaker.problem or breaker.label
    return [
        Item("bad", f"Trading: {breaker.state} · {breaker.label}", text, reverse("admin:circuit"), "Go to the breaker")
    ]


def _wrong(breaker: Status | None) -> list[Item]:
    items = [
        Item("bad", f"{part.title} does not answer", part.consequence) for part in check_components() if not part.ok
    ]
    if breaker:
        link = reverse("admin:circuit")
        items += [Item("warn", "Circuit breaker", notice, link, "Go to the breaker") for notice in breaker.notices]
    return items


def _needs_me(breaker: Status | None) -> list[Item]:
    if breaker is None:
        return []
    link = reverse("admin:circuit")
    if breaker.can_restore:
        return [
            Item(
                "warn",
                "Restore the breaker's state",
                "Redis has lost it; the last recorded one can be put back.",
                link,
                "Look and decide",
            )
        ]
    if breaker.can_reset:
        return [
            Item(
                "info",
                "The breaker waits for a decision",
                "Find out why it tripped, then reset it.",
                link,
                "Look and decide",
            )
        ]
    return []
