"""The health monitor."""

from django.apps import AppConfig
from django.conf import settings


class HealthConfig(AppConfig):
    """Probes the platform's services and keeps what they answered."""

    name = "health"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Announce the values that are read at scrape time."""
        from health.collector import HealthCollector
        from opsportal.observability.metrics import register_scrape_collector

        if settings.FEATURES["health"]:
            register_scrape_collector(HealthCollector())
