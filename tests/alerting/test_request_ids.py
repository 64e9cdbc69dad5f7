"""One id from the request to the provider, and in the log of what became of it (SLA-5)."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from django.test import Client

from alerting.channels.opening import forget_channels
from alerting.models import Delivery, Rule, Status
from tests.alerting.outgoing import make_webhook
from tests.alerting.providers import steps
from tests.alerting.ruling import an_external_rule
from tests.alerting.sending_out import all_are, dispatching
from tests.api.conftest import key_of
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)
ID = "desk-4711"


@pytest.fixture
def sender(users: Any, providers: Any) -> Client:
    """A service whose requests have this id; its alerts go to the provider's webhook."""
    forget_channels()
    Rule.objects.all().delete()
    an_external_rule(make_webhook(providers.webhook.url), notify_resolved=True)
    key = key_of(users.operator, ["write:alerts"])
    return Client(headers={"Authorization": f"Bearer {key}", "X-Request-ID": ID})


def _post(sender: Client, **body: str) -> None:
    answer = sender.post("/api/v1/alerts", json.dumps({"name": "Disk full", **body}), "application/json")
    assert answer.status_code == 202, answer.content


def _lines(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    return [{"level": record.levelname, **vars(record)} for record in caplog.records if record.msg == event]


def test_request_id__of_an_alert__goes_to_the_receiver_with_all_of_its_messages(sender: Client, providers: Any) -> None:
    """SLA-5: of the alarm and of the recovery, each that of its own request."""
    _post(sender)
    sender.defaults["HTTP_X_REQUEST_ID"] = f"{ID}-over"
    _post(sender, status="resolved")
    with dispatching():
        until(all_are(Status.DELIVERED))
    told = [(request.json["notice"], request.headers["x-request-id"]) for request in providers.webhook.received]
    assert told == [("firing", ID), ("resolved", f"{ID}-over")]


def test_request_id__attempts_fail__is_in_a_line_of_each_and_of_the_poison(
    sender: Client, providers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """SLA-5, AD-4: what failed, how, and for whose request; no address, no name."""
    providers.webhook.script(steps.says(500), steps.says(404))
    _post(sender)
    with dispatching():
        until(all_are(Status.POISON))
    number = Delivery.objects.get().pk
    wanted = ("level", "delivery", "channel", "attempt", "outcome", "request_id")
    assert [tuple(line[name] for name in wanted) for line in _lines(caplog, "alert_attempt")] == [
        ("WARNING", number, "webhook", 1, "transient", ID),
        ("WARNING", number, "webhook", 2, "permanent", ID),
    ]
    (poison,) = _lines(caplog, "alert_poisoned")
    assert tuple(poison[name] for name in wanted) == ("WARNING", number, "webhook", 2, "permanent", ID)


@pytest.mark.parametrize(("level", "lines"), [(logging.DEBUG, 1), (logging.INFO, 0)])
def test_request_id__delivered__is_in_a_line_for_who_debugs(
    sender: Client, caplog: pytest.LogCaptureFixture, level: int, lines: int
) -> None:
    """SLA-5: of what goes well there is too much to tell each."""
    caplog.set_level(level, "alerting.results")
    _post(sender)
    with dispatching():
        until(all_are(Status.DELIVERED))
    assert [line["request_id"] for line in _lines(caplog, "alert_attempt")] == [ID] * lines
