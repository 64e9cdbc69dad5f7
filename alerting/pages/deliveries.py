"""The pages of deliveries: the list, one with its attempts, and what is poisoned by its cause (AD-4, AD-10)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from alerting.errors import InvalidInput, Refused
from alerting.forms.deliveries import Chosen, DeliveryFilter, without_addresses
from alerting.forms.filters import NoteForm
from alerting.models import Delivery
from alerting.pages.listings import Listing
from alerting.pages.showing import posted_only, show, show_refused
from alerting.selectors import deliveries as selectors
from alerting.selectors.delivery_rows import DeliveryRow, delivery_rows
from alerting.selectors.events import events_by_id
from alerting.selectors.paging import TooSlow, parse_number
from alerting.services import deliveries as services
from opsportal.accounts.actors import Actor
from opsportal.accounts.guards import permission_required, person

RESOLVE_HELP = "How it was dealt with, such as “told by phone”. It goes into the audit log."
TITLE_RESOLVE = "Resolve poisoned deliveries"


@dataclass(frozen=True)
class Group:
    """Poison of one cause, as the page shows it."""

    cause: selectors.Cause
    rows: tuple[DeliveryRow, ...]

    @property
    def trips(self) -> bool:
        """Whether retrying trips the breaker."""
        return self.rows[0].trips if self.rows else False

    @property
    def more(self) -> int:
        """How many are not shown."""
        return self.cause.count - len(self.rows)


@require_safe
@permission_required("alerting.view_delivery")
def deliveries(request: HttpRequest) -> HttpResponse:
    """The list, filtered."""
    if (query := without_addresses(request.GET)) is not request.GET:
        # An address was typed: look for its masked form, and take it out of the address bar.
        return redirect(f"{reverse('admin:alerting_deliveries')}?{query.urlencode()}")
    return show(request, "alerting/deliveries/list.html", "Deliveries", listing=listing(request.GET))


@require_safe
@permission_required("alerting.view_delivery")
def delivery(request: HttpRequest, number: int) -> HttpResponse:
    """One delivery: its attempts, and the digest that it is part of."""
    found = selectors.delivery_by_number(number)
    if found is None:
        raise Http404
    members = selectors.members_of(found.pk)
    row, *others = _rows([found, *members], attempts=True)
    return show(
        request,
        "alerting/deliveries/detail.html",
        f"Delivery {found.pk}",
        row=row,
        delivery=found,
        members=others,
        may_retry=(row.needs_person or row.rests) and _may_retry(request, row),
        may_resolve=row.needs_person and person(request).has_perm("alerting.resolve_delivery"),
    )


@require_safe
@permission_required("alerting.view_delivery")
def poison(request: HttpRequest) -> HttpResponse:
    """What needs a person, by its cause, the newest first."""
    return _poison_page(request)


@posted_only("admin:alerting_poison")
@permission_required("alerting.retry_delivery")
def retry(request: HttpRequest) -> HttpResponse:
    """Try the chosen ones again, or all of a cause."""
    chosen, by = Chosen.of(request.POST), Actor.of(person(request))
    try:
        if chosen.whole_cause:
            done = services.retry_cause(chosen.kind, chosen.outcome, newest=chosen.newest, by=by)
        else:
            done = services.retry_deliveries(chosen.ids, by=by)
    except Refused as refusal:
        return _poison_page(request, problem=refusal.sentence, code=refusal.status)
    messages.success(request, f"{_counted(done.count)} will be tried again, beginning now.")
    if done.left:
        messages.warning(
            request, f"{_counted(done.left)} stay: their channel still cannot be used. Set it right first."
        )
    return redirect(_way_back(request, chosen))


@posted_only("admin:alerting_poison")
@permission_required("alerting.resolve_delivery")
def resolve(request: HttpRequest) -> HttpResponse:
    """Ask how it was dealt with, then set the chosen ones aside for good."""
    chosen, by = Chosen.of(request.POST), Actor.of(person(request))
    if not chosen.ids and not chosen.whole_cause:
        return _poison_page(request, problem="Tick at least one delivery.", code=422)
    if "note" not in request.POST:
        return show(
            request,
            "alerting/deliveries/resolve.html",
            TITLE_RESOLVE,
            form=NoteForm(needed=True, help_text=RESOLVE_HELP),
            chosen=chosen,
            back=_way_back(request, chosen),
        )
    form = NoteForm(request.POST, needed=True, help_text=RESOLVE_HELP)
    try:
        if not form.is_valid():
            raise InvalidInput("note", "The note contains a character that cannot be stored. Type it again.")
        if chosen.whole_cause:
            count = services.resolve_cause(chosen.kind, chosen.outcome, newest=chosen.newest, by=by, note=form.typed())
        else:
            count = services.resolve_deliveries(chosen.ids, by=by, note=form.typed())
    except Refused as refusal:
        form.errors.clear()
        more: dict[str, Any] = {"chosen": chosen, "back": _way_back(request, chosen)}
        return show_refused(
            request, "alerting/deliveries/resolve.html", TITLE_RESOLVE, form=form, refusal=refusal, **more
        )
    messages.success(request, f"{_counted(count)} resolved: they need nobody any more.")
    return redirect(_way_back(request, chosen))


def listing(query: QueryDict) -> Listing[DeliveryFilter, DeliveryRow]:
    """What a query string asks for; a wrong filter gives its sentence and asks the database nothing."""
    form = DeliveryFilter(query)
    if not form.is_valid():
        return Listing(form)
    filters = form.filters()
    before, after = (parse_number(query.get(name, "")) for name in ("before", "after"))
    if before is not None:
        after = None
    found = selectors.find_deliveries(filters, before=before, after=after)
    if after is not None and not found.stopped and not found.more:
        # The newest after all: a full page of them, not the few that came in since.
        before = after = None
        found = selectors.find_deliveries(filters)
    rows = found.deliveries
    paged = before is not None or after is not None
    return Listing(
        form,
        rows=_rows(rows),
        querystring=urlencode(form.given()),
        newer=str(rows[0].pk) if rows and paged else "",
        older=str(rows[-1].pk) if rows and (found.more or after is not None) else "",
        newest=not paged,
        stopped=found.stopped,
    )


def _rows(found: Any, *, attempts: bool = False) -> tuple[DeliveryRow, ...]:
    found = list(found)
    if not found:
        return ()
    earliest = min(delivery.event_started_at for delivery in found) - timedelta(days=1)
    return delivery_rows(
        found,
        now=timezone.now(),
        channels=selectors.channel_names(),
        events=events_by_id(list({delivery.event_id for delivery in found}), earliest),
        attempts=selectors.attempts_of(found[:1]) if attempts else None,
    )


def _poison_page(request: HttpRequest, *, problem: str = "", code: int = 200) -> HttpResponse:
    stopped = False
    try:
        causes = selectors.causes_of_poison()
    except TooSlow:
        causes, stopped = [], True
    return show(
        request,
        "alerting/deliveries/poison.html",
        "Poison",
        code=code,
        groups=_groups(causes),
        most=selectors.MOST_CAUSES,
        most_at_once=services.MOST_AT_ONCE,
        problem=problem,
        stopped=stopped,
    )


def _groups(causes: list[selectors.Cause]) -> list[Group]:
    shown: list[Delivery] = [delivery for cause in causes for delivery in cause.deliveries]
    by_number = {row.delivery.pk: row for row in _rows(shown)}
    return [Group(cause, tuple(by_number[delivery.pk] for delivery in cause.deliveries)) for cause in causes]


def _may_retry(request: HttpRequest, row: DeliveryRow) -> bool:
    user = person(request)
    return user.has_perm("alerting.retry_delivery") and (not row.trips or user.has_perm("circuit.trip_breaker"))


def _way_back(request: HttpRequest, chosen: Chosen) -> str:
    """To the one delivery whose page the form was on, or to the poison."""
    if request.POST.get("from") == "delivery" and len(chosen.ids) == 1:
        return reverse("admin:alerting_delivery", args=chosen.ids)
    return reverse("admin:alerting_poison")


def _counted(number: int) -> str:
    return "1 delivery" if number == 1 else f"{number:,} deliveries"
