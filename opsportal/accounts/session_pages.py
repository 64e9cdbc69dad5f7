"""Ending somebody's session, and everybody's own sessions (AUTH-3)."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from opsportal.accounts import selectors
from opsportal.accounts.actors import Actor
from opsportal.accounts.guards import permission_required, person, sign_in_required
from opsportal.accounts.models import User
from opsportal.accounts.refusals import WrongState
from opsportal.accounts.rendering import show, user_or_404
from opsportal.accounts.session_ending import end_other_sessions, end_session, reference_of
from opsportal.accounts.wording import counted


@require_POST
@permission_required("accounts.change_user")
def end_one(request: HttpRequest, pk: int, reference: str) -> HttpResponse:
    """End one session of a user."""
    user = user_or_404(pk)
    return _end(request, user, reference) or redirect("admin:accounts_person", pk=user.pk)


@require_safe
@sign_in_required
def mine(request: HttpRequest) -> HttpResponse:
    """Where one is signed in oneself."""
    sessions = selectors.sessions_of(person(request), this_key=request.session.session_key)
    others = any(not session.is_this for session in sessions)
    return show(request, "accounts/my_sessions.html", "My sessions", sessions=sessions, others=others)


@require_POST
@sign_in_required
def end_mine(request: HttpRequest, reference: str) -> HttpResponse:
    """End one of one's own sessions."""
    return _end(request, person(request), reference) or redirect("admin:my_sessions")


@require_POST
@sign_in_required
def end_others(request: HttpRequest) -> HttpResponse:
    """End all of one's own sessions but this one."""
    ended = end_other_sessions(by=Actor.of(person(request)), keep=request.session.session_key)
    if ended:
        messages.success(request, f"{counted(ended, 'other session')} ended.")
    else:
        messages.info(request, "There was no other session.")
    return redirect("admin:my_sessions")


def _end(request: HttpRequest, user: User, reference: str) -> HttpResponse | None:
    """End it and say so; the sign-in page if it was the session of this very request."""
    try:
        end_session(user, reference, by=Actor.of(person(request)))
    except WrongState as refusal:
        messages.info(request, refusal.sentence)
        return None
    if reference == reference_of(request.session.session_key or ""):
        request.session.flush()  # it has ended already; whatever this answer left in it could not be saved
        return redirect("admin:login")
    messages.success(request, "The session has ended: that browser has to sign in again.")
    return None
