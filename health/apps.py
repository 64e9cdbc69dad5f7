"""The health monitor."""

from django.apps import AppConfig


class HealthConfig(AppConfig):
    """Probes the platform's services and keeps what they answered."""

    name = "health"
    default_auto_field = "django.db.models.BigAutoField"
