"""API keys."""

from django.apps import AppConfig


class ApiKeysConfig(AppConfig):
    """Machines call the portal with keys: made, shown once, rotated, revoked."""

    name = "apikeys"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Announce the checks, and how the API's schema names a key."""
        from apikeys import schema  # noqa: F401
