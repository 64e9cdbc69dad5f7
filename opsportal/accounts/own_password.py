"""Changing one's own password, with nothing of what somebody else decides about the user written back.

Django's form saves the whole user as the request found it. Between that moment and the save an admin may have disabled
the user, or reset the password: a save of the whole row would undo that.
"""

from __future__ import annotations

from typing import Any

from django.contrib.admin.forms import AdminPasswordChangeForm
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.views import PasswordChangeView
from django.http import HttpResponse, HttpResponseRedirect

from opsportal.accounts.actors import Actor
from opsportal.accounts.guards import person
from opsportal.accounts.models import User
from opsportal.accounts.records import audit, deciding
from opsportal.accounts.refusals import StaleForm


def change_own_password(user: User, *, old: str, new: str) -> User:
    """The user as it is now, with the new password.

    Raises `StaleForm` when the user was disabled, signed out or given another password since `user` was read.
    """
    with deciding():
        now = User.objects.get(pk=user.pk)
        if not now.is_active or now.session_version != user.session_version or not now.check_password(old):
            raise StaleForm(
                "Your account was changed by somebody else at this moment. Nothing was saved: sign in again."
            )
        now.set_password(new)
        now.save(update_fields=["password", "must_change_password"])
        audit("password_set", now, by=Actor.of(now), details={"kind": "own"})
    return now


class OwnPasswordView(PasswordChangeView):
    """The stock page, whose change is made by the service."""

    form_class = AdminPasswordChangeForm

    def form_valid(self, form: Any) -> HttpResponse:
        """Change it; this browser stays signed in."""
        values = form.cleaned_data
        try:
            user = change_own_password(person(self.request), old=values["old_password"], new=values["new_password1"])
        except StaleForm as refusal:
            form.add_error("old_password", refusal.sentence)  # the page has no place for others
            return self.form_invalid(form)
        update_session_auth_hash(self.request, user)
        return HttpResponseRedirect(self.get_success_url())
