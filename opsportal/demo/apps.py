"""The demo platform; installed only where ENVIRONMENT names a development environment."""

from django.apps import AppConfig


class DemoConfig(AppConfig):
    """Processes that behave as a trading platform would (RUN-3)."""

    name = "opsportal.demo"
    label = "demo"
