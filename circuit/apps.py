"""The trading circuit breaker."""

from django.apps import AppConfig


class CircuitConfig(AppConfig):
    """Reads, trips and resets the breaker that every trading process obeys."""

    name = "circuit"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Announce the values that are read at scrape time."""
        from circuit.collector import BreakerCollector
        from opsportal.observability.metrics import register_scrape_collector

        register_scrape_collector(BreakerCollector())
