"""The alerting app."""

from django.apps import AppConfig


class AlertingConfig(AppConfig):
    """Rules that fire, events that are acknowledged, deliveries that cannot be lost."""

    name = "alerting"
    verbose_name = "Alerting"
