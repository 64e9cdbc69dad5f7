"""The alerting app."""

from django.apps import AppConfig
from django.conf import settings


class AlertingConfig(AppConfig):
    """Rules that fire, events that are acknowledged, deliveries that cannot be lost."""

    name = "alerting"
    verbose_name = "Alerting"

    def ready(self) -> None:
        """Announce the values that are read at scrape time."""
        from alerting.collector import AlertingCollector
        from opsportal.observability.metrics import register_scrape_collector

        if settings.FEATURES["alerting"]:
            register_scrape_collector(AlertingCollector())
