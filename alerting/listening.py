"""Listens for nudges, so that an idle dispatcher begins at once. A hint: without Redis it looks each second."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import redis
from django.conf import settings
from redis.maint_notifications import MaintNotificationsConfig

from alerting.nudging import WAKE

log = logging.getLogger(__name__)

#: So long it listens before it looks whether to end.
LISTEN_SECONDS = 0.5
AGAIN_SECONDS = 1.0


class Listener:
    """Calls `wake` for each nudge, in a thread of its own with a connection of its own, until it is stopped."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._main, name="alerts-listener", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, within a second."""
        self._ending.set()

    def _main(self) -> None:
        while not self._ending.is_set():
            try:
                self._listen()
            except (redis.RedisError, OSError) as error:
                log.debug("alert_nudges_not_heard", extra={"error": type(error).__name__})
                self._ending.wait(AGAIN_SECONDS)

    def _listen(self) -> None:
        client = redis.Redis.from_url(
            settings.REDIS_URL,
            socket_connect_timeout=1.0,
            socket_timeout=5.0,
            socket_keepalive=True,
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
        )
        with client, client.pubsub(ignore_subscribe_messages=True) as heard:
            heard.subscribe(WAKE)
            self._wake()  # for what was missed before
            while not self._ending.is_set():
                if heard.get_message(timeout=LISTEN_SECONDS):
                    self._wake()
