"""Values that services push: `POST /api/v1/observations` (AL-2, Q-5)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from alerting.models import Event, Rule, Series
from tests.alerting.ruling import a_rule, hook
from tests.api.conftest import key_of

ADDRESS = "/api/v1/observations"


@pytest.fixture
def sender(users: Any) -> Client:
    """A service with a key that may send observations."""
    Rule.objects.all().delete()
    key = key_of(users.operator, ["write:observations"])
    return Client(raise_request_exception=False, headers={"Authorization": f"Bearer {key}"})


def push(sender: Client, *items: Any) -> Any:
    return sender.post(ADDRESS, json.dumps({"observations": list(items)}), "application/json")


def kept() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM alerting_observation")
        return int(cursor.fetchone()[0])


def test_observations__some_bad__fire_their_rules(sender: Client) -> None:
    """AL-2: the answer names the events that are open now."""
    a_rule(hook())
    answer = push(
        sender,
        {"metric": "drawdown", "value": 0.031, "labels": {"strategy": "carry"}},
        {"metric": "drawdown", "value": 0.062, "labels": {"strategy": "momentum"}},
        {"metric": "latency", "value": 212, "labels": {"service": "orders", "empty": ""}},
    )
    assert answer.status_code == 202, answer.content
    assert answer.json() == {"accepted": 3, "events": [str(Event.objects.get().id)]}
    assert Series.objects.get(metric="latency").labels == {"service": "orders"}


def test_observations__of_one_series_in_time__are_judged_in_order(sender: Client) -> None:
    """AL-3: whatever their order in the request."""
    a_rule(hook(), for_seconds=10)
    now = timezone.now()
    push(
        sender,
        *(
            {"metric": "drawdown", "value": value, "at": (now - timedelta(seconds=age)).isoformat()}
            for age, value in ((5, 0.06), (30, 0.01), (20, 0.06))
        ),
    )
    event = Event.objects.get()
    assert (event.state, event.started_at) == ("firing", now - timedelta(seconds=20))


@pytest.mark.parametrize(
    ("item", "field"),
    [
        (7, ""),
        ({}, "metric"),
        ({"metric": "drawdown"}, "value"),
        ({"metric": "nothing", "value": 1}, "metric"),
        ({"metric": ["drawdown"], "value": 1}, "metric"),
        ({"metric": "service_down", "value": 1}, "metric"),
        ({"metric": "external_alert", "value": 1}, "metric"),
        ({"metric": "drawdown", "value": None}, "value"),
        ({"metric": "drawdown", "value": "0.1"}, "value"),
        ({"metric": "drawdown", "value": True}, "value"),
        ({"metric": "drawdown", "value": -0.06}, "value"),
        ({"metric": "drawdown", "value": 1e9}, "value"),
        ({"metric": "latency", "value": 10**400}, "value"),
        ({"metric": "latency", "value": {}}, "value"),
        ({"metric": "drawdown", "value": 0.1, "labels": {"a b": "c"}}, "labels"),
        ({"metric": "drawdown", "value": 0.1, "labels": {"a": None}}, "labels.a"),
        ({"metric": "drawdown", "value": 0.1, "labels": None}, "labels"),
        ({"metric": "drawdown", "value": 0.1, "at": "now"}, "at"),
        ({"metric": "drawdown", "value": 0.1, "at": None}, "at"),
        ({"metric": "drawdown", "value": 0.1, "at": "2020-01-01T00:00:00Z"}, "at"),
        ({"metric": "drawdown", "value": 0.1, "at": "2120-01-01T00:00:00Z"}, "at"),
        ({"metric": "drawdown", "value": 0.1, "time": "2020-01-01T00:00:00Z"}, "time"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_observation__wrong__refuses_all_and_names_it(sender: Client, item: Any, field: str) -> None:
    """Q-5: `observations[1].value`; nothing of the request is kept."""
    answer = push(sender, {"metric": "drawdown", "value": 0.01}, item)
    assert answer.status_code == 422, answer.content
    named = "observations[1]" + (f".{field}" if field else "")
    assert list(answer.json()["errors"]) == [named] and answer.json()["detail"].startswith(named)
    assert kept() == 0


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b'{"observations": [{"metric": "latency", "value": NaN}]}', 400),
        (b'{"observations": [{"metric": "latency", "value": Infinity}]}', 400),
        (b'{"observations": [{"metric": "latency", "value": 1e999}]}', 422),
        (b'{"observations": [{"metric": "latency", "value": 1, "labels": {"a": "\\ud800"}}]}', 400),
        (b'{"observations": [{"metric": "latency", "value": 1, "labels": {"a": "\\u0000"}}]}', 422),
        (b'{"observations": [{"metric": "latency", "value": 1, "labels": {"a": "\xff"}}]}', 400),
        (b'{"observations": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
        (b'{"observations": [' + b"{}," * 300_000 + b"{}]}", 422),
        (b'{"observations": [' + b"1," * 1_000_000 + b"1]}", 413),
        (b'{"observations": []}', 422),
        (b"[]", 422),
        (b"null", 422),
        (b"", 422),
    ],
    ids=["NaN", "Infinity", "1e999", "surrogate", "NUL", "bad UTF-8", "deep", "300,000 items", "2 MB", "none", "a list",
         "null", "empty"],
)  # fmt: skip
def test_body__hostile__is_refused_in_a_sentence(sender: Client, content: bytes, status: int) -> None:
    """Q-5: whatever is sent."""
    answer = sender.post(ADDRESS, content, "application/json")
    assert answer.status_code == status, answer.content
    assert answer.json()["detail"].endswith((".", "?")) and kept() == 0


def test_observations__same_series_twice_at_once__are_refused(sender: Client) -> None:
    """Q-5: which of them would be the newer one?"""
    answer = push(sender, {"metric": "drawdown", "value": 0.1}, {"metric": "drawdown", "value": 0.2})
    assert answer.status_code == 422 and list(answer.json()["errors"]) == ["observations[1]"]


def test_observations__queue_is_full__are_taken_all_the_same(sender: Client, settings: Any) -> None:
    """AD-8: only alerts are refused; what these values begin is told when there is room."""
    from alerting.models import Gate

    Gate.objects.update(closed=True)
    a_rule(hook())
    assert push(sender, {"metric": "drawdown", "value": 0.1}).status_code == 202
    assert Event.objects.get().muted_by == "queue:full"


def test_observation__of_a_sender_whose_clock_runs_ahead__does_not_hide_the_next(sender: Client) -> None:
    """AL-2: what is told without a time or by a right clock comes after it, and several ahead keep their order."""
    a_rule(hook())
    now = timezone.now()
    push(
        sender,
        *(
            {"metric": "drawdown", "value": value, "at": (now + timedelta(seconds=ahead)).isoformat()}
            for value, ahead in ((0.03, 50), (0.02, 40), (0.01, 30))
        ),
    )
    assert Series.objects.get().last_value == 0.03
    push(sender, {"metric": "drawdown", "value": 0.5})
    assert Event.objects.get().state == "firing" and kept() == 4
    push(sender, {"metric": "drawdown", "value": 0.01, "at": timezone.now().isoformat()})
    assert Event.objects.get().state == "resolved"
