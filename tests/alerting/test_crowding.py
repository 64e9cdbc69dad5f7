"""Alerts from outside without end: only so many are open at a time (Q-5, AL-4)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from alerting import crowding
from alerting.metrics import TOO_MANY_OPEN
from alerting.models import Event, Origin, Rule
from tests.alerting.ruling import a_rule, an_external_rule, take, value
from tests.api.conftest import key_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _bound(db: None, settings: Any) -> Iterator[None]:
    """Three, instead of ten thousand."""
    Rule.objects.all().delete()
    settings.ALERT_MOST_OPEN = 3
    crowding.forget_place()
    yield
    crowding.forget_place()


@pytest.fixture
def sender(users: Any) -> Client:
    key = key_of(users.operator, ["write:alerts"])
    return Client(raise_request_exception=False, headers={"Authorization": f"Bearer {key}"})


def post(sender: Client, path: str, body: Any) -> Any:
    crowding.forget_place()
    return sender.post(path, json.dumps(body), "application/json")


def direct(sender: Client, *names: str, status: str = "firing") -> Any:
    alerts = [{"name": name, "status": status} for name in names]
    return post(sender, "/api/v1/alerts", {"alerts": alerts})


def prometheus(sender: Client, *names: str) -> Any:
    return post(sender, "/api/v2/alerts", [{"labels": {"alertname": name}} for name in names])


def open_ones() -> set[str]:
    return set(Event.objects.exclude(state="resolved").values_list("labels__alertname", flat=True))


def test_direct_alert__as_many_are_open_as_may_be__a_new_one_is_refused_whole(sender: Client) -> None:
    """Q-5: with a sentence, a number and when to come again; what is about open ones is taken, and makes place."""
    an_external_rule()
    assert direct(sender, "a", "b", "c").status_code == 202
    counted = TOO_MANY_OPEN._value.get()
    answer = direct(sender, "a", "d")
    assert (answer.status_code, answer["Retry-After"]) == (503, "60")
    assert answer.json()["detail"].startswith("3 alerts from outside are open") and open_ones() == {"a", "b", "c"}
    assert TOO_MANY_OPEN._value.get() == counted + 1
    assert direct(sender, "a").status_code == 202
    assert direct(sender, "b", status="resolved").status_code == 202
    assert direct(sender, "d").status_code == 202 and open_ones() == {"a", "c", "d"}


def test_prometheus__as_many_are_open_as_may_be__what_is_open_goes_on(sender: Client) -> None:
    """AL-4: an alert that fires must not end because others were too many."""
    an_external_rule()
    prometheus(sender, "a", "b", "c")
    before = dict(Event.objects.values_list("id", "labels__alertname"))
    answer = prometheus(sender, "a", "new", "b", "c")
    assert answer.status_code == 503 and "open already was taken" in answer.json()["detail"]
    assert dict(Event.objects.values_list("id", "labels__alertname")) == before
    assert prometheus(sender, "a", "b", "c").status_code == 200


def test_bound__of_the_portals_own_and_of_values__counts_none(sender: Client) -> None:
    """AL-2: what services measure has a bound of its own, and takes no place here."""
    a_rule()
    take(*(value(0.1, strategy=f"s{number}") for number in range(5)))
    Event.objects.filter(labels__strategy="s0").update(origin=Origin.PORTAL)
    assert direct(sender, "a").status_code == 202
