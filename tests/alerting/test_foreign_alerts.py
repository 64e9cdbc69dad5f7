"""Prometheus, Alertmanager and Grafana at their doors (AL-4), with what they really send."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from alerting import pressure, upkeep
from alerting.models import Delivery, Episode, Event, Rule
from tests.alerting.ruling import an_external_rule, hook
from tests.api.conftest import key_of

V2, ALERTMANAGER, GRAFANA = "/api/v2/alerts", "/api/v1/webhooks/alertmanager", "/api/v1/webhooks/grafana"
NEVER = "0001-01-01T00:00:00Z"


@pytest.fixture
def sender(users: Any) -> Client:
    """Another alerting system with a key."""
    pressure.forget_depth()
    Rule.objects.all().delete()
    an_external_rule(hook())
    key = key_of(users.operator, ["write:alerts"])
    return Client(raise_request_exception=False, headers={"Authorization": f"Bearer {key}"})


def post(sender: Client, address: str, body: Any) -> Any:
    return sender.post(address, json.dumps(body), "application/json")


def posted(minutes: float, **labels: str) -> dict[str, Any]:
    """An alert as Prometheus posts it, which fires for so many minutes more; nanoseconds included."""
    now = timezone.now()
    return {
        "annotations": {"summary": "The disk is full"},
        "endsAt": f"{now + timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%S.%f}123Z",
        "startsAt": f"{now - timedelta(minutes=2):%Y-%m-%dT%H:%M:%S.%f}456Z",
        "generatorURL": "http://prometheus:9090/graph?g0.expr=disk+%3E+0.9&g0.tab=1",
        "labels": {"alertname": "DiskFull", "severity": "page", "instance": "db1:9100", **labels},
    }


def notified(status: str = "firing", **more: Any) -> dict[str, Any]:
    """A notification of Alertmanager, version 4."""
    alert = {
        "status": status,
        "labels": {"alertname": "ProbeFailure", "severity": "warning"},
        "annotations": {"description": "down for 5 minutes", "runbook_url": "https://wiki.example.com/probe"},
        "startsAt": "2023-02-06T13:08:45.828Z",
        "endsAt": NEVER if status == "firing" else "2023-02-06T14:08:45.828Z",
        "generatorURL": "http://prometheus.example.org:9090/graph?g0.expr=up",
        "fingerprint": "1a30ba71cca2921f",
        **more,
    }
    return {
        "receiver": "portal", "status": status, "alerts": [alert], "groupLabels": {"alertname": "ProbeFailure"},
        "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://alertmanager:9093", "version": "4",
        "groupKey": '{}/{severity="warning"}:{alertname="ProbeFailure"}', "truncatedAlerts": 0,
    }  # fmt: skip


def test_prometheus__fires_repeats_and_resolves__one_event(sender: Client) -> None:
    """AL-4: 200 with an empty body, each minute; resolved when endsAt has come."""
    for minutes in (4, 4, 4, 0):
        answer = post(sender, V2, [posted(minutes)])
        assert (answer.status_code, answer.content) == (200, b""), answer.content
    event = Event.objects.get()
    assert (event.state, event.severity, event.summary, event.origin) == (
        "resolved", 0, "The disk is full", "prometheus",
    )  # fmt: skip
    assert event.generator_url.startswith("http://prometheus:9090/graph") and not Episode.objects.exists()
    assert Delivery.objects.count() == 2


def test_prometheus__falls_silent__its_alert_ends_by_itself(sender: Client) -> None:
    """AL-4: at the endsAt that was told last, or after five minutes where none was."""
    alert = posted(4)
    post(sender, V2, [alert, {"labels": {"alertname": "No end"}}])
    now = timezone.now()
    assert upkeep.expire(now + timedelta(minutes=3)) == 0
    assert upkeep.expire(now + timedelta(minutes=4, seconds=5)) == 1
    assert upkeep.expire(now + timedelta(minutes=5, seconds=5)) == 1


def test_prometheus__alert_that_fires_for_days__is_triggered_now(sender: Client) -> None:
    """AD-11: when the portal is told of it first."""
    post(sender, V2, [{**posted(4), "startsAt": "2023-02-06T13:08:45.828Z"}])
    event = Event.objects.get()
    assert event.triggered_at is not None and timezone.now() - event.triggered_at < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "alerts"),
        (7, "alerts"),
        ([{"labels": {}}], "[0].labels"),
        ([{}], "[0].labels"),
        (["text"], "[0]"),
        ([{"labels": {"a": 1}}], "[0].labels.a"),
        ([{"labels": {"a": "b"}, "startsAt": "soon"}], "[0].startsAt"),
        ([{"labels": {"a": "b"}, "endsAt": 12}], "[0].endsAt"),
        ([{"labels": {"a": "b"}, "annotations": []}], "[0].annotations"),
        ([{"labels": {f"l{number}": "x" for number in range(65)}}], "[0].labels"),
        ([{"labels": {"x" * 101: "x"}}], "[0].labels"),
        ([{"labels": {"a": "b"}}] * 1001, "alerts"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_prometheus__what_cannot_be_read__is_400_as_alertmanager_has_it(sender: Client, body: Any, named: str) -> None:
    """AL-4, Q-5."""
    answer = post(sender, V2, body)
    assert answer.status_code == 400 and list(answer.json()["errors"]) == [named], answer.content
    assert not Event.objects.exists()


def test_prometheus__one_alert_cannot_be_read__the_others_are_taken(sender: Client) -> None:
    """AL-4: Prometheus does not correct itself; the answer says what was kept."""
    answer = post(sender, V2, [posted(4), {"labels": {}}, posted(4, instance="db2:9100")])
    assert answer.status_code == 400 and "The other 2 were taken." in answer.json()["detail"]
    assert Event.objects.count() == 2


def test_prometheus__newer_label_names_and_long_texts__are_taken(sender: Client) -> None:
    """AL-4: names with dots; texts are cut."""
    alert = posted(4, **{"k8s.pod": "api-1", "long": "x" * 600})
    alert["annotations"] = {"summary": "y" * 5_000}
    assert post(sender, V2, [alert]).status_code == 200
    event = Event.objects.get()
    assert (event.labels["k8s.pod"], len(event.labels["long"]), len(event.summary)) == ("api-1", 500, 300)


def test_prometheus__nothing_fires__is_taken(sender: Client) -> None:
    """AL-4: an empty list is no mistake."""
    assert post(sender, V2, []).status_code == 200


def test_alertmanager__notification__fires_and_resolves(sender: Client) -> None:
    """AL-4: no end of its own, so that only Alertmanager ends it."""
    assert post(sender, ALERTMANAGER, notified()).status_code == 200
    event = Event.objects.get()
    assert (event.state, event.severity, event.origin) == ("firing", 1, "alertmanager")
    assert (event.summary, event.runbook_url) == ("down for 5 minutes", "https://wiki.example.com/probe")
    assert Episode.objects.get().expires_at is None
    assert post(sender, ALERTMANAGER, notified("resolved")).status_code == 200
    event.refresh_from_db()
    assert event.state == "resolved"


def test_grafana__notification__tells_its_only_value(sender: Client) -> None:
    """AL-4: Grafana's form is Alertmanager's and more."""
    body = notified(
        startsAt="2021-10-12T09:51:03.157076+02:00", values={"B": 44.2}, valueString="[ value=44.2 ]", silenceURL="",
        dashboardURL="", panelURL="",
    ) | {"version": "1", "orgId": 1, "title": "[FIRING:1]", "state": "alerting", "message": "**Firing**"}  # fmt: skip
    assert post(sender, GRAFANA, body).status_code == 200
    event = Event.objects.get()
    assert (event.origin, event.value) == ("grafana", 44.2)


@pytest.mark.parametrize("address", [ALERTMANAGER, GRAFANA])
@pytest.mark.parametrize(
    "body",
    [{}, [], {"alerts": {}}, {"alerts": [7]}, {"alerts": [{"labels": {"a": "b"}}]},
     {"alerts": [{"status": "on", "labels": {"a": "b"}}]}, {"alerts": [{"status": "firing", "labels": "x"}]},
     {"alerts": [{"status": ["firing"], "labels": {"a": "b"}}]}],
    ids=str,
)  # fmt: skip
def test_webhook__what_cannot_be_read__is_400(sender: Client, address: str, body: Any) -> None:
    """AL-4, Q-5."""
    answer = post(sender, address, body)
    assert answer.status_code == 400 and answer.json()["errors"], answer.content


@pytest.mark.parametrize("values", [None, [], {}, {"A": "1"}, {"A": True}, {"A": 1, "B": 2}, {"A": 10**400}])
def test_grafana__values_that_say_nothing__do_no_harm(sender: Client, values: Any) -> None:
    """Q-5."""
    assert post(sender, GRAFANA, notified(values=values)).status_code == 200


def test_generator__of_another_scheme__is_left_out(sender: Client) -> None:
    """AUTH-4: people may be led to it."""
    post(sender, ALERTMANAGER, notified(generatorURL="javascript:alert(1)"))
    assert Event.objects.get().generator_url == ""


def test_queue_full__what_is_known_is_prolonged_and_resolved__what_is_new_is_refused(
    sender: Client, settings: Any
) -> None:
    """AD-8, AL-4: an alert that fires on is not a new one; refused, it would end as if nobody told of it."""
    post(sender, V2, [posted(4), posted(4, instance="db2:9100")])
    settings.ALERT_QUEUE_FULL, settings.ALERT_QUEUE_RESUME = 2, 1
    pressure.forget_depth()
    first = timezone.now() + timedelta(minutes=4)
    assert post(sender, V2, [posted(4), posted(0, instance="db2:9100")]).status_code == 200
    second = timezone.now() + timedelta(minutes=4)
    assert Episode.objects.filter(expires_at__gt=first).exists()
    answer = post(sender, V2, [posted(4), posted(4, instance="db3:9100")])
    assert (answer.status_code, answer["Retry-After"]) == (503, "60"), answer.content
    assert "open already" in answer.json()["detail"]
    assert Event.objects.count() == 2 and Episode.objects.filter(expires_at__gt=second).count() == 1


def test_labels__alike_once_they_are_masked__are_two_alerts(sender: Client) -> None:
    """AC-5, AL-3: what is masked still tells one alert from another; one that ends does not end the other."""
    anna, bob = {"user": "anna@example.com"}, {"user": "bob@example.com"}
    post(sender, V2, [posted(4, **anna), posted(0, **bob)])
    assert Event.objects.get().state == "firing"
    post(sender, V2, [posted(4, **bob)])
    assert list(Event.objects.values_list("labels__user", "state")) == [("***@example.com", "firing")] * 2
    post(sender, V2, [posted(0, **anna)])
    assert sorted(Event.objects.values_list("state", flat=True)) == ["firing", "resolved"]
    assert Episode.objects.count() == 1
