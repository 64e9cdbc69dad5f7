"""Sends the demo's readings to the portal over HTTP, with a real API key, in a thread of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from opsportal.demo.keyfile import read_key

log = logging.getLogger(__name__)

PATH = "/api/v1/observations"
TIMEOUT_SECONDS = 5
KEY_REFUSED = 401
ASK_AGAIN_SECONDS = 60.0
"""A new key is asked for at once, and then no more often than this: making one takes a process of its own."""


class Pusher:
    """Posts one batch after the other; a batch that comes while one is under way takes the place of one that waits.

    `portal`: the portal's own address, such as http://127.0.0.1:8000. `on_refused` is called, in the thread, when the
    portal refuses the key or there is none; at most once a minute.
    """

    def __init__(
        self,
        portal: str,
        keyfile: Path,
        *,
        on_refused: Callable[[], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._netloc = urlsplit(portal).netloc
        self._keyfile = keyfile
        self._on_refused = on_refused
        self._now = now
        self._may_ask_at = 0.0
        self._batches: queue.Queue[list[dict[str, Any]] | None] = queue.Queue(maxsize=1)
        self._connection: http.client.HTTPConnection | None = None
        self._said = ""
        self.accepted = 0
        self._thread = threading.Thread(target=self._run, name="demo-pusher", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, if it was started, and the connection."""
        self.push(None)
        if self._thread.is_alive():
            self._thread.join(2 * TIMEOUT_SECONDS)
        self._close()

    def push(self, batch: list[dict[str, Any]] | None) -> None:
        """Send it soon. Never waits: readings are out of date sooner than a portal that hangs comes back."""
        with contextlib.suppress(queue.Empty):
            self._batches.get_nowait()
        with contextlib.suppress(queue.Full):
            self._batches.put_nowait(batch)

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            self.post(batch)

    def post(self, batch: list[dict[str, Any]]) -> int | None:
        """Send it now; the status of the answer, None if there was none (or no key)."""
        key = read_key(self._keyfile)
        if not key:
            self._ask_for_a_key()
            return None
        try:
            status, answer = self._exchange(key, json.dumps({"observations": batch}))
        except (OSError, http.client.HTTPException) as error:
            self._close()
            self._tell(f"demo_push_failed {type(error).__name__}", {"error": type(error).__name__})
            return None
        if status == KEY_REFUSED:
            self._ask_for_a_key()
        if status // 100 == 2:
            self.accepted += len(batch)
            self._said = ""
        else:
            self._tell(f"demo_push_refused {status}", {"status": status, "answer": answer[:200]})
        return status

    def _ask_for_a_key(self) -> None:
        if self._now() >= self._may_ask_at:
            self._may_ask_at = self._now() + ASK_AGAIN_SECONDS
            self._on_refused()

    def _exchange(self, key: str, body: str) -> tuple[int, str]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._netloc, timeout=TIMEOUT_SECONDS)
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._connection.request("POST", PATH, body=body, headers=headers)
        with self._connection.getresponse() as reply:
            return reply.status, reply.read().decode("utf-8", "replace")

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _tell(self, what: str, more: dict[str, Any]) -> None:
        """Once, not each second: the portal that is being restarted is no news."""
        if what != self._said:
            self._said = what
            log.warning(what.split()[0], extra=more)
