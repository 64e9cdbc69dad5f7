"""`manage.py demo`: an operator of the demo and the running platform."""

from __future__ import annotations

import io
import threading
from typing import Any

import pytest
import redis as redis_client
from django.core.management import CommandError, call_command

from opsportal.demo import control
from opsportal.demo.roster import BY_NAME, MAIL, PROVIDERS
from opsportal.demo.streams import KEYS, SIGNALS
from tests.demo.conftest import Demo
from tests.waiting import until


def run(*args: str) -> str:
    out = io.StringIO()
    call_command("demo", *args, stdout=out)
    return out.getvalue()


def test_demo__nothing_runs__says_so_and_leaves_nothing_behind(redis: redis_client.Redis) -> None:
    """RUN-3: at once, and no kill waits for the next start."""
    with pytest.raises(CommandError, match="No demo platform is running"):
        run("kill", "risk")
    assert redis.keys("demo:*") == []


def test_demo__list__every_service_and_stream(quiet_demo: Demo) -> None:
    """RUN-3: where each is and how."""
    said = run("list")
    for name in BY_NAME:
        assert f"http://127.0.0.1:{quiet_demo.ports[name]}" in said and name in said
    assert f"smtp://127.0.0.1:{quiet_demo.ports[MAIL]} and http://127.0.0.1:{quiet_demo.ports[PROVIDERS]}" in said
    assert all(key in said for key in KEYS) and said.count("runs as process") == len(BY_NAME) + 1


def test_demo__kill_and_start__are_told(quiet_demo: Demo, redis: redis_client.Redis) -> None:
    """RUN-3: each answer is one sentence; its key does not stay for ever."""
    assert "stays dead until `start`" in run("kill", "risk")
    assert quiet_demo.status("risk") == "down"
    assert "was started" in run("start", "risk")
    until(lambda: quiet_demo.status("risk") == "healthy")
    assert not redis.keys("demo:answer:*")


def test_demo__stall_and_drain__a_stream_by_either_name(quiet_demo: Demo, redis: Any) -> None:
    """RUN-3, HM-5: the running platform's consumers stop and go on."""
    run("stall", "signals")
    pending = until(lambda: redis.xinfo_groups(SIGNALS)[0]["pending"] > 4)
    assert pending and "execution" in run("list")
    run("drain", SIGNALS)
    until(lambda: redis.xinfo_groups(SIGNALS)[0]["pending"] <= 4)


def test_demo__wrong_name__names_what_there_is(quiet_demo: Demo) -> None:
    """RUN-3: exit code 1 and one sentence that helps."""
    with pytest.raises(CommandError, match=r"There is no service “oders”\. The services are market-data, signals"):
        run("kill", "oders")
    with pytest.raises(CommandError, match=r"There is no stream “risk”\. The streams are demo:market-data"):
        run("stall", "risk")
    with pytest.raises(CommandError, match=r"heal what\?"):
        run("heal")


def test_demo__drawdown_and_latency__are_provoked_and_healed(quiet_demo: Demo) -> None:
    """RUN-3: an alert can be made to fire now; without a subject the usual one is meant."""
    assert "drawdown of momentum is above 5 %" in run("drawdown")
    assert "latency of signals is above 700 ms" in run("latency", "signals")
    said = run("list")
    assert "drawdown of momentum, provoked" in said and "latency of signals, provoked" in said
    assert "loses no more than usual" in run("heal", "momentum")
    assert "behaves as usual" in run("heal", "signals")
    assert "provoked" not in run("list")
    with pytest.raises(CommandError, match="The strategies are momentum, mean-reversion, pairs"):
        run("drawdown", "carry")
    with pytest.raises(CommandError, match="The services are orders"):
        run("latency", "risk")


def test_demo__platform_hangs__gives_up(redis: redis_client.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """RUN-3: something listens and does not answer."""
    monkeypatch.setattr(control, "ANSWER_SECONDS", 1)
    deaf: Any = redis.pubsub()  # type: ignore[no-untyped-call]
    deaf.subscribe(control.CHANNEL)
    try:
        with pytest.raises(CommandError, match="did not answer within 1 s"):
            run("kill", "risk")
    finally:
        deaf.close()


def test_ear__nonsense__is_passed_over(redis: redis_client.Redis) -> None:
    """RUN-3: what others publish on the channel does not end the platform."""
    ear = control.Ear(redis)
    asked: list[tuple[str, str]] = []

    def obey(verb: str, subject: str) -> control.Answer:
        asked.append((verb, subject))
        return control.Answer(True, ("done",))

    answers: list[control.Answer] = []
    ear.listen(0.1, obey)
    redis.publish(control.CHANNEL, "[1, 2")
    redis.publish(control.CHANNEL, '{"id": 3}')
    asker = threading.Thread(target=lambda: answers.append(control.request(redis, "heal", "risk")))
    asker.start()
    while not asked and asker.is_alive():
        ear.listen(0.1, obey)
    asker.join(10)
    ear.close()
    assert asked == [("heal", "risk")] and answers == [control.Answer(True, ("done",))]


def test_demo__redis_away__says_so(redis_server: Any) -> None:
    """RUN-3: one sentence, no traceback."""
    with redis_server.stopped():
        with pytest.raises(CommandError, match="Redis does not answer"):
            run("list")
