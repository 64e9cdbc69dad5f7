"""The channels and rules that are made for the demo: once, then left as people want them."""

from __future__ import annotations

import json
import stat
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from alerting.channels.opening import open_row, recipients_of
from alerting.models import Channel, Rule
from alerting.services import channels as channel_services
from alerting.services import rules as rule_services
from opsportal.demo import providers
from opsportal.demo.addresses import Addresses
from opsportal.demo.key_making import ensure_key
from opsportal.demo.roster import LISTENERS, MAIL, PROVIDERS
from opsportal.demo.seeding import DESK_MAIL, DESK_SLACK, OPS_WEBHOOK, RULES, TOLD, seed_alerting, seeded_beside
from opsportal.secrets import keyring
from tests.desk import DESK


@pytest.fixture
def addresses(db: None, tmp_path: Path, settings: Any) -> Addresses:
    """Ports for all of it, and the demo's user, as at a first start."""
    settings.ALERT_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
    chosen = Addresses(tmp_path / "demo.json")
    chosen.choose(LISTENERS)
    ensure_key(tmp_path / "demo-key.json")
    return chosen


def where(name: str) -> Any:
    return open_row(Channel.objects.get(name=name)).settings


def test_seed__first_start__channels_to_the_outside_world_and_rules_that_use_them(addresses: Addresses) -> None:
    """RUN-3: mail, Slack, SMS and webhook, all to what the demo itself runs."""
    assert seed_alerting(addresses) == []
    assert where(DESK_MAIL).smtp_port == addresses[MAIL]
    slack = f"{addresses.url(PROVIDERS)}{providers.SLACK_PATHS['#trading-desk']}"
    assert where(DESK_SLACK).url.get_secret_value() == slack
    assert {channel.kind for channel in Channel.objects.all()} == {"email", "slack", "sms", "webhook"}
    for channel in Channel.objects.all():
        assert all(recipient.address not in json.dumps(channel.shown) for recipient in recipients_of(channel))
    slow = Rule.objects.get(name="Orders are slow")
    assert {channel.name for channel in slow.channels.all()} == set(RULES[0][1])
    for rule in Rule.objects.filter(metric__in=TOLD):
        assert rule.channels.exists(), rule.name
    assert stat.S_IMODE(seeded_beside(addresses.path).stat().st_mode) == 0o600


def test_seed__again__changes_nothing(addresses: Addresses) -> None:
    """RUN-1: each start runs it."""
    seed_alerting(addresses)
    before = list(Channel.objects.values()), list(Rule.objects.values())
    assert seed_alerting(addresses) == []
    assert (list(Channel.objects.values()), list(Rule.objects.values())) == before


def test_seed__ports_moved__channels_follow_and_keep_what_people_changed(addresses: Addresses) -> None:
    """RUN-3: also one that was given another name; recipients and the switch stay; an address of their own stays."""
    seed_alerting(addresses)
    mail = Channel.objects.get(name=DESK_MAIL)
    settings = {**_settings(mail), "recipients": ["night@demo.example"]}
    channel_services.update_channel(mail, by=DESK, name="Night mail", settings=settings, expected_version=mail.version)
    channel_services.set_enabled(mail, False, by=DESK)
    hook = Channel.objects.get(name=OPS_WEBHOOK)
    own = {**_settings(hook), "url": "http://127.0.0.1:9/own"}
    channel_services.update_channel(hook, by=DESK, name=hook.name, settings=own, expected_version=hook.version)
    for listener in (MAIL, PROVIDERS):
        addresses.choose_another(listener)
    assert seed_alerting(addresses) == []
    mail.refresh_from_db()
    moved = open_row(mail).settings
    assert (moved.smtp_port, moved.recipients) == (addresses[MAIL], ["night@demo.example"]) and not mail.enabled
    assert str(addresses[PROVIDERS]) in moved.sendgrid_url and mail.name == "Night mail"
    assert str(addresses[PROVIDERS]) in where(DESK_SLACK).url.get_secret_value()
    assert where(OPS_WEBHOOK).url.get_secret_value() == "http://127.0.0.1:9/own"


def test_seed__deleted_by_people__stays_away(addresses: Addresses) -> None:
    """RUN-3: a later start does not undo what somebody did; a file that is lost makes no second ones."""
    seed_alerting(addresses)
    rule_services.delete_rule(Rule.objects.get(name="Orders are slow"), by=DESK)
    for rule in Rule.objects.all():
        rule.channels.clear()
    channel_services.delete_channel(Channel.objects.get(name=OPS_WEBHOOK), by=DESK)
    seed_alerting(addresses)
    assert not Channel.objects.filter(name=OPS_WEBHOOK).exists() and not Rule.objects.filter(channels__isnull=False)
    assert not Rule.objects.filter(name="Orders are slow").exists()
    count = Channel.objects.count()
    seeded_beside(addresses.path).unlink()
    assert seed_alerting(addresses) == []
    assert Channel.objects.count() == count + 1


def test_seed__file_of_another_database__is_not_believed(addresses: Addresses) -> None:
    """RUN-2: DATABASE_URL may name a fresh one."""
    path = seeded_beside(addresses.path)
    path.write_text(json.dumps({"of": "1999-12-31", "channels": {DESK_MAIL: {"id": 1, "where": {}}}, "linked": True}))
    assert seed_alerting(addresses) == []
    assert Channel.objects.count() == 5


def _settings(channel: Channel) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(keyring.unseal(channel.sealed))
    return found
