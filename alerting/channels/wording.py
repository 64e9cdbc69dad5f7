"""What messages say, in words that every kind of channel shares."""

from __future__ import annotations

from datetime import UTC, datetime

from alerting.channels.base import Item, Message
from alerting.models import Notice
from alerting.wording import ENDINGS, UNWATCHED

_HEADS = {Notice.RESOLVED: "RESOLVED", Notice.TEST: "TEST"}


def head(item: Item) -> str:
    """`CRITICAL`, `CRITICAL, OVER`, `RESOLVED` or `TEST`: what the message is, in a word."""
    if item.is_over:
        return f"{item.severity.upper()}, OVER"
    if item.notice == Notice.RESOLVED and item.ended_by in UNWATCHED:
        return "NOT WATCHED"
    return _HEADS.get(Notice(item.notice), item.severity.upper())


def headline(message: Message) -> str:
    """The message in one line: `[CRITICAL] Drawdown is 5.2 %`, `[CRITICAL] 12 alerts`."""
    if message.is_digest:
        word = message.worst.upper() if any(item.notice == Notice.FIRING for item in message.items) else "DIGEST"
        return f"[{word}] {message.total} alerts, held back by the limit of messages to you"
    item = message.newest
    return f"[{head(item)}] {item.summary or item.rule_name}"


def facts(item: Item) -> list[tuple[str, str]]:
    """What there is to know of an event: title and text, nothing empty."""
    told = [
        ("Rule", item.rule_name),
        ("Condition", item.condition),
        ("Value", item.value),
        ("Severity", item.severity),
        ("Labels", ", ".join(f"{name}={value}" for name, value in item.labels.items())),
        ("Fired at", clock(item.triggered_at)),
        ("Resolved at", clock(item.resolved_at) if item.resolved_at else ""),
        ("Owner", item.owner),
    ]
    return [(title, text) for title, text in told if text]


def purpose(item: Item) -> str:
    """One sentence that says what the message means; empty where it is plain."""
    if item.notice == Notice.TEST:
        return "This is a test of the channel. Nothing is wrong, and nothing needs to be done."
    if item.notice == Notice.RESOLVED:
        return _ending(item)
    if item.is_over:
        return f"This reaches you late. {_ending(item)}"
    return ""


def _ending(item: Item) -> str:
    if not item.ended_by:
        return "It has recovered. Nothing needs to be done."
    return ENDINGS.get(item.ended_by, "Somebody resolved it by hand in the portal.")


def clock(at: datetime) -> str:
    """`2026-01-31 14:05:09 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def left_out(message: Message) -> str:
    """How many a digest only counts, as a sentence; empty for none."""
    if not message.more:
        return ""
    others = "other is" if message.more == 1 else "others are"
    return f"{message.more} {others} not told here: earlier, or less urgent. The portal lists them."
