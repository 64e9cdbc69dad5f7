"""The link in a message: signed, good once, for a day; a GET changes nothing (AL-6)."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core import signing
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from freezegun import freeze_time

from alerting import links
from alerting.models import Delivery, Event, EventState, Notice, Status
from alerting.services import events as services
from opsportal.accounts.actors import Actor
from opsportal.audit.models import Entry
from opsportal.observability.sanitise import mask_text
from tests.alerting.operating import ADDRESS, SHOWN, a_message, an_alert, mail_channel

HOST = "https://portal.example.com"


@pytest.fixture
def message(db: None, settings: Any) -> Delivery:
    """A message about a critical alert that was sent."""
    settings.PUBLIC_URL = HOST
    event = an_alert(severity=0, summary="Drawdown 7 % · strategy=momentum", rule_name="Momentum")
    return a_message(event, mail_channel(), status=Status.DELIVERED, finished_at=timezone.now())


def path_of(delivery: Delivery) -> str:
    """The link's address on the portal."""
    return links.acknowledgement_url(delivery.pk, delivery.hour_bucket).removeprefix(HOST)


def event_of(delivery: Delivery) -> Event:
    return Event.objects.get(pk=delivery.event_id)


def test_links__public_url__is_what_they_begin_with(message: Delivery, settings: Any) -> None:
    """AL-6: without one there are no links."""
    url = links.acknowledgement_url(message.pk, message.hour_bucket)
    assert url.startswith(f"{HOST}/ack/{message.pk}-") and url.endswith("/") and ":" not in url.removeprefix(HOST)
    assert links.event_url(message.event_id, message.event_started_at) == (
        f"{HOST}/admin/alerting/events/{message.event_id}/"
    )
    assert links.open_link(url.split("/")[-2]) == links.Link(message.pk, message.hour_bucket)
    settings.PUBLIC_URL = ""
    assert links.acknowledgement_url(message.pk, message.hour_bucket) == ""
    assert links.event_url(message.event_id, message.event_started_at) == ""


@pytest.mark.parametrize("method", ["get", "head"])
def test_link__followed__shows_what_the_message_said_and_changes_nothing(message: Delivery, method: str) -> None:
    """AL-6: mail scanners follow links. No cookie, no cache, no referrer, no address."""
    with CaptureQueriesContext(connection) as queries:
        answer = getattr(Client(), method)(path_of(message))
    assert answer.status_code == 200 and not answer.cookies
    assert (answer["Cache-Control"], answer["Referrer-Policy"]) == ("no-store", "no-referrer")
    assert answer["X-Robots-Tag"] == "noindex, nofollow" and "script-src 'self'" in answer["Content-Security-Policy"]
    assert event_of(message).state == EventState.FIRING
    assert Delivery.objects.get(pk=message.pk).link_used_at is None
    assert not [query for query in queries if query["sql"].startswith(("UPDATE", "INSERT"))]
    if method == "get":
        html = answer.content.decode()
        assert "Drawdown 7 %" in html and "Momentum" in html and "critical" in html
        assert ADDRESS not in html and SHOWN not in html and "<nav" not in html and "csrf" not in html


def test_link__posted__takes_it_up_in_the_name_of_the_message(message: Delivery) -> None:
    """AL-6, AU-1, AC-5: who (masked), when, note; the audit log knows that it was a link. No CSRF token is needed."""
    client = Client(enforce_csrf_checks=True)
    answer = client.post(path_of(message), {"note": "Bert here, on it"})
    assert answer.status_code == 200 and "Acknowledged" in answer.content.decode()
    event = event_of(message)
    assert event.state == EventState.ACKNOWLEDGED and event.acknowledgment_note == "Bert here, on it"
    assert event.acknowledged_by == "link sent to ***@example.com (email)"
    entry = Entry.objects.get(event="alert_acknowledge")
    assert (entry.source, entry.actor_label, entry.actor_id) == ("link", event.acknowledged_by, None)
    assert entry.additional_data["delivery"] == message.pk and ADDRESS not in str(entry.additional_data)


def test_link__used__is_good_no_more(message: Delivery) -> None:
    """AL-6: single use, also after the event has fired anew."""
    path = path_of(message)
    Client().post(path)
    Event.objects.filter(pk=message.event_id).update(state=EventState.FIRING)
    shown, posted = Client().get(path), Client().post(path)
    assert shown.status_code == 410 and "used already" in shown.content.decode()
    assert posted.status_code == 409 and "used already" in posted.content.decode()
    assert Entry.objects.filter(event="alert_acknowledge").count() == 1


def test_link__two_messages_of_one_event__the_second_is_told(users: Any, message: Delivery) -> None:
    """AL-6: taken up already; the second link is not used up, and nobody is named."""
    second = a_message(event_of(message), mail_channel("other"), "bert@example.com")
    Client().post(path_of(message), {"note": "secret note of mine"})
    answer = Client().get(path_of(second))
    html = answer.content.decode()
    assert answer.status_code == 200 and "Acknowledged already" in html and "<form" not in html
    assert "secret note" not in html and "link sent to" not in html
    assert Client().post(path_of(second)).status_code == 409
    assert Delivery.objects.get(pk=second.pk).link_used_at is None


def test_link__taken_up_by_a_person__names_nobody(users: Any, message: Delivery) -> None:
    """AL-6: the page tells no more than the message did."""
    services.acknowledge_event(event_of(message), by=Actor.of(users.operator), note="internal")
    for answer in (Client().get(path_of(message)), Client().post(path_of(message))):
        html = answer.content.decode()
        assert "Acknowledged already" in html and users.operator.username not in html and "internal" not in html


def test_link__event_is_over__says_so(message: Delivery) -> None:
    """AL-6: nothing left to do."""
    Event.objects.filter(pk=message.event_id).update(state=EventState.RESOLVED, resolved_at=timezone.now())
    shown, posted = Client().get(path_of(message)), Client().post(path_of(message))
    assert shown.status_code == 200 and "It is over" in shown.content.decode()
    assert posted.status_code == 409 and "It is over" in posted.content.decode()
    assert Delivery.objects.get(pk=message.pk).link_used_at is None


def test_link__older_than_a_day__is_refused(message: Delivery) -> None:
    """AL-6: 24 hours from the message on."""
    path = path_of(message)
    with freeze_time(timezone.now() + timedelta(hours=23, minutes=59)):
        assert Client().get(path).status_code == 200
    with freeze_time(timezone.now() + timedelta(hours=24, minutes=1)):
        for answer in (Client().get(path), Client().post(path)):
            assert answer.status_code == 410 and "too old" in answer.content.decode()
    assert event_of(message).state == EventState.FIRING


def _signed(payload: str) -> str:
    return f"/ack/{links._signer.sign(payload)}/"


def test_link__made_up_or_changed__costs_no_query(message: Delivery) -> None:
    """AL-6: refused before anything is asked; the answer says what to do."""
    good = path_of(message)
    other = signing.TimestampSigner(salt="something else", sep=".").sign(f"{message.pk}-1")
    wrong = [
        "/ack/x/", "/ack/1-2/", "/ack/...../", f"/ack/{'a' * 5000}/", "/ack/%00/", "/ack/%ff%fe/", "/ack/ü/", good[:-4] + "xxx/",
        good.replace(f"/{message.pk}-", f"/{message.pk + 1}-"), f"/ack/{other}/",
        _signed("x"), _signed("1-2-3"), _signed(f"{'9' * 30}-1"), _signed("1-99999999"), _signed("-1-1"), _signed("١-1"),
    ]  # fmt: skip
    client = Client(raise_request_exception=True)
    with CaptureQueriesContext(connection) as queries:
        for path in wrong:
            for answer in (client.get(path), client.post(path)):
                assert answer.status_code == 404, path
                assert "not complete" in answer.content.decode(), path
    assert len(queries) == 0
    assert event_of(message).state == EventState.FIRING


def test_link__of_a_message_that_is_gone_or_no_alarm__leads_nowhere(message: Delivery) -> None:
    """AL-6: signed by us, and still nothing: 410. The greatest number and hour there can be break nothing."""
    recovery = a_message(event_of(message), mail_channel("b"), notice=Notice.RESOLVED)
    for path in (path_of(recovery), _signed("999999999999999999-9999999"), _signed("0-0")):
        for answer in (Client().get(path), Client().post(path)):
            assert answer.status_code in (409, 410) and "not kept any more" in answer.content.decode(), path
    assert event_of(message).state == EventState.FIRING


@pytest.mark.parametrize("note", ["a\x00b", "x" * 1_001])
def test_link__note_that_cannot_be_kept__is_asked_for_again(message: Delivery, note: str) -> None:
    """Q-5: the link is not used up by a slip."""
    answer = Client().post(path_of(message), {"note": note})
    html = answer.content.decode()
    assert answer.status_code == 422 and 'aria-invalid="true"' in html and "Nothing was changed" in html
    assert Client().post(path_of(message), {"note": "short"}).status_code == 200


def test_link__in_the_log__is_masked(message: Delivery, caplog: pytest.LogCaptureFixture) -> None:
    """AC-5: whoever reads the log cannot acknowledge."""
    path = path_of(message)
    token = path.split("/")[2]
    with caplog.at_level(logging.DEBUG):
        Client().get(path)
        Client().get(path + "x")
    told = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert "/ack/***" in told and token not in told and token[-20:] not in told
    assert mask_text(f"GET {HOST}{path} 200") == f"GET {HOST}/ack/***/ 200"
    assert mask_text("/ack/***/") == "/ack/***/" and mask_text("an /ack/ of it") == "an /ack/ of it"


@pytest.mark.django_db(transaction=True)
def test_link__posted_many_times_at_once__is_used_once(settings: Any) -> None:
    """AL-6: an impatient thumb, or a proxy that repeats."""
    settings.PUBLIC_URL = HOST
    path = path_of(a_message(an_alert(), mail_channel()))
    codes: list[int] = []
    start = threading.Barrier(6)

    def press() -> None:
        start.wait(20)
        try:
            codes.append(Client().post(path).status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=press) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(codes) == [200] + [409] * 5
    assert Entry.objects.filter(event="alert_acknowledge").count() == 1


def test_link__postgresql_stopped__says_so_and_is_not_used(settings: Any, postgres_server: Any) -> None:
    """Q-4: a plain 503; the link works afterwards."""
    settings.PUBLIC_URL = HOST
    path = path_of(a_message(an_alert(), mail_channel()))
    with postgres_server.stopped():
        assert Client().get(path).status_code == 503
        assert Client().post(path).status_code == 503
    connection.close()  # as Django does before each request, but for its own test client
    assert Client().post(path).status_code == 200
