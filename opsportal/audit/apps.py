"""The audit log."""

from django.apps import AppConfig


class AuditConfig(AppConfig):
    """One append-only, chained log for model changes and explicit actions."""

    name = "opsportal.audit"
    label = "audit"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Announce the values that are read at scrape time."""
        from opsportal.audit.collector import ChainCollector
        from opsportal.observability.metrics import register_scrape_collector

        register_scrape_collector(ChainCollector())
