"""What the pages of alerting share: the frame, and a form with its refusal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from alerting.draft import InvalidFields
from opsportal.accounts.guards import View
from opsportal.accounts.refusals import InvalidInput, Refused
from opsportal.accounts.rendering import show
from opsportal.observability.sanitise import mask_text

__all__ = ["hide_keys", "posted_only", "show", "show_refused"]


def posted_only(page: str) -> Callable[[View], View]:
    """A view that takes a form only, but may stand in the address bar: who opens its address gets the page instead."""

    def decorate(view: View) -> View:
        posted = require_POST(view)

        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            return redirect(page) if request.method in ("GET", "HEAD") else posted(request, *args, **kwargs)

        return guarded

    return decorate


def show_refused(
    request: HttpRequest,
    template: str,
    title: str,
    *,
    form: Any,
    refusal: Refused | None,
    names: Mapping[str, str] | None = None,
    **more: Any,
) -> HttpResponse:
    """The form again with what was typed, and why nothing happened. `refusal` None: the form itself says it.

    `names`: the form's field for each of the service's, where they differ.
    """
    problem = refusal.sentence if refusal else ""
    if isinstance(refusal, InvalidInput):
        errors = refusal.errors if isinstance(refusal, InvalidFields) else {refusal.field: refusal.sentence}
        placed = {(names or {}).get(field, field): sentence for field, sentence in errors.items()}
        problem = " ".join(sentence for field, sentence in placed.items() if field not in form.fields)
        for field, sentence in placed.items():
            if field in form.fields:
                form.add_error(field, sentence)
    hide_keys(form)
    code = refusal.status if refusal else 422
    return show(request, template, title, code=code, form=form, problem=problem, **more)


def hide_keys(form: Form) -> None:
    """Of a key that was pasted by mistake nothing is shown again (AK-9)."""
    typed: Any = form.data
    if any("tp_" in value for name in typed for value in typed.getlist(name)):
        data = typed.copy()
        for name in data:
            data.setlist(name, [mask_text(value) if "tp_" in value else value for value in data.getlist(name)])
        form.data = data
