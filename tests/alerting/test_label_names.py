"""Names of labels: what comes in by any door can be matched, and no secret is kept as a name (AL-1, AL-4, AL-7, AC-5)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from alerting.draft import InvalidFields, drafted
from alerting.forms.fields import LabelsField, labels_text
from alerting.models import Event, Series
from alerting.services.rules import create_rule
from alerting.services.silences import create_silence
from tests.alerting.ruling import an_external_rule, hook
from tests.desk import DESK

pytestmark = pytest.mark.django_db

KEY = "tp_live_" + "A" * 43
#: As Prometheus 3 and OpenTelemetry have them, and the oddest ones that it takes.
NAMES = ["service.name", "k8s.pod/name", "größe", "a=b", "=", 'a"b"', " padded ", "two words", "1st"]


def post(sender: Client, address: str, body: Any) -> Any:
    return sender.post(address, json.dumps(body), "application/json")


def wanted(name: str) -> dict[str, Any]:
    return {
        "name": "Odd", "metric": "external_alert", "comparison": "gte", "threshold": 1.0, "channels": (hook().pk,),
        "labels": {name: "orders"},
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_label__of_any_name_that_prometheus_has__is_matched_by_rule_and_silence(sender: Client, name: str) -> None:
    """AL-1, AL-4, AL-7: through the text of the form, which holds it as it is."""
    labels = LabelsField().clean(labels_text({name: "orders", "plain": "x=y"}))
    assert labels == {name: "orders", "plain": "x=y"}
    create_rule(by=DESK, values=wanted(name))
    now = timezone.now()
    silenced = {"labels": {name: "orders"}, "reason": "Being mended.", "ends_at": now + timedelta(hours=1)}
    silence = create_silence(by=DESK, values=silenced)
    assert post(sender, "/api/v2/alerts", [{"labels": {"alertname": "x", name: "orders"}}]).status_code == 200
    event = Event.objects.get()
    assert (event.rule_name, event.muted_by) == ("Odd", f"silence:{silence.pk}")


@pytest.mark.parametrize("name", ["", "x" * 101, "a\nb", "a\x00b", KEY, "bob@example.com"])
def test_label__of_a_name_that_no_door_keeps__is_refused_in_a_rule(db: None, name: str) -> None:
    """AL-1, AC-5: such a rule would never fire, or show a secret in lists."""
    with pytest.raises(InvalidFields) as refusal:
        drafted({**wanted(name), "channels": ()})
    assert refusal.value.field == "labels" and (not name or name not in refusal.value.sentence)


def test_label__whose_name_is_a_secret_or_an_address__is_masked(sender: Client) -> None:
    """AC-5, AK-9: at every door, in labels and in annotations; what is refused is not shown in full either."""
    an_external_rule(hook())
    labels = {"alertname": "x", "bob@example.com": "1"}
    assert post(sender, "/api/v2/alerts", [{"labels": labels, "annotations": {KEY: "y"}}]).status_code == 200
    direct = {"name": "k", "labels": {KEY: "1"}, "annotations": {KEY: "2"}}
    assert post(sender, "/api/v1/alerts", direct).status_code == 202
    value = {"metric": "latency", "value": 1, "labels": {KEY: "1"}}
    assert post(sender, "/api/v1/observations", {"observations": [value]}).status_code == 202
    kept = [str(vars(row)) for row in (*Event.objects.all(), *Series.objects.all())]
    assert len(kept) == 3 and not any(KEY in text or "bob" in text for text in kept)
    assert Event.objects.get(labels__has_key="***@example.com")
    for body in ({"name": "k", KEY: "1"}, {"name": "k", "labels": {KEY: 1}}):
        answer = post(sender, "/api/v1/alerts", body)
        assert answer.status_code == 422 and KEY not in answer.content.decode()


def test_labels__alike_once_their_names_are_masked__are_two_alerts(sender: Client) -> None:
    """AL-3, AC-5."""
    an_external_rule(hook())
    for name in ("anna@example.com", "bob@example.com"):
        post(sender, "/api/v2/alerts", [{"labels": {"alertname": "x", name: "1"}}])
    assert Event.objects.filter(state="firing").count() == 2
