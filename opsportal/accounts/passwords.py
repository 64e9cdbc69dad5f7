"""What a new password must not be."""

from __future__ import annotations

from django.core.exceptions import ValidationError

from opsportal.accounts.models import User


class AnotherPasswordValidator:
    """Not the present one: somebody else may know it, and a one-time password would be for good."""

    def validate(self, password: str, user: User | None = None) -> None:
        """Raise `ValidationError` for the present password."""
        if user is not None and user.pk and user.check_password(password):
            raise ValidationError("This is your present password. Choose another one.", code="password_unchanged")

    def get_help_text(self) -> str:
        """What the form says beforehand."""
        return "Your new password can’t be the present one."
