"""The trip of the breaker by a rule."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
import redis as redis_client
from django.db import connection
from django.utils import timezone

from alerting.channels.base import Answer
from alerting.channels.breaker import Breaker
from alerting.models import Outcome
from circuit import services
from circuit.models import Transition
from opsportal.accounts.actors import Actor
from opsportal.audit.models import Entry
from opsportal.embedded import EmbeddedRedis
from tests.alerting.channels.making import message
from tests.desk import DESK
from tests.sysconf.desk import DEFAULTS, save

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _open(db: None) -> None:
    services.init_breaker(by=DESK)


def send(**fields: Any) -> Answer:
    return Breaker().send(None, "breaker", message(**fields))


def test_trip__by_a_rule__halts_trading(redis: redis_client.Redis) -> None:
    """AL-5: with the rule's name as reason and the metric's category."""
    answer = send()
    assert (answer.outcome, answer.sentence) == (Outcome.DELIVERED, "Trading is halted: the breaker was tripped.")
    assert redis.get("circuit_breaker:state") == "TRIPPED"
    trip = Transition.objects.latest("at")
    assert (trip.category, trip.source, trip.actor_label) == ("drawdown", "rule", "rule “Drawdown of a strategy”")
    assert trip.reason.startswith("Rule “Drawdown of a strategy”: Drawdown is 5.2 %, limit 5 % [alert ")


def test_trip__tripped_already__is_done(redis: redis_client.Redis) -> None:
    """AL-5: what was wanted holds; a second try, or a second rule, changes nothing."""
    services.trip_breaker(by=Actor.system("somebody"), reason="By hand")
    answer = send()
    assert answer.outcome == Outcome.DELIVERED and answer.sentence.startswith("Already tripped by somebody")
    assert Transition.objects.filter(kind="trip").count() == 1


def test_trip__made_before_its_worker_died__is_not_made_again(redis: redis_client.Redis) -> None:
    """AD-2, AL-5: between the trip and its commit a worker may die; by then somebody may have reset the breaker."""
    assert send().outcome == Outcome.DELIVERED
    services.reset_breaker(by=DESK, reason="Checked: the strategy is flat again", acknowledged=True)
    again = send()
    assert again.outcome == Outcome.DELIVERED and "before" in again.sentence
    assert redis.get("circuit_breaker:state") == "OPEN"
    assert send(event_id="another-alert").outcome == Outcome.DELIVERED
    assert redis.get("circuit_breaker:state") == "TRIPPED"


@pytest.mark.parametrize(("minutes", "state"), [(1, "TRIPPED"), (6, "OPEN")])
def test_trip__of_an_alert_that_is_over__is_made_only_soon(redis: redis_client.Redis, minutes: int, state: str) -> None:
    """AL-5: a spike trips also when it has ended a moment ago; what was over long ago needs a person."""
    fired = timezone.now() - timedelta(minutes=minutes)
    answer = send(triggered_at=fired, resolved_at=timezone.now())
    assert redis.get("circuit_breaker:state") == state
    assert answer.outcome == (Outcome.DELIVERED if state == "TRIPPED" else Outcome.PERMANENT)


def test_trip__redis_is_away__is_tried_again(redis_server: EmbeddedRedis) -> None:
    """AL-5: a protection that could not act is not given up."""
    with redis_server.stopped():
        answer = send()
    assert answer.outcome == Outcome.TRANSIENT and "Halt trading on the platform itself" in answer.sentence
    assert send().outcome == Outcome.DELIVERED


def test_trip__long_and_odd_words__still_trips() -> None:
    """AL-5: nothing that somebody wrote into an alert keeps the breaker from tripping."""
    assert send(rule_name="x" * 100, summary="y" * 300 + "\x00").outcome == Outcome.DELIVERED
    assert Entry.objects.filter(event="circuit_trip", outcome="success").exists()


def test_trip__automatic_trips_are_off__says_who_did_that() -> None:
    """CB-12: an administrator's decision; the trip needs a person."""
    save(DEFAULTS, circuit_breaker_enabled=False)
    answer = send()
    assert answer.outcome == Outcome.PERMANENT and "switched off in the configuration by" in answer.sentence
    assert Transition.objects.filter(kind="trip").count() == 0


@pytest.mark.django_db(transaction=True)
def test_trip__in_a_senders_thread__leaves_no_connection() -> None:
    """AD-14: sixty-four threads that each kept one would leave none for the pages."""
    found: list[Any] = []

    def work() -> None:
        found.append(send().outcome)
        found.append(connection.connection)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [Outcome.DELIVERED, None]
