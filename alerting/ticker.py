"""The one ticker of this process: a thread, so that alerts are evaluated also while Redis, and so Celery, is away."""

from __future__ import annotations

import logging
import os
import threading
import time

from django.db import Error, close_old_connections, connections
from django.utils import timezone

from alerting.ticking import Ticker

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 1.0

_lock = threading.Lock()
_running: _Loop | None = None
_ended_in = 0


class _Loop:
    """Ticks every second until it is stopped."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alerting-ticker", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it ticks, in this very process."""
        return self.pid == os.getpid() and self._thread.is_alive()

    def stop(self) -> None:
        """After the tick that is under way."""
        self._ending.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        ticker, failing = Ticker(), False
        due = time.monotonic()
        try:
            while not self._ending.is_set():
                failing = self._tick(ticker, failing)
                due = max(due + INTERVAL_SECONDS, time.monotonic())
                self._ending.wait(due - time.monotonic())
        finally:
            connections.close_all()

    def _tick(self, ticker: Ticker, failing: bool) -> bool:
        """Whether this tick failed; told once for a row of them."""
        try:
            close_old_connections()
            ticker.tick(timezone.now())
        except Error as error:
            if not failing:
                log.error("alert_evaluation_stands", extra={"cause": type(error).__name__})
            connections.close_all()
            return True
        except Exception:
            log.exception("alert_tick_failed")
            return True
        if failing:
            log.info("alert_evaluation_goes_on")
        return False


def ensure() -> None:
    """See to it that this process ticks, unless it is ending. Several may: at a time one does."""
    global _running
    with _lock:
        if _ended_in != os.getpid() and (_running is None or not _running.alive):
            _running = _Loop()


def end() -> None:
    """Stop, for good."""
    global _running, _ended_in
    with _lock:
        _ended_in = os.getpid()
        running, _running = _running, None
    if running is not None and running.alive:
        running.stop()
