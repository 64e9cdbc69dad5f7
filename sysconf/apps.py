"""System configuration. The folder cannot be called sysconfig: that is a module of Python's own (ADR 0001)."""

from django.apps import AppConfig


class SysconfigConfig(AppConfig):
    """Typed sections that are edited in the portal and read by the platform."""

    name = "sysconf"
    label = "sysconfig"
    verbose_name = "System configuration"
    default_auto_field = "django.db.models.BigAutoField"
