"""Logs, request context, metrics and the health pages as a Django application."""

from importlib import import_module

from django.apps import AppConfig
from django.conf import settings


class ObservabilityConfig(AppConfig):
    """Loads the Celery application into every Django process, so that `shared_task` publishes through it."""

    name = "opsportal.observability"
    label = "observability"

    def ready(self) -> None:
        """Import the module that the settings name, as Django does with ROOT_URLCONF: no import upwards here."""
        import_module(getattr(settings, "CELERY_APP_MODULE", "opsportal.celery"))
