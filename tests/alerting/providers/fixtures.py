"""The address book of every provider, as a fixture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network

import pytest
from pytest_django import Settings

from alerting.channels.http import forget_connections
from tests.alerting.providers.mail import MailServer
from tests.alerting.providers.web import Provider, Web


@dataclass(frozen=True)
class Providers:
    """Who plays whom. Each has `.received`, `.script(…)` and `.always(…)`; see `steps`."""

    web: Web
    mail: MailServer

    @property
    def webhook(self) -> Provider:
        """Any webhook."""
        return self.web.webhook

    @property
    def slack(self) -> Provider:
        """Slack's incoming webhook."""
        return self.web.slack

    @property
    def twilio(self) -> Provider:
        """Twilio's API."""
        return self.web.twilio

    @property
    def sendgrid(self) -> Provider:
        """SendGrid's API."""
        return self.web.sendgrid

    @property
    def pagerduty(self) -> Provider:
        """PagerDuty's Events API."""
        return self.web.pagerduty


@pytest.fixture
def providers(settings: Settings) -> Iterator[Providers]:
    """Servers that play the providers; the portal may reach them."""
    settings.ALERT_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
    forget_connections()
    web, mail = Web(), MailServer()
    mail.start()
    try:
        yield Providers(web, mail)
    finally:
        forget_connections()
        mail.stop()
        web.stop()
