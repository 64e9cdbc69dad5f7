"""What the pages of people share: the frame, the look-up of a user, a form with its refusal."""

from __future__ import annotations

from copy import copy
from typing import Any

from django.contrib import admin
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from opsportal.accounts.changes import LARGEST_ID
from opsportal.accounts.forms import EditForm
from opsportal.accounts.models import Strategy, User
from opsportal.accounts.refusals import InvalidInput, Refused, StaleForm
from opsportal.observability.sanitise import mask_text


def show(request: HttpRequest, template: str, title: str, *, code: int = 200, **more: Any) -> HttpResponse:
    """A page of the portal. No browser or proxy keeps it: it tells who may do what."""
    context = {**admin.site.each_context(request), "title": title, **more}
    response = render(request, template, context, status=code)
    response["Cache-Control"] = "no-store"
    return response


def show_refused(
    request: HttpRequest, template: str, title: str, *, form: Form, refusal: Refused | None, **more: Any
) -> HttpResponse:
    """The form again with what was typed, and why nothing happened. `refusal` None: the form itself says it."""
    problem = refusal.sentence if refusal else ""
    if isinstance(refusal, StaleForm) and isinstance(form, EditForm):
        form.follow()
    if isinstance(refusal, InvalidInput) and refusal.field in form.fields:
        form.add_error(refusal.field, refusal.sentence)
        problem = ""
    _hide_keys(form)
    code = refusal.status if refusal else 422
    return show(request, template, title, code=code, form=form, problem=problem, **more)


def _hide_keys(form: Form) -> None:
    """Of a key that was pasted by mistake nothing is shown again (AK-9)."""
    data: Any = copy(form.data)
    for name, value in form.data.items():
        if isinstance(value, str) and "tp_" in value:
            data[name] = mask_text(value)
    form.data = data


def user_or_404(pk: int) -> User:
    """The user with this id."""
    user = User.objects.prefetch_related("groups").filter(pk=pk).first() if pk <= LARGEST_ID else None
    if user is None:
        raise Http404
    return user


def strategy_or_404(pk: int) -> Strategy:
    """The strategy with this id."""
    strategy = Strategy.objects.filter(pk=pk).first() if pk <= LARGEST_ID else None
    if strategy is None:
        raise Http404
    return strategy
