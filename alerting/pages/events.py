"""The pages of events: the history, one event with all that is known of it, and what is done to it (AL-3, AL-9)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from alerting.errors import InvalidInput, Refused
from alerting.forms.events import EventFilter
from alerting.forms.filters import NoteForm
from alerting.models import Event, EventState
from alerting.pages.listings import Listing, place_in
from alerting.pages.showing import posted_only, show, show_refused
from alerting.selectors import deliveries as delivery_selectors
from alerting.selectors.delivery_rows import DeliveryRow, delivery_rows
from alerting.selectors.event_rows import EventRow, event_rows, pairs, safe_url
from alerting.selectors.events import event_by_id, events_by_id, find_events, told
from alerting.selectors.paging import Place
from alerting.services import events as services
from opsportal.accounts.actors import Actor
from opsportal.accounts.guards import permission_required, person

ACKNOWLEDGE_HELP = "Who looks after it, what is known: everybody sees it here. It goes into the audit log."
RESOLVE_HELP = "Why it is over: everybody sees it here. It goes into the audit log."


@require_safe
@permission_required("alerting.view_event")
def history(request: HttpRequest) -> HttpResponse:
    """The history, filtered."""
    shown = listing(request.GET)
    firing = any(row.event.state == EventState.FIRING for row in shown.rows)
    may_choose = firing and person(request).has_perm("alerting.acknowledge_event")
    return show(request, "alerting/events/list.html", "Events", listing=shown, may_choose=may_choose)


@require_safe
@permission_required("alerting.view_event")
def event(request: HttpRequest, event_id: UUID) -> HttpResponse:
    """One event: what held, what happened to it, and what became of each message."""
    found = _event_or_404(event_id)
    row = event_rows([found], told([found]))[0]
    return show(
        request,
        "alerting/events/detail.html",
        found.rule_name,
        row=row,
        event=found,
        annotations=[(name, text, safe_url(text)) for name, text in pairs(found.annotations)],
        runbook=safe_url(found.runbook_url),
        generator=safe_url(found.generator_url),
        deliveries=_deliveries(found) if person(request).has_perm("alerting.view_delivery") else (),
        most=delivery_selectors.MOST_OF_ONE,
        may_acknowledge=found.state == EventState.FIRING,
        may_resolve=found.state in (EventState.FIRING, EventState.ACKNOWLEDGED),
    )


@require_http_methods(["GET", "POST"])
@permission_required("alerting.acknowledge_event")
def acknowledge(request: HttpRequest, event_id: UUID) -> HttpResponse:
    """Take an event up."""
    found = _event_or_404(event_id)
    title, template = f"Acknowledge {found.rule_name}", "alerting/events/acknowledge.html"
    form = NoteForm(request.POST if request.method == "POST" else None, help_text=ACKNOWLEDGE_HELP)
    more: dict[str, Any] = {"row": event_rows([found], told([found]))[0], "event": found}
    if request.method == "GET":
        return show(request, template, title, form=form, **more)
    try:
        services.acknowledge_event(found, by=Actor.of(person(request)), note=_note(form))
    except Refused as refusal:
        return _refused(request, template, title, form, refusal, event_id)
    messages.success(request, "Acknowledged. It stays open until the value recovers or somebody resolves it.")
    return redirect("admin:alerting_event", event_id)


@posted_only("admin:alerting_events")
@permission_required("alerting.acknowledge_event")
def acknowledge_chosen(request: HttpRequest) -> HttpResponse:
    """Ask for a note, then take up those that were ticked in the history; back to the list as it was filtered."""
    ids, here = _chosen(request.POST), place_in(request.POST.get("back", ""), EventFilter)
    back = reverse("admin:alerting_events") + (f"?{here}" if here else "")
    template, title = "alerting/events/acknowledge_chosen.html", "Acknowledge alerts"
    found = events_by_id(ids[: services.MOST_AT_ONCE])
    more: dict[str, Any] = {"rows": event_rows(found.values(), {}), "ids": ids, "here": here, "back": back}
    if ids and "note" not in request.POST:
        return show(request, template, title, form=NoteForm(help_text=ACKNOWLEDGE_HELP), **more)
    form = NoteForm(request.POST, help_text=ACKNOWLEDGE_HELP)
    try:
        count = services.acknowledge_events(ids, by=Actor.of(person(request)), note=_note(form) if ids else "")
    except Refused as refusal:
        form.errors.clear()
        return show_refused(request, template, title, form=form, refusal=refusal, **more)
    messages.success(request, f"{count} alert{'s' if count > 1 else ''} acknowledged.")
    return redirect(back)


@require_http_methods(["GET", "POST"])
@permission_required("alerting.acknowledge_event")
def resolve(request: HttpRequest, event_id: UUID) -> HttpResponse:
    """Say that an event is over."""
    found = _event_or_404(event_id)
    title, template = f"Resolve {found.rule_name}", "alerting/events/resolve.html"
    form = NoteForm(request.POST if request.method == "POST" else None, needed=True, help_text=RESOLVE_HELP)
    more: dict[str, Any] = {"row": event_rows([found], told([found]))[0], "event": found}
    if request.method == "GET":
        return show(request, template, title, form=form, **more)
    try:
        services.resolve_event(found, by=Actor.of(person(request)), note=_note(form))
    except Refused as refusal:
        return _refused(request, template, title, form, refusal, event_id)
    messages.success(request, "Resolved. If the value is still bad when it is next seen, a new event begins.")
    return redirect("admin:alerting_event", event_id)


def listing(query: QueryDict) -> Listing[EventFilter, EventRow]:
    """What a query string asks for; a wrong filter gives its sentence and asks the database nothing."""
    form = EventFilter(query)
    if not form.is_valid():
        return Listing(form)
    filters = form.filters()
    before, after = (Place.parse(query.get(name, "")) for name in ("before", "after"))
    if before:
        after = None
    found = find_events(filters, before=before, after=after)
    if after and not found.stopped and not found.more:
        # The newest after all: a full page of them, not the few that came in since.
        before = after = None
        found = find_events(filters)
    events = found.events
    return Listing(
        form,
        rows=event_rows(events, told(events)),
        querystring=urlencode(form.given()),
        newer=_place(events[0]) if events and (before or after) else "",
        older=_place(events[-1]) if events and (found.more or after) else "",
        newest=not (before or after),
        stopped=found.stopped,
        here=place_in(query, EventFilter),
    )


def _chosen(posted: QueryDict) -> list[UUID]:
    """The ids that were ticked; what is none is left out."""
    ids = []
    for text in posted.getlist("event"):
        try:
            ids.append(UUID(text))
        except ValueError:
            continue
    return list(dict.fromkeys(ids))


def _place(event: Event) -> str:
    return str(Place(event.started_at, event.pk))


def _event_or_404(event_id: UUID) -> Event:
    found = event_by_id(event_id)
    if found is None:
        raise Http404
    return found


def _deliveries(event: Event) -> tuple[DeliveryRow, ...]:
    found = delivery_selectors.deliveries_of_event(event.pk)
    return delivery_rows(
        found,
        now=timezone.now(),
        channels=delivery_selectors.channel_names() if found else {},
        attempts=delivery_selectors.attempts_of(found),
    )


def _note(form: NoteForm) -> str:
    """What was typed. Raises `InvalidInput` for what no text can hold."""
    if not form.is_valid():
        raise InvalidInput("note", "The note contains a character that cannot be stored. Type it again.")
    return form.typed()


def _refused(
    request: HttpRequest, template: str, title: str, form: Any, refusal: Refused, event_id: UUID
) -> HttpResponse:
    """The form again, with the event as it is now."""
    found = _event_or_404(event_id)
    form.errors.clear()
    row = event_rows([found], told([found]))[0]
    return show_refused(request, template, title, form=form, refusal=refusal, row=row, event=found)
