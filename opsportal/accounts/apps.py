"""People, roles, sessions."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Registers the sign-in records, the user's diff audit and the cache invalidation."""

    name = "opsportal.accounts"
    label = "accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect Django's own signals; there are none of ours."""
        from opsportal.accounts import checks, receivers  # noqa: F401
