"""API keys."""

from django.apps import AppConfig
from django.conf import settings


class ApiKeysConfig(AppConfig):
    """Machines call the portal with keys: made, shown once, rotated, revoked."""

    name = "apikeys"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Announce how the API's schema names a key, and what is counted at scrape time."""
        from apikeys import schema  # noqa: F401
        from apikeys.collector import KeyCollector
        from opsportal.observability.metrics import register_scrape_collector

        if settings.FEATURES["apikeys"]:
            register_scrape_collector(KeyCollector())
