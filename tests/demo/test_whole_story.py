"""From a reading of the demo to the message in its inbox and the link in it: every part is the real one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_network
from random import Random

import pytest
import redis as redis_client
from django.test import Client
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from alerting.dispatching import Dispatcher
from alerting.models import Event, EventState, Rule, Series
from opsportal.demo.addresses import Addresses
from opsportal.demo.inbox import newest
from opsportal.demo.key_making import ensure_key
from opsportal.demo.keyfile import keyfile_beside
from opsportal.demo.pushing import Pusher
from opsportal.demo.readings import Readings
from opsportal.demo.roster import BY_NAME
from opsportal.demo.seeding import seed_alerting
from tests.demo.conftest import Demo
from tests.waiting import until


@pytest.fixture
def furnished(transactional_db: None, quiet_demo: Demo, live_server: LiveServer, settings: Settings) -> Demo:
    """A demo whose world outside runs, with key, channels and rules; slow orders are told at once."""
    settings.ALERT_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
    settings.PUBLIC_URL = live_server.url
    ensure_key(keyfile_beside(quiet_demo.addresses))
    assert seed_alerting(Addresses(quiet_demo.addresses)) == []
    Rule.objects.filter(name="Orders are slow").update(for_seconds=0)
    return quiet_demo


@pytest.fixture
def pusher(furnished: Demo, live_server: LiveServer) -> Iterator[Pusher]:
    """Pushes to the running portal."""
    pushes = Pusher(live_server.url, keyfile_beside(furnished.addresses), on_refused=lambda: pytest.fail("refused"))
    yield pushes
    pushes.stop()


@pytest.fixture
def dispatcher(furnished: Demo) -> Iterator[None]:
    """What the process `alerts` runs."""
    sending = Dispatcher(threads=4)
    sending.start()
    yield
    sending.stop()


@pytest.mark.usefixtures("dispatcher")
def test_slow_orders__pushed__are_told_by_mail_and_taken_up_by_its_link(
    pusher: Pusher, redis: redis_client.Redis, client: Client
) -> None:
    """RUN-3, AL-2, AL-6, AD-1: an operator sees the alert, reads the message, and acknowledges it."""
    readings = Readings(chance=Random(1), start=0.0, pace=0.0)
    everything = frozenset(BY_NAME)
    assert pusher.post(readings.batch(1.0, halted=False, running=everything)) == 202
    assert Series.objects.count() > 20 and not Event.objects.filter(rule_name="Orders are slow").exists()
    readings.provoke("latency", "orders", 1.0)
    assert pusher.post(readings.batch(2.0, halted=False, running=everything)) == 202

    told = until(lambda: [letter for letter in newest(redis, "email") if "orders" in letter.text])
    until(lambda: newest(redis, "slack") and newest(redis, "webhook"))
    assert {letter.to for letter in told} <= {"desk@demo.example", "oncall@demo.example"}
    link = re.search(r"https?://\S+(/ack/\S+)", told[0].text)
    assert link is not None
    assert client.get(link.group(1)).status_code == 200
    assert client.post(link.group(1)).status_code in (200, 302)
    event = Event.objects.get(rule_name="Orders are slow")
    assert event.state == EventState.ACKNOWLEDGED

    readings.heal("orders")
    assert pusher.post(readings.batch(3.0, halted=False, running=everything)) == 202
    event.refresh_from_db()
    assert event.state == EventState.RESOLVED
    until(lambda: any("RESOLVED" in letter.subject for letter in newest(redis, "email")))
