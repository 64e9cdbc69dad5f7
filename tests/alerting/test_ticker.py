"""The thread that evaluates every second, in the process that dispatches (AL-2, Q-4)."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from alerting import ticker
from alerting.models import Event, Rule
from tests.alerting.ruling import a_rule, ago, hook, take, value
from tests.waiting import until


def test_ticker__beside_it_a_rule_waits__fires_by_itself(transactional_db: None) -> None:
    """AL-3: nobody sends anything any more; and the connection of a stopped ticker is not left behind."""
    Rule.objects.all().delete()
    a_rule(hook(), for_seconds=1)
    take(value(0.1, ago(1)))
    running = ticker._Loop()
    try:
        until(lambda: Event.objects.filter(metric="drawdown", state="firing").exists(), what="the event fires")
    finally:
        running.stop()
    assert not running.alive


def test_ticker__postgresql_goes_away_and_comes_back__goes_on(
    postgres_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Q-4: told once, and nothing is to be done by hand."""
    Rule.objects.all().delete()
    running = ticker._Loop()
    try:
        with postgres_server.stopped():
            until(lambda: "alert_evaluation_stands" in caplog.messages, what="that it stands is told")
        connection.close()
        until(lambda: "alert_evaluation_goes_on" in caplog.messages, what="it goes on")
        a_rule(hook(), for_seconds=1)
        take(value(0.1, ago(1)))
        until(lambda: Event.objects.filter(metric="drawdown", state="firing").exists(), what="the event fires")
    finally:
        running.stop()
    assert caplog.messages.count("alert_evaluation_stands") == 1


def test_ensure__called_again__keeps_the_one_that_runs(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread a process, started anew where it has died."""
    ticker.ensure()
    first = ticker._running
    try:
        ticker.ensure()
        assert first is not None and ticker._running is first
        first.stop()
        ticker.ensure()
        assert ticker._running is not first and ticker._running is not None and ticker._running.alive
    finally:
        if ticker._running is not None:
            ticker._running.stop()
        monkeypatch.setattr(ticker, "_running", None)
