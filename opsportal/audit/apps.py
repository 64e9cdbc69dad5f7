"""The audit log."""

from django.apps import AppConfig


class AuditConfig(AppConfig):
    """One append-only, chained log for model changes and explicit actions."""

    name = "opsportal.audit"
    label = "audit"
    default_auto_field = "django.db.models.BigAutoField"
