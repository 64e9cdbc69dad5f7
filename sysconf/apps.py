"""System configuration. The folder cannot be called sysconfig: that is a module of Python's own (ADR 0001)."""

from django.apps import AppConfig


class SysconfigConfig(AppConfig):
    """Typed sections that are edited in the portal and read by the platform."""

    name = "sysconf"
    label = "sysconfig"
    verbose_name = "System configuration"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Look at the sections, and announce what is read at scrape time."""
        from opsportal.observability.metrics import register_scrape_collector
        from sysconf import checks  # noqa: F401
        from sysconf.collector import ConfigurationCollector

        register_scrape_collector(ConfigurationCollector())
