"""The page behind the link in a message: for whoever got it, on a phone, without signing in (AL-6).

It tells no more than the message did. A GET changes nothing: mail scanners follow links.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from alerting.errors import InvalidInput, WrongState
from alerting.forms.filters import NoteForm
from alerting.links import Link, LinkExpired, LinkInvalid, open_link
from alerting.selectors.acknowledgement import Asked, asked_by
from alerting.services import events as services

NOTE_HELP = "Who you are, what you know: the people at the portal see it beside the alert."


# Without Django's token: the page uses no cookie and no session, so there is nothing that a foreign site could borrow.
# Whoever posts must hold the signed link itself, which is the proof that is asked for.
@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def acknowledge(request: HttpRequest, token: str) -> HttpResponse:
    """Show what the message told of; on POST take it up."""
    try:
        link = open_link(token)  # no query before this: a made-up link costs one signature
    except LinkInvalid:
        return _page(request, "invalid", code=404)
    except LinkExpired:
        return _page(request, "expired", code=410)
    if request.method == "POST":
        return _take_up(request, link)
    return _shown(request, link, form=NoteForm(help_text=NOTE_HELP))


def _take_up(request: HttpRequest, link: Link) -> HttpResponse:
    form = NoteForm(request.POST, help_text=NOTE_HELP)
    try:
        if not form.is_valid():
            raise InvalidInput("note", "The note contains a character that cannot be stored. Type it again.")
        services.acknowledge_by_link(link, note=form.typed())
    except InvalidInput as refusal:
        form.errors.clear()
        form.add_error("note", refusal.sentence)
        return _shown(request, link, form=form, code=422)
    except WrongState:
        # Its sentence may name somebody, whom the message did not name: the page says what is so in its own words.
        return _shown(request, link, form=form, code=409)
    return _page(request, "done", asked=asked_by(link))


def _shown(request: HttpRequest, link: Link, *, form: NoteForm, code: int = 200) -> HttpResponse:
    asked = asked_by(link)
    if asked is None:
        return _page(request, "gone", code=410)
    if asked.can_acknowledge:
        return _page(request, "ask", code=code, asked=asked, form=form)
    if asked.event.resolved_at:
        return _page(request, "resolved", code=code, asked=asked)
    if asked.used_at:
        return _page(request, "used", code=409 if request.method == "POST" else 410, asked=asked)
    return _page(request, "taken", code=code, asked=asked)


def _page(request: HttpRequest, what: str, *, code: int = 200, asked: Asked | None = None, **more: Any) -> HttpResponse:
    context = {"what": what, "asked": asked, "event": asked.event if asked else None, **more}
    response = render(request, "alerting/acknowledge_by_link.html", context, status=code)
    response["Cache-Control"] = "no-store"
    response["Referrer-Policy"] = "no-referrer"  # the address is the proof
    response["X-Robots-Tag"] = "noindex, nofollow"
    return response
