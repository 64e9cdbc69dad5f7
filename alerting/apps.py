"""The alerting app."""

from django.apps import AppConfig
from django.conf import settings


class AlertingConfig(AppConfig):
    """Rules that fire, events that are acknowledged, deliveries that cannot be lost."""

    name = "alerting"
    verbose_name = "Alerting"

    def ready(self) -> None:
        """Announce the values that are read at scrape time, and alerting as a part of the portal's own health."""
        from alerting.collector import AlertingCollector
        from alerting.ticks import alerting_part
        from opsportal.observability.metrics import register_scrape_collector
        from opsportal.observability.probes import register_part

        register_part("alerting", alerting_part)
        if settings.FEATURES["alerting"]:
            register_scrape_collector(AlertingCollector())
