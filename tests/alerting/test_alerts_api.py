"""Alerts that services trigger themselves: `POST /api/v1/alerts` (AL-2, AL-3, Q-5)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from alerting import pressure
from alerting.models import Delivery, Episode, Event, Rule
from tests.alerting.ruling import a_rule, an_external_rule, hook
from tests.api.conftest import key_of

ADDRESS = "/api/v1/alerts"


@pytest.fixture
def sender(users: Any) -> Client:
    """A service with a key that may send alerts."""
    Rule.objects.all().delete()
    key = key_of(users.operator, ["write:alerts"])
    return Client(raise_request_exception=False, headers={"Authorization": f"Bearer {key}"})


def post(sender: Client, body: Any) -> Any:
    return sender.post(ADDRESS, json.dumps(body), "application/json")


def test_alert__rule_with_a_channel__event_and_delivery_are_kept(sender: Client) -> None:
    """AL-2, AD-2: what the answer names is in the database."""
    an_external_rule(hook())
    answer = post(sender, {"name": "Venue rejects", "severity": "critical", "labels": {"venue": "XNAS"}})
    assert answer.status_code == 202, answer.content
    event = Event.objects.get()
    assert answer.json() == {"accepted": 1, "events": [str(event.id)]}
    assert (event.state, event.severity, event.labels) == ("firing", 0, {"alertname": "Venue rejects", "venue": "XNAS"})
    assert event.summary == "Venue rejects · venue=XNAS"
    delivery = Delivery.objects.get()
    assert (delivery.event_id, delivery.kind, delivery.notice, delivery.priority) == (event.id, "webhook", "firing", 1)
    assert event.notified_at is not None


def test_alert__told_again_and_resolved__one_event_one_recovery(sender: Client) -> None:
    """AL-3: one event an episode; the same people hear that it is over."""
    an_external_rule(hook())
    body = {"name": "Venue rejects"}
    first = post(sender, body).json()
    assert post(sender, body).json() == first
    assert post(sender, {**body, "status": "resolved"}).json()["events"] == []
    assert Event.objects.get().state == "resolved" and not Episode.objects.exists()
    assert list(Delivery.objects.order_by("id").values_list("notice", flat=True)) == ["firing", "resolved"]
    assert post(sender, body).json() != first


def test_alerts__a_batch__is_taken_whole(sender: Client) -> None:
    """AL-2: the open events of all, each once."""
    an_external_rule(hook())
    answer = post(sender, {"alerts": [{"name": "a"}, {"name": "b", "alert_id": "b-1"}, {"name": "c", "value": 0.5}]})
    assert (answer.status_code, answer.json()["accepted"], len(answer.json()["events"])) == (202, 3, 3)
    assert Event.objects.get(labels__alertname="b").alert_id == "b-1"
    assert Event.objects.get(labels__alertname="c").value == 0.5


def test_alert__for_a_named_rule__only_that_one_fires(sender: Client) -> None:
    """AL-2: its name in any case; a rule about certain labels takes no others."""
    rule = a_rule(hook(), name="Desk drawdown", labels={"strategy": "momentum"})
    an_external_rule(hook(1))
    answer = post(sender, {"name": "Too much", "rule": "desk DRAWDOWN", "labels": {"strategy": "momentum"}})
    assert answer.status_code == 202, answer.content
    assert list(Event.objects.values_list("rule_id", flat=True)) == [rule.pk]
    answer = post(sender, {"name": "Too much", "rule": "Desk drawdown"})
    assert_objects(answer, "labels", "strategy=momentum")


def test_alert__text_with_a_key_or_an_address__is_masked(sender: Client) -> None:
    """AC-5, AK-9: what stands on pages and in messages."""
    key = "tp_live_" + "A" * 43
    post(sender, {"name": "a", "summary": f"Call bob@example.com with {key}", "labels": {"user": "bob@example.com"}})
    event = Event.objects.get()
    assert "bob@" not in event.summary + str(event.labels) and key not in event.summary
    assert event.labels["user"] == "***@example.com"


def assert_objects(answer: Any, field: str, words: str = "", status: int = 422) -> None:
    assert answer.status_code == status, answer.content
    body = answer.json()
    assert answer["Content-Type"] == "application/problem+json" and body["detail"].endswith((".", "?"))
    assert list(body["errors"]) == [field], body
    assert words in body["errors"][field][0]
    assert not Event.objects.exclude(state="firing").exists()


def deep(levels: int) -> Any:
    found: Any = 1
    for _ in range(levels):
        found = [found]
    return found


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "alerts"),
        ("text", "alerts"),
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": " "}, "name"),
        ({"name": 1}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"name": "a", "nmae": 1}, "nmae"),
        ({"name": "a", "status": "on"}, "status"),
        ({"name": "a", "status": []}, "status"),
        ({"name": "a", "severity": "page"}, "severity"),
        ({"name": "a", "severity": {}}, "severity"),
        ({"name": "a", "summary": "x" * 301}, "summary"),
        ({"name": "a", "labels": []}, "labels"),
        ({"name": "a", "labels": {"1a": "x"}}, "labels"),
        ({"name": "a", "labels": {"a-b": "x"}}, "labels"),
        ({"name": "a", "labels": {"é": "x"}}, "labels"),
        ({"name": "a", "labels": {"a" * 101: "x"}}, "labels"),
        ({"name": "a", "labels": {"b": 1}}, "labels.b"),
        ({"name": "a", "labels": {"b": "x" * 501}}, "labels.b"),
        ({"name": "a", "labels": {"b": "\x00"}}, "labels.b"),
        ({"name": "a", "labels": {f"l{n}": "x" for n in range(31)}}, "labels"),
        ({"name": "a", "labels": {"alertname": "b"}}, "labels.alertname"),
        ({"name": "a", "annotations": {"b": deep(3)}}, "annotations.b"),
        ({"name": "a", "rule": "nothing"}, "rule"),
        ({"name": "a", "rule": deep(2)}, "rule"),
        ({"name": "a", "rule": "switched off"}, "rule"),
        ({"name": "a", "rule": "mail bob@example.com"}, "rule"),
        ({"name": "a", "alert_id": "/"}, "alert_id"),
        ({"name": "a", "alert_id": "x" * 101}, "alert_id"),
        ({"name": "a", "alert_id": "bob@example.com"}, "alert_id"),
        ({"name": "a", "alert_id": 7}, "alert_id"),
        ({"name": "a", "triggered_at": "yesterday"}, "triggered_at"),
        ({"name": "a", "triggered_at": 1_700_000_000}, "triggered_at"),
        ({"name": "a", "triggered_at": "2026-01-01T00:00:00"}, "triggered_at"),
        ({"name": "a", "triggered_at": "2020-01-01T00:00:00Z"}, "triggered_at"),
        ({"name": "a", "triggered_at": "2220-01-01T00:00:00Z"}, "triggered_at"),
        ({"name": "a", "triggered_at": "0001-01-01T00:00:00+14:00"}, "triggered_at"),
        ({"name": "a", "triggered_at": "9999-12-31T23:59:59-14:00"}, "triggered_at"),
        ({"name": "a", "value": True}, "value"),
        ({"name": "a", "value": "1"}, "value"),
        ({"name": "a", "value": 10**400}, "value"),
        ({"name": "a", "generator_url": "javascript:alert(1)"}, "generator_url"),
        ({"alerts": []}, "alerts"),
        ({"alerts": {}}, "alerts"),
        ({"alerts": [1]}, "alerts[0]"),
        ({"alerts": [{"name": "a"}] * 1001}, "alerts"),
        ({"alerts": [{"name": "a"}, {"name": "b"}, {"name": "a"}]}, "alerts[2]"),
        ({"alerts": [{"name": "a"}, {"name": "b", "value": None}]}, "alerts[1].value"),
        ({"alerts": [{"name": "a"}], "name": "b"}, "name"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_alert__wrong__is_refused_whole_and_names_the_field(sender: Client, body: Any, field: str) -> None:
    """Q-5: a sentence, and nothing of the request is kept."""
    a_rule(name="Switched off", enabled=False)
    assert_objects(post(sender, body), field)
    assert not Event.objects.exists()


def test_alerts__queue_is_full__are_refused_with_503(sender: Client, settings: Any) -> None:
    """AD-8: Retry-After, a sentence, and nothing is kept."""
    from alerting.pressure import forget_depth

    an_external_rule(hook())
    settings.ALERT_QUEUE_FULL, settings.ALERT_QUEUE_RESUME = 2, 1
    forget_depth()
    post(sender, {"alerts": [{"name": "a"}, {"name": "b"}]})
    forget_depth()
    for address, body in (
        (ADDRESS, {"name": "c"}),
        ("/api/v2/alerts", [{"labels": {"alertname": "c"}}]),
        ("/api/v1/webhooks/grafana", {"alerts": [{"status": "firing", "labels": {"alertname": "c"}}]}),
    ):
        answer = sender.post(address, json.dumps(body), "application/json")
        assert (answer.status_code, answer["Retry-After"]) == (503, "60"), answer.content
        assert answer["Content-Type"] == "application/problem+json" and "waiting" in answer.json()["detail"]
    assert Event.objects.count() == 2
    forget_depth()


@pytest.mark.parametrize("address", [ADDRESS, "/api/v1/observations", "/api/v2/alerts", "/api/v1/webhooks/grafana"])
def test_key__without_the_scope__is_refused_before_anything_is_read(users: Any, address: str) -> None:
    """AK-3: and the answer names the scope."""
    key = key_of(users.operator, ["read:circuit"])
    answer = Client(headers={"Authorization": f"Bearer {key}"}).post(address, "{nonsense", "application/json")
    assert answer.status_code == 403 and "write:" in answer.json()["scope"]


def test_key__of_a_viewer__is_refused_though_it_has_the_scope(users: Any) -> None:
    """AK-3: a key has no more than its owner."""
    key = key_of(users.viewer, ["write:alerts"])
    answer = Client(headers={"Authorization": f"Bearer {key}"}).post(ADDRESS, '{"name": "a"}', "application/json")
    assert answer.status_code == 403 and "operator" in answer.json()["detail"]


def test_person__signed_in__may_send_one_with_the_csrf_token_only(users: Any) -> None:
    """AUTH-4, AL-2."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(users.operator, backend="opsportal.accounts.backends.CachedUserBackend")
    assert client.post(ADDRESS, '{"name": "a"}', "application/json").status_code == 403
    plain = Client()
    plain.force_login(users.operator, backend="opsportal.accounts.backends.CachedUserBackend")
    assert plain.post(ADDRESS, '{"name": "a"}', "application/json").status_code == 202


def test_alert__redis_is_away__is_taken_all_the_same(
    postgres_server: Any, redis_server: Any, sender: Client, users: Any
) -> None:
    """AD-2, Q-4: PostgreSQL holds what matters."""
    an_external_rule(hook())
    with redis_server.stopped():
        answer = post(sender, {"name": "Venue rejects"})
    assert answer.status_code == 202, answer.content
    assert Event.objects.count() == Delivery.objects.count() == 1


def test_alert__postgresql_is_away__is_refused_with_503(postgres_server: Any, sender: Client) -> None:
    """Q-4: what cannot be kept is not accepted."""
    with postgres_server.stopped():
        answer = post(sender, {"name": "Venue rejects"})
    assert answer.status_code == 503 and answer["Retry-After"]
    assert answer.json()["detail"].endswith(".")


def test_alerts__one_for_a_rule_and_one_for_all_with_the_same_labels__are_refused(sender: Client) -> None:
    """AL-3, Q-5: both would be one episode of that rule, and which of them comes later nobody can say."""
    an_external_rule(hook(), name="Venues")
    ended = {"name": "Venue rejects", "rule": "Venues", "status": "resolved"}
    for pair in ([ended, {"name": "Venue rejects"}], [{"name": "Venue rejects"}, ended]):
        assert_objects(post(sender, {"alerts": pair}), "alerts[1]", "“Venues”")
    assert not Event.objects.exists()
    a_rule(hook(1), name="Drawdown")  # alerts for all rules never reach this one
    apart = [{"name": "Venue rejects", "rule": "Drawdown"}, {"name": "Venue rejects"}]
    assert post(sender, {"alerts": apart}).status_code == 202


@pytest.mark.parametrize("address", ["javascript:alert(1)", "data:text/html,x", "wiki.example.com", "https://a b"])
def test_runbook__of_another_scheme__is_left_out(sender: Client, address: str) -> None:
    """AUTH-4: people are led to it; the text itself stays among the annotations."""
    an_external_rule(hook())
    assert post(sender, {"name": "a", "annotations": {"runbook_url": address}}).status_code == 202
    assert Event.objects.get().runbook_url == ""


def test_alerts__queue_is_full__only_new_ones_are_refused(sender: Client, settings: Any) -> None:
    """AD-8: what ends, or fires already, makes no new alert; a request that holds a new one is refused whole."""
    an_external_rule(hook())
    post(sender, {"alerts": [{"name": "a"}, {"name": "b"}]})
    settings.ALERT_QUEUE_FULL, settings.ALERT_QUEUE_RESUME = 1, 1
    pressure.forget_depth()
    answer = post(sender, {"alerts": [{"name": "a", "status": "resolved"}, {"name": "c"}]})
    assert (answer.status_code, answer["Retry-After"]) == (503, "60") and Event.objects.count() == 2
    assert not Event.objects.filter(state="resolved").exists()
    assert post(sender, {"alerts": [{"name": "a", "status": "resolved"}, {"name": "b"}]}).status_code == 202
    assert Event.objects.get(state="resolved").labels == {"alertname": "a"}
    assert post(sender, {"name": ""}).status_code == 422
