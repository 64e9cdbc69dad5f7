"""Who may fire a rule that trips the breaker by its name, and how a direct alert is traced (AL-5, AK-3)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from alerting.models import Delivery, Event, Rule
from apikeys.models import ApiKey
from tests.alerting.ruling import a_rule, an_external_rule
from tests.api.conftest import key_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _armed(db: None) -> None:
    Rule.objects.all().delete()
    a_rule(name="Drawdown limit", trips_breaker=True)


def post(user: Any, scopes: list[str], *alerts: dict[str, Any]) -> Any:
    sender = Client(raise_request_exception=False, headers={"Authorization": f"Bearer {key_of(user, scopes)}"})
    return sender.post("/api/v1/alerts", json.dumps({"alerts": list(alerts)}), "application/json")


@pytest.mark.parametrize("status", ["firing", "resolved"])
def test_armed_rule__named_with_a_key_that_may_only_send_alerts__is_refused(users: Any, status: str) -> None:
    """AL-5, AK-3: whose key may not trip the breaker must not do so by a rule's name; nothing of the batch is kept."""
    named = {"name": "anything", "rule": "drawdown LIMIT", "status": status}
    answer = post(users.operator, ["write:alerts"], {"name": "other"}, named)
    assert answer.status_code == 403 and answer.json()["scope"] == "write:circuit"
    assert "“Drawdown limit” trips" in answer.json()["detail"] and "“write:circuit”" in answer.json()["detail"]
    assert not Event.objects.exists() and not Delivery.objects.exists()


def test_armed_rule__named_with_a_key_that_may_trip__trips(users: Any) -> None:
    """AL-5."""
    answer = post(users.operator, ["write:alerts", "write:circuit"], {"name": "x", "rule": "Drawdown limit"})
    assert answer.status_code == 202, answer.content
    assert list(Delivery.objects.values_list("kind", flat=True)) == ["breaker"]


def test_armed_rule__about_alerts_from_outside__is_fired_by_what_fits_it(users: Any) -> None:
    """AL-5: that any such alert trips is what whoever armed it has decided."""
    an_external_rule(name="Venue", trips_breaker=True, labels={"venue": "XNAS"})
    answer = post(users.operator, ["write:alerts"], {"name": "x", "labels": {"venue": "XNAS"}})
    assert answer.status_code == 202 and Delivery.objects.get().kind == "breaker"


def test_direct_alert__is_kept__says_who_sent_it(users: Any) -> None:
    """AL-5, AK-9: owner and prefix, by which a trip can be traced; no sender can write that name."""
    answer = post(users.operator, ["write:alerts"], {"name": "x", "annotations": {"team": "desk"}})
    assert answer.status_code == 202
    prefix = ApiKey.objects.get().prefix
    assert Event.objects.get().annotations == {"team": "desk", "sent by": f"{users.operator.username} ({prefix})"}
    forged = {"name": "y", "annotations": {"sent by": "somebody else"}}
    assert post(users.operator, ["write:alerts"], forged).status_code == 422
