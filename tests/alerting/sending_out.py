"""A dispatcher in this process, and an address to send to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.utils import timezone
from pydantic import SecretStr

from alerting.channels.slack import SlackSettings
from alerting.dispatching import Dispatcher
from alerting.models import Delivery, Status
from tests.alerting.outgoing import make_channel, make_webhook, queue
from tests.alerting.providers import steps
from tests.waiting import until


@contextmanager
def dispatching(threads: int = 8) -> Iterator[Dispatcher]:
    """A dispatcher of this process."""
    dispatcher = Dispatcher(threads)
    dispatcher.start()
    try:
        yield dispatcher
    finally:
        dispatcher.stop()
        assert not dispatcher.alive


@contextmanager
def two_kinds_hanging(hook: Hook, providers: Any) -> Iterator[Callable[[], int]]:
    """A dispatcher of 16 threads, 14 of them held by a webhook and by Slack that do not answer and have more to do.

    Gives how many of their messages are under way.
    """
    url = providers.slack.url
    slack = make_channel("slack", SlackSettings(url=SecretStr(url)), "slack")
    hook.provider.always(steps.silent())
    providers.slack.always(steps.silent())
    queue(hook.channel, hook.recipients(30), severity=2)
    queue(slack, [f"{url}?{n}" for n in range(30)], severity=2)

    def under_way() -> int:
        return len(providers.slack.received) + len(hook.sent())

    with dispatching(threads=16):
        until(lambda: under_way() >= 14)
        yield under_way


def all_are(status: Status) -> Callable[[], bool]:
    """Whether no delivery has another status."""
    return lambda: not Delivery.objects.exclude(status=status).exists()


class Hook:
    """A webhook's channel, addresses of it, and what came."""

    def __init__(self, provider: Any) -> None:
        self.provider = provider
        self.channel = make_webhook(provider.url)

    def recipients(self, number: int) -> list[str]:
        """As many addresses, all different."""
        return [f"{self.provider.url}?{place}" for place in range(number)]

    def sent(self) -> list[str]:
        """The keys of what came, in order."""
        return [request.headers["idempotency-key"] for request in self.provider.received]


def away_from_the_edge(*, seconds: float = 12, of: int = 60) -> None:
    """Wait until the minute (or another window) goes on for so long: what follows lies in one window."""
    until(lambda: timezone.now().timestamp() % of < of - seconds, seconds=seconds + 5)
