"""The pages. A new key is in the answer to the POST that made it, and never again anywhere (AK-2)."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_GET, require_http_methods, require_safe

from apikeys import services
from apikeys.forms import KeyForm, RevokeForm, masked, prefix_of_key
from apikeys.listing import listing
from apikeys.models import ApiKey
from apikeys.rows import row_of
from apikeys.selectors import owners_like, shown_key, successor_of
from apikeys.wire import NewKey
from opsportal.accounts.actors import Actor
from opsportal.accounts.guards import permission_required, person
from opsportal.accounts.refusals import InvalidInput, Refused
from opsportal.accounts.scopes import SCOPES

REDIS_NOT_TOLD = (
    "Redis does not answer, so the processes find out from the database: the key stops within a second all the same."
)


@require_safe
@permission_required("apikeys.view_apikey")
def page(request: HttpRequest) -> HttpResponse:
    """The list."""
    asked = request.GET.get("q", "")
    if (short := prefix_of_key(asked)) != asked:
        # A whole key was pasted into the search: find it by its prefix, and take it out of the address.
        query = request.GET.copy()
        query["q"] = short
        return redirect(f"{reverse('admin:apikeys')}?{query.urlencode()}")
    more: dict[str, Any] = {
        "listing": listing(request.GET, timezone.now()),
        "may_add": person(request).has_perm("apikeys.add_apikey"),
    }
    return _page(request, "apikeys/page.html", "API keys", **more)


@require_safe
@permission_required("apikeys.view_apikey")
def detail(request: HttpRequest, number: int) -> HttpResponse:
    """One key."""
    key = _key_or_404(number)
    now = timezone.now()
    successor = successor_of(key)
    more: dict[str, Any] = {
        "row": row_of(key, now),
        "scopes": [scope for scope in SCOPES if scope.name in key.scopes],
        "successor": successor,
        "predecessor": row_of(key.rotated_from, now) if key.rotated_from else None,
        "may_add": person(request).has_perm("apikeys.add_apikey"),
        "may_revoke": person(request).has_perm("apikeys.revoke_apikey"),
    }
    return _page(request, "apikeys/detail.html", key.name, **more)


@require_GET
@permission_required("apikeys.add_apikey")
def owners(request: HttpRequest) -> HttpResponse:
    """The suggestions below the owner's field."""
    people = owners_like(request.GET.get("owner", ""))
    response = render(request, "apikeys/_owners.html", {"people": people})
    response["Cache-Control"] = "no-store"
    return response


@require_http_methods(["GET", "POST"])
@sensitive_post_parameters()
@sensitive_variables("new")
@permission_required("apikeys.add_apikey")
def add(request: HttpRequest) -> HttpResponse:
    """Make a key."""
    title = "Create an API key"
    if request.method == "GET":
        return _page(request, "apikeys/add.html", title, form=KeyForm(initial={"owner": person(request).username}))
    form = KeyForm(request.POST)
    if not form.is_valid():
        return _refused(request, "apikeys/add.html", form, None, title)
    try:
        key, new = services.create_key(by=Actor.of(person(request)), **form.cleaned_data)
    except Refused as refusal:
        return _refused(request, "apikeys/add.html", form, refusal, title)
    return _shown_once(request, key, new, "The key is made")


@require_http_methods(["GET", "POST"])
@sensitive_variables("new")
@permission_required("apikeys.add_apikey")
def rotate(request: HttpRequest, number: int) -> HttpResponse:
    """Make the successor of a key."""
    old = _key_or_404(number)
    title = f"Rotate {old.name}"
    row = row_of(old, timezone.now())
    if request.method == "GET":
        return _page(request, "apikeys/rotate.html", title, row=row)
    try:
        key, new = services.rotate_key(old, by=Actor.of(person(request)))
    except Refused as refusal:
        return _page(request, "apikeys/rotate.html", title, code=refusal.status, row=row, problem=refusal.sentence)
    return _shown_once(request, key, new, "The new key is made", old=_key_or_404(number))


@require_http_methods(["GET", "POST"])
@permission_required("apikeys.revoke_apikey")
def revoke(request: HttpRequest, number: int) -> HttpResponse:
    """End a key."""
    key = _key_or_404(number)
    title = f"Revoke {key.name}"
    more: dict[str, Any] = {"row": row_of(key, timezone.now()), "successor": successor_of(key)}
    if request.method == "GET":
        return _page(request, "apikeys/revoke.html", title, form=RevokeForm(), **more)
    form = RevokeForm(request.POST)
    reason = form.cleaned_data["reason"] if form.is_valid() else ""
    try:
        if form.errors:
            return _refused(request, "apikeys/revoke.html", form, None, title, **more)
        done = services.revoke_key(key, by=Actor.of(person(request)), reason=reason)
    except Refused as refusal:
        return _refused(request, "apikeys/revoke.html", form, refusal, title, **more)
    if done.announced:
        messages.success(request, f"{done.key} is revoked: it opens nothing any more.")
    else:
        messages.warning(request, f"{done.key} is revoked. {REDIS_NOT_TOLD}")
    return redirect("admin:apikeys_key", number)


def _key_or_404(number: int) -> ApiKey:
    key = shown_key(number)
    if key is None:
        raise Http404
    return key


@sensitive_variables()
def _shown_once(
    request: HttpRequest, key: ApiKey, new: NewKey, title: str, *, old: ApiKey | None = None
) -> HttpResponse:
    """The answer that holds the key. Nothing of it is kept: no redirect, no session, no cache."""
    more: dict[str, Any] = {
        "key": key,
        "key_text": new.text,
        "old": row_of(old, timezone.now()) if old else None,
        "self_url": request.build_absolute_uri(reverse("api_apikeys_self")),
    }
    return _page(request, "apikeys/once.html", title, **more)


def _refused(
    request: HttpRequest, template: str, form: Any, refusal: Refused | None, title: str, **more: Any
) -> HttpResponse:
    """The form again with what was typed, and why nothing happened."""
    problem = refusal.sentence if refusal else ""
    if isinstance(refusal, InvalidInput) and refusal.field in form.fields:
        form.add_error(refusal.field, refusal.sentence)
        problem = ""
    form.data = masked(form.data)
    code = refusal.status if refusal else 422
    return _page(request, template, title, code=code, form=form, problem=problem, **more)


def _page(request: HttpRequest, template: str, title: str, *, code: int = 200, **more: Any) -> HttpResponse:
    context = {**admin.site.each_context(request), "title": title, **more}
    response = render(request, template, context, status=code)
    response["Cache-Control"] = "no-store"
    return response
