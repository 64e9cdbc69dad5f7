"""Where the demo's alerts go: channels to the outside world and rules that use them.

Made once, then left as people want them. What was made stands in a file beside the demo's ports; by it a channel is
found again when its address has moved, whatever it is called by then, and what was deleted stays away.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alerting.models import Channel, Rule
from alerting.services import channels as channel_services
from alerting.services import rules as rule_services
from opsportal.accounts.models import User
from opsportal.accounts.refusals import Refused
from opsportal.demo import providers
from opsportal.demo.addresses import Addresses
from opsportal.demo.key_making import DEMO, USERNAME
from opsportal.demo.roster import MAIL, PROVIDERS
from opsportal.embedded import files
from opsportal.secrets import keyring

log = logging.getLogger(__name__)

DESK_MAIL, DESK_SLACK, PLATFORM_SLACK = "Desk mail", "Desk Slack", "Platform Slack"
ON_CALL_SMS, OPS_WEBHOOK = "On-call SMS", "Ops webhook"

#: Which channels the rules get that are there from the beginning, by their metric. Chosen with the limits in mind: five
#: e-mails, three texts and ten posts an hour to each recipient; what is beyond comes as one digest.
TOLD: Mapping[str, tuple[str, ...]] = {
    "circuit_tripped": (DESK_MAIL, DESK_SLACK, ON_CALL_SMS),
    "drawdown": (DESK_MAIL, DESK_SLACK, ON_CALL_SMS),
    "component_down": (DESK_MAIL, PLATFORM_SLACK, ON_CALL_SMS),
    "poison_queue": (DESK_MAIL, PLATFORM_SLACK),
    "position_limit": (DESK_SLACK,),
    "service_down": (PLATFORM_SLACK, OPS_WEBHOOK),
    "external_alert": (PLATFORM_SLACK, OPS_WEBHOOK),
    "api_key_expiry": (PLATFORM_SLACK,),
}
RULES: tuple[tuple[dict[str, Any], tuple[str, ...]], ...] = (
    (
        {
            "name": "Orders are slow",
            "description": "Made for the demo: in its first minutes orders take long, so there is an alert to see.",
            "metric": "latency",
            "comparison": "gt",
            "threshold": 500.0,
            "severity": "warning",
            "for_seconds": 10,
            "labels": {"service": "orders"},
            "owner": "Execution",
        },
        (DESK_MAIL, DESK_SLACK, OPS_WEBHOOK),
    ),
    (
        {
            "name": "Broker refuses orders",
            "description": "Made for the demo: while broker-gateway is down, orders fail.",
            "metric": "broker_errors",
            "comparison": "gt",
            "threshold": 3.0,
            "severity": "warning",
            "for_seconds": 30,
            "owner": "Execution",
        },
        (PLATFORM_SLACK,),
    ),
)


def channel_settings(addresses: Addresses) -> dict[str, tuple[str, dict[str, Any], dict[str, Any]]]:
    """For each channel its kind, what of its settings tells where it goes, and the rest."""
    http = addresses.url(PROVIDERS)
    return {
        DESK_MAIL: (
            "email",
            {"smtp_port": addresses[MAIL], "sendgrid_url": f"{http}/sendgrid/v3/"},
            {
                "recipients": ["desk@demo.example", "oncall@demo.example"],
                "sender": "opsportal@demo.example",
                "smtp_host": "127.0.0.1",
                "smtp_security": "none",
                "smtp_password": "",
                "fallback": "sendgrid",
                "sendgrid_api_key": providers.SENDGRID_KEY,
            },
        ),
        DESK_SLACK: ("slack", {"url": f"{http}{providers.SLACK_PATHS['#trading-desk']}"}, {}),
        PLATFORM_SLACK: ("slack", {"url": f"{http}{providers.SLACK_PATHS['#platform']}"}, {}),
        ON_CALL_SMS: (
            "sms",
            {"api_url": f"{http}/twilio"},
            {
                "numbers": [providers.ON_CALL_NUMBER],
                "account_sid": providers.TWILIO_SID,
                "auth_token": providers.TWILIO_TOKEN,
                "sender": providers.TWILIO_SENDER,
            },
        ),
        OPS_WEBHOOK: ("webhook", {"url": f"{http}{providers.HOOK_PATH}"}, {"signing_secret": providers.HOOK_SECRET}),
    }


@dataclass
class Seeded:
    """What was made in the database that is called `of`: ids of channels with the addresses they were given."""

    of: str
    channels: dict[str, dict[str, Any]] = field(default_factory=dict)
    rules: list[str] = field(default_factory=list)
    linked: bool = False

    @classmethod
    def read(cls, path: Path, of: str) -> Seeded:
        """From the file; empty if it is absent, cut short, or of another database."""
        known = files.read_json(path)
        if known.get("of") != of:
            return cls(of)
        return cls(of, dict(known.get("channels") or {}), list(known.get("rules") or []), bool(known.get("linked")))

    def write(self, path: Path) -> None:
        """Keep it (mode 0600: a webhook's address is a secret)."""
        files.private_folder(path.parent)
        files.write_private(path, json.dumps(self.__dict__, indent=1) + "\n")


def seeded_beside(addresses: Path) -> Path:
    """`demo-seeded.json`, beside the file with the ports."""
    return addresses.with_name("demo-seeded.json")


def seed_alerting(addresses: Addresses) -> list[str]:
    """Make what is missing, move what has moved; a sentence for each thing that the portal refused.

    Raises `django.db.Error`.
    """
    path = seeded_beside(addresses.path)
    owner = User.objects.filter(username=USERNAME).first()
    if owner is None:
        return []
    # Its user tells one database from another: the same file may be run against a fresh one.
    seeded = Seeded.read(path, of=owner.date_joined.isoformat())
    problems: list[str] = []
    for name, (kind, where, rest) in channel_settings(addresses).items():
        try:
            _channel(name, kind, where, rest, seeded)
        except Refused as refusal:
            problems.append(f"{name}: {refusal.sentence}")
    made = {name: int(known["id"]) for name, known in seeded.channels.items()}
    made = {name: pk for name, pk in made.items() if Channel.objects.filter(pk=pk).exists()}
    for values, told in RULES:
        try:
            _rule(values, [made[name] for name in told if name in made], seeded)
        except Refused as refusal:
            problems.append(f"{values['name']}: {refusal.sentence}")
    if not seeded.linked and len(made) == len(channel_settings(addresses)):
        problems += _link(made)
        seeded.linked = True
    seeded.write(path)
    return problems


def _channel(name: str, kind: str, where: dict[str, Any], rest: dict[str, Any], seeded: Seeded) -> None:
    known = seeded.channels.get(name)
    if known is None:
        row = Channel.objects.filter(name__iexact=name).first()  # of a start that was cut short
        row = row or channel_services.create_channel(by=DEMO, kind=kind, name=name, settings={**where, **rest})
        seeded.channels[name] = {"id": row.pk, "where": where}
    elif known["where"] != where:
        _move(known, where)
        known["where"] = where


def _move(known: dict[str, Any], where: dict[str, Any]) -> None:
    """Follow the address, but where people have set another one."""
    row = Channel.objects.filter(pk=known["id"]).first()
    if row is None:
        return
    present: dict[str, Any] = json.loads(keyring.unseal(row.sealed))
    moved = {name: value for name, value in where.items() if present.get(name) == known["where"].get(name)}
    if moved:
        settings = {**present, **moved}
        channel_services.update_channel(row, by=DEMO, name=row.name, settings=settings, expected_version=row.version)


def _rule(values: dict[str, Any], channels: list[int], seeded: Seeded) -> None:
    if values["name"] in seeded.rules:
        return
    if not Rule.objects.filter(name__iexact=values["name"]).exists():
        rule_services.create_rule(by=DEMO, values={**values, "channels": channels})
    seeded.rules.append(values["name"])


def _link(made: Mapping[str, int]) -> list[str]:
    """Give the rules without channels theirs; a sentence for each that refuses."""
    problems = []
    for rule in Rule.objects.filter(channels=None, metric__in=TOLD):
        channels = [made[name] for name in TOLD[rule.metric]]
        values = {**rule_services.current_values(rule), "channels": channels}
        try:
            rule_services.update_rule(rule, by=DEMO, values=values, expected_version=rule.version)
        except Refused as refusal:
            problems.append(f"{rule.name}: {refusal.sentence}")
    return problems
