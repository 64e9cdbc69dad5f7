"""The pages of silences: what is silent now, soon and before; asking for one, changing it, ending it (AL-7)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from alerting.draft import LABELS_MAX, LARGEST_ID
from alerting.forms.fields import labels_text
from alerting.forms.silences import SilenceForm, silence_initial
from alerting.models import Event, Silence
from alerting.pages.showing import show, show_refused
from alerting.selectors import silences as selectors
from alerting.selectors.event_lines import event_lines
from alerting.services import silences as services
from opsportal.accounts.actors import Actor
from opsportal.accounts.guards import permission_required, person
from opsportal.accounts.refusals import Refused, StaleForm

PAGE_SIZE = 25
FORM = "alerting/silences/form.html"


@require_safe
@permission_required("alerting.view_silence")
def silences(request: HttpRequest) -> HttpResponse:
    """All of them: those that run, those to come, and page by page those that are past."""
    now = timezone.now()
    rows = [selectors.silence_row(silence, now) for silence in selectors.unfinished(now)]
    page = Paginator(selectors.finished(now), PAGE_SIZE).get_page(request.GET.get("page"))
    past = [selectors.silence_row(silence, now) for silence in page.object_list]
    return show(request, "alerting/silences/list.html", "Silences", rows=rows, past=past, page=page)


@require_safe
@permission_required("alerting.view_silence")
def silence(request: HttpRequest, number: int) -> HttpResponse:
    """One silence, and the alerts whose messages it held back."""
    found = silence_or_404(number)
    events = event_lines(selectors.held_back(found))
    row = selectors.silence_row(found, timezone.now())
    return show(request, "alerting/silences/detail.html", f"Silence of {row.what}"[:150], row=row, events=events)


@require_http_methods(["GET", "POST"])
@permission_required("alerting.add_silence")
def add(request: HttpRequest) -> HttpResponse:
    """Ask for a silence. `?rule=`, `?service=` and `?event=` fill it in."""
    title = "New silence"
    if request.method == "GET":
        return show(request, FORM, title, form=SilenceForm(initial=_prefilled(request.GET)))
    form = SilenceForm(request.POST)
    if not form.is_valid():
        return show_refused(request, FORM, title, form=form, refusal=None)
    try:
        silence = services.create_silence(by=Actor.of(person(request)), values=form.values(timezone.now()))
    except Refused as refusal:
        return show_refused(request, FORM, title, form=form, refusal=refusal)
    messages.success(request, _said(silence))
    return redirect("admin:alerting_silences")


@require_http_methods(["GET", "POST"])
@permission_required("alerting.change_silence")
def edit(request: HttpRequest, number: int) -> HttpResponse:
    """Change a silence that has not ended."""
    row = silence_or_404(number)
    title = "Change the silence"
    if selectors.state_of(row, timezone.now()) == "past":
        messages.info(request, "This silence is over: it cannot be changed. Make a new one.")
        return redirect("admin:alerting_silences")
    if request.method == "GET":
        form = SilenceForm(initial=silence_initial(row), silence=row)
        return show(request, FORM, title, form=form, silence=row)
    form = SilenceForm(request.POST, initial=silence_initial(row), silence=row)
    if not form.is_valid():
        return show_refused(request, FORM, title, form=form, refusal=None, silence=row)
    try:
        changed = services.update_silence(
            row,
            by=Actor.of(person(request)),
            values=form.values(timezone.now()),
            expected=form.cleaned_data["expected"],
        )
    except Refused as refusal:
        more: dict[str, Any] = {"silence": row}
        if isinstance(refusal, StaleForm):
            more["now_is"] = selectors.silence_row(row, timezone.now())
            form.follow(row)
        return show_refused(request, FORM, title, form=form, refusal=refusal, **more)
    messages.success(request, "Saved.") if changed else messages.info(request, "Nothing was different.")
    return redirect("admin:alerting_silences")


@require_http_methods(["GET", "POST"])
@permission_required("alerting.change_silence")
def end(request: HttpRequest, number: int) -> HttpResponse:
    """Ask, then end a silence early, or call it off."""
    row = silence_or_404(number)
    now = timezone.now()
    problem, code = "", 200
    if request.method == "POST":
        try:
            services.end_silence(row, by=Actor.of(person(request)))
        except Refused as refusal:
            problem, code = refusal.sentence, refusal.status
        else:
            messages.success(request, "The silence has ended. What still fires is told now.")
            return redirect("admin:alerting_silences")
    shown = selectors.silence_row(silence_or_404(number), now)
    return show(request, "alerting/silences/end.html", "End the silence", code=code, row=shown, problem=problem)


def silence_or_404(number: int) -> Silence:
    """The silence with this number."""
    row = selectors.shown_silences().filter(pk=number).first() if number <= LARGEST_ID else None
    if row is None:
        raise Http404
    return row


def _prefilled(query: QueryDict) -> dict[str, Any]:
    """What the address asks for; what it names wrongly is left out."""
    found: dict[str, Any] = {"rule": query.get("rule", "")[:20], "service": query.get("service", "")[:100]}
    try:
        event = Event.objects.filter(pk=UUID(query.get("event", ""))).first()
    except ValueError:
        event = None
    if event is not None:
        found |= {
            "rule": str(event.rule_id or ""),
            "labels": labels_text(dict(list(event.labels.items())[:LABELS_MAX])),
        }
    return found


def _said(silence: Silence) -> str:
    now = timezone.now()
    row = selectors.silence_row(silence, now)
    if row.state == "coming":
        return "The silence will begin as asked."
    fits = f"It fits {row.matches} open alert{'' if row.matches == 1 else 's'} now." if row.matches else ""
    return f"It is silent now. {fits}".strip()
