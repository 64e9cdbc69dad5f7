"""Anything that Apprise knows: best effort, for it tells only whether it worked.

Its plugins connect by themselves, so their time and their addresses are guarded from outside (`fencing`): each runs in
a thread of its own that is left behind when its time is up, and may connect to allowed addresses only.
"""

from __future__ import annotations

import logging
import threading
import time
import warnings
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from functools import cache
from typing import Any

from pydantic import Field, SecretStr, field_validator

from alerting.channels import fencing
from alerting.channels.base import (
    CONNECT_SECONDS,
    SEND_SECONDS,
    Answer,
    ChannelKind,
    ChannelSettings,
    Message,
    Recipient,
)
from alerting.channels.connecting import host_refusal
from alerting.channels.fields import NeededSecret, refused
from alerting.channels.wording import facts, head, headline, left_out, purpose
from alerting.models import Notice, Outcome
from alerting.recipients import URL_MAX, masked_secret

#: Plugins that speak with this machine, keep files, or connect by threads and libraries that the fence does not see.
NOT_OFFERED = frozenset(
    {
        "amqp", "blink1", "dbus", "deltachat", "fcm", "glib", "gnome", "growl", "macosx", "matrix", "mqtt", "nostr",
        "smpp", "syslog", "vapid", "windows", "xmpp",
    }
)  # fmt: skip
BODY_MAX = 4_000
#: With so many threads left behind nothing is begun: something hangs for good. What waits for them waits this share
#: of its attempt's time.
STUCK_MAX = 16
WAITING_SHARE = 0.5

_stuck: set[Future[Answer]] = set()
_changed = threading.Condition()


class AppriseSettings(ChannelSettings):
    """Where Apprise sends to."""

    url: NeededSecret = Field(
        title="Apprise address", description="As Apprise's documentation gives it, for example ntfys://ntfy.sh/topic."
    )

    @field_validator("url")
    @classmethod
    def _known(cls, value: SecretStr) -> SecretStr:
        url = value.get_secret_value()
        if len(url) > URL_MAX or "://" not in url:
            raise refused(f"Give one address of Apprise with ://, of at most {URL_MAX} characters.")
        plugin = _plugin(url)
        if plugin is None:
            raise refused(
                "Apprise does not understand this address; its documentation shows the form for each service."
            )
        if _module(plugin) in NOT_OFFERED:
            raise refused("This service of Apprise is not offered here: it does not keep to the network alone.")
        host = str(getattr(plugin, "host", "") or "")
        # Some services keep a number of theirs there; one that is an address is refused when it is connected to.
        if not host.isdigit() and (why := host_refusal(host)):
            raise refused(why)
        return value


class Apprise(ChannelKind):
    """Hands the message to one of Apprise's plugins."""

    name = "apprise"
    title = "Apprise"
    Settings = AppriseSettings
    recipient_limit = "webhook"

    def recipients(self, settings: AppriseSettings) -> tuple[Recipient, ...]:
        """The one address."""
        url = settings.url.get_secret_value()
        return (Recipient(url, _masked(url)),)

    def shown(self, settings: AppriseSettings) -> dict[str, str]:
        """The service and the last 4 characters."""
        return {"Apprise address": _masked(settings.url.get_secret_value())}

    def warm_up(self) -> None:
        """All of Apprise's plugins."""
        _library()

    def send(self, settings: AppriseSettings, recipient: str, message: Message) -> Answer:
        """One notification. Its failure may pass, so it is tried again."""
        plugin = _plugin(recipient)
        if plugin is None or _module(plugin) in NOT_OFFERED:
            return Answer(Outcome.PERMANENT, "Apprise does not understand the address any more, or it is not offered.")
        ends = time.monotonic() + _seconds()
        with _changed:
            if not _changed.wait_for(lambda: len(_stuck) < STUCK_MAX, _seconds() * WAITING_SHARE):
                # Put off, not failed: it says nothing about this message.
                return Answer(Outcome.THROTTLED, "Too many messages by Apprise hang; this one was not begun.")
        done: Future[Answer] = Future()
        threading.Thread(target=_work, args=(plugin, message, done), name="alerting-apprise", daemon=True).start()
        try:
            return done.result(max(0.0, ends - time.monotonic()))
        except NotYet:
            with _changed:
                if not done.done():
                    _stuck.add(done)
            words = f"No answer within {_seconds():g} s. The message may have arrived all the same."
            return Answer(Outcome.UNKNOWN, words)


def _seconds() -> float:
    return SEND_SECONDS


def _work(plugin: Any, message: Message, done: Future[Answer]) -> None:
    try:
        with fencing.fenced():
            taken = plugin.notify(body=text_of(message), title=headline(message)[:250], notify_type=_type(message))
        answer = _judge(bool(taken))
    except Exception as error:
        answer = Answer(Outcome.TRANSIENT, f"Apprise failed by itself ({type(error).__name__}).")
        if why := fencing.refusal():
            answer = Answer(Outcome.PERMANENT, why[:300])
    with _changed:
        done.set_result(answer)
        _stuck.discard(done)
        _changed.notify_all()


def _judge(taken: bool) -> Answer:
    if taken:
        return Answer(Outcome.DELIVERED, "The service took it, says Apprise.")
    if why := fencing.refusal():
        return Answer(Outcome.PERMANENT, why[:300])
    return Answer(Outcome.TRANSIENT, "Apprise says that it was not taken. It does not say why.")


def text_of(message: Message) -> str:
    """The message as plain text."""
    parts = [left_out(message)]
    for item in message.items:
        lines = [f"{head(item)}: {item.summary}" if message.is_digest else "", purpose(item)]
        lines += [f"{title}: {text}" for title, text in facts(item)]
        links = (("Acknowledge", item.ack_url), ("Details", item.event_url), ("Runbook", item.runbook_url))
        lines += [f"{title}: {url}" for title, url in links if url]
        parts.append("\n".join(line for line in lines if line))
    return "\n\n".join(part for part in parts if part)[:BODY_MAX]


def _type(message: Message) -> Any:
    kinds = _library().NotifyType
    if message.foremost.notice == Notice.RESOLVED:
        return kinds.SUCCESS
    return {"critical": kinds.FAILURE, "warning": kinds.WARNING}.get(message.worst, kinds.INFO)


def _plugin(url: str) -> Any:
    """Apprise's plugin for the address with our limits, whatever the address asks for; None if there is none."""
    library = _library()
    asset = library.AppriseAsset(async_mode=False, secure_logging=True, http_redirects=False, storage_mode="memory")
    try:
        plugin = library.Apprise.instantiate(url, asset=asset)
    except Exception:  # whatever a plugin's constructor makes of somebody's text
        return None
    if plugin is None:
        return None
    plugin.redirects = False
    plugin.socket_connect_timeout, plugin.socket_read_timeout = CONNECT_SECONDS, SEND_SECONDS - CONNECT_SECONDS
    plugin.request_rate_per_sec = 0  # limits are the dispatcher's
    plugin.retry = 0
    return plugin


def _module(plugin: Any) -> str:
    parts = type(plugin).__module__.split(".")
    return parts[2] if len(parts) > 2 else ""


def _masked(url: str) -> str:
    return f"{url.partition('://')[0][:20]}://{masked_secret(url.rstrip('/'))}"


@cache
def _library() -> Any:
    # It reads hundreds of plugins, which only a process that uses them should pay for.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what its plugins import
        import apprise

        apprise.Apprise.instantiate("json://localhost")  # reads them all

    logger = logging.getLogger("apprise")  # it would write addresses and answers
    logger.propagate = False
    logger.setLevel(logging.CRITICAL + 1)
    return apprise
