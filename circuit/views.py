"""The breaker page, its fragments and its forms."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_GET, require_http_methods

from circuit import services
from circuit.errors import InvalidInput, Refused, TooSoon
from circuit.forms import HistoryFilter, ResetForm, RestoreForm, TripForm
from circuit.history import csv_rows, filtered, history_page
from circuit.selectors import SHARED_SECONDS, Status, breaker_status, read_breaker
from opsportal.accounts.actors import Actor
from opsportal.accounts.guards import permission_required, person
from opsportal.audit import recorder
from opsportal.observability.spreadsheet import csv_lines

POLL_SECONDS = 1


def status_for(request: HttpRequest, *, max_age: float = 0.0) -> tuple[Status, float]:
    """The status card of the signed-in user, and the age of its reading in seconds."""
    user = person(request)
    reading = read_breaker(max_age=max_age)
    status = breaker_status(
        reading,
        may_trip=user.has_perm("circuit.trip_breaker"),
        may_reset=user.has_perm("circuit.reset_breaker"),
        role=str(user.role or "none"),
    )
    return status, reading.age()


@require_GET
@permission_required("circuit.view_breaker")
def page(request: HttpRequest) -> HttpResponse:
    """The whole page."""
    more: dict[str, Any] = {
        "poll_seconds": POLL_SECONDS,
        "trip_form": TripForm(),
        "reset_form": ResetForm(),
        "history": history_page(request.GET),
    }
    return _page(request, "circuit/page.html", "Circuit breaker", **more)


@require_GET
@permission_required("circuit.view_breaker")
def fragment(request: HttpRequest) -> HttpResponse:
    """The status card alone: rendered once per state, 304 while nothing has changed (CB-10)."""
    status, age = status_for(request, max_age=SHARED_SECONDS)
    etag = f'"{status.etag}"'
    if request.headers.get("If-None-Match") == etag:
        response = HttpResponse(status=304)
    else:
        response = HttpResponse(_card(status))
    response["ETag"] = etag
    response["Cache-Control"] = "private, no-cache"
    response["X-Reading-Age"] = f"{age:.2f}"
    patch_vary_headers(response, ["Cookie"])
    return response


@lru_cache(maxsize=32)
def _card(status: Status) -> str:
    return render_to_string("circuit/_status.html", {"status": status})


@require_GET
@permission_required("circuit.view_breaker")
def history_fragment(request: HttpRequest) -> HttpResponse:
    """The history table alone."""
    response = render(request, "circuit/_history.html", {"history": history_page(request.GET)})
    response["Cache-Control"] = "no-store"
    return response


@require_GET
@permission_required("circuit.view_breaker")
def history_csv(request: HttpRequest) -> HttpResponseBase:
    """The filtered history as a CSV file, streamed, and audited as an export."""
    rows = filtered(HistoryFilter(request.GET))
    recorder.record(
        "export",
        event_type="export",
        actor=person(request),
        resource_type="circuit_history",
        details={"filters": {name: request.GET[name] for name in HistoryFilter.base_fields if request.GET.get(name)}},
    )
    response = StreamingHttpResponse(map(csv_lines(), csv_rows(rows)), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="circuit-history.csv"'
    response["Cache-Control"] = "no-store"
    return response


@require_http_methods(["GET", "POST"])
@permission_required("circuit.trip_breaker")
def trip(request: HttpRequest) -> HttpResponse:
    """Halt trading."""
    if request.method == "GET":
        return _page(request, "circuit/trip.html", "Trip the breaker", form=TripForm())
    form = TripForm(request.POST)
    values = _values(form)
    try:
        done = services.trip_breaker(
            by=Actor.of(person(request)),
            reason=values.get("reason", ""),
            category=values.get("category", request.POST.get("category", "")),
        )
    except Refused as refusal:
        return _refused(request, "circuit/trip.html", form, refusal, "Trip the breaker")
    text = "The breaker is tripped: trading is halted."
    if not done.recorded:
        text += " PostgreSQL does not answer; the audit record is kept and written when it is back."
    messages.warning(request, text)  # trading has stopped: not a thing to show in green
    return redirect("admin:circuit")


@require_http_methods(["GET", "POST"])
@permission_required("circuit.reset_breaker")
def reset(request: HttpRequest) -> HttpResponse:
    """Allow trading again."""
    return _release(request, ResetForm, "circuit/reset.html", "Reset the breaker", services.reset_breaker)


@require_http_methods(["GET", "POST"])
@permission_required("circuit.reset_breaker")
def restore(request: HttpRequest) -> HttpResponse:
    """Put back the last recorded state."""
    return _release(request, RestoreForm, "circuit/restore.html", "Restore the state", services.restore_breaker)


def _release(
    request: HttpRequest, form_class: type[ResetForm], template: str, title: str, service: Any
) -> HttpResponse:
    if request.method == "GET":
        return _page(request, template, title, form=form_class())
    form = form_class(request.POST)
    values = _values(form)
    try:
        done = service(
            by=Actor.of(person(request)),
            reason=values.get("reason", ""),
            acknowledged=values.get("acknowledged", False),
            # A form without a version was not drawn by this portal: it must not pass as one that was.
            expected_version=values.get("expected_version") or "missing",
        )
    except Refused as refusal:
        return _refused(request, template, form, refusal, title)
    plain = "trading is allowed again" if done.state == "OPEN" else "trading stays halted"
    messages.success(request, f"The breaker is {done.state}: {plain}.")
    return redirect("admin:circuit")


def _values(form: Any) -> dict[str, Any]:
    form.is_valid()
    values: dict[str, Any] = form.cleaned_data
    return values


def _refused(request: HttpRequest, template: str, form: Any, refusal: Refused, title: str) -> HttpResponse:
    """The form again with what was typed, and why nothing happened."""
    problem = refusal.sentence
    if isinstance(refusal, InvalidInput) and refusal.field in form.fields:
        form.add_error(refusal.field, refusal.sentence)
        problem = ""
    response = _page(request, template, title, code=refusal.status, form=form, problem=problem)
    if isinstance(refusal, TooSoon):
        response["Retry-After"] = str(refusal.seconds)
    return response


def _page(request: HttpRequest, template: str, title: str, *, code: int = 200, **more: Any) -> HttpResponse:
    """A page of the breaker with the present status; its forms decide on just what it shows."""
    status, age = status_for(request)
    for form in more.values():
        if isinstance(form, ResetForm):
            form.decide_on(status.version)
    context = {
        **admin.site.each_context(request),
        "title": title,
        "status": status,
        "reading_age": f"{age:.2f}",
        **more,
    }
    response = render(request, template, context, status=code)
    response["Cache-Control"] = "no-store"
    return response
