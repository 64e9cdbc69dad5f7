"""The pages of channels: masked facts, settings that are written and never read back, tests (AC-2)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from alerting.channels import KINDS
from alerting.channels.base import ChannelKind
from alerting.channels.opening import CannotUse, open_row
from alerting.draft import LARGEST_ID, InvalidFields
from alerting.forms.channels import ChannelForm
from alerting.forms.settings import SettingsForm
from alerting.models import Channel
from alerting.pages.showing import hide_keys, show
from alerting.selectors import channels as selectors
from alerting.services import channels as services
from alerting.services import trying
from opsportal.accounts.actors import Actor
from opsportal.accounts.guards import permission_required, person
from opsportal.accounts.refusals import Refused, StaleForm
from opsportal.secrets import keyring

FORM = "alerting/channels/form.html"
_OF_SETTINGS = "settings."


@require_safe
@permission_required("alerting.view_channel")
def channels(request: HttpRequest) -> HttpResponse:
    """The list."""
    rows = selectors.channel_rows(selectors.shown_channels())
    return show(request, "alerting/channels/list.html", "Channels", rows=rows)


@require_safe
@permission_required("alerting.view_channel")
def channel(request: HttpRequest, number: int) -> HttpResponse:
    """One channel: what may be shown of it, who uses it, its newest messages."""
    row = channel_or_404(number)
    more: dict[str, Any] = {
        "channel": row,
        "row": selectors.ChannelRow(row, selectors.kind_title(row.kind), 0),
        "rules": selectors.rules_of(row),
        "deliveries": selectors.newest_deliveries(row),
        "unusable": _why_unusable(row),
    }
    return show(request, "alerting/channels/detail.html", row.name, **more)


@require_http_methods(["GET", "POST"])
@sensitive_post_parameters()
@sensitive_variables()
@permission_required("alerting.add_channel")
def add(request: HttpRequest) -> HttpResponse:
    """Set one up: first which kind, then its settings."""
    asked = request.GET if request.method == "GET" else request.POST
    kind = KINDS.get(asked.get("kind", ""))
    if kind is None:
        kinds = [(one, [info.title for info in one.Settings.model_fields.values()]) for one in KINDS.values()]
        return show(request, "alerting/channels/kind.html", "New channel", kinds=kinds)
    title = f"New channel: {kind.title}"
    unreached = services.unreached_rules()
    if request.method == "GET":
        form, settings = ChannelForm(unreached=unreached), SettingsForm(kind)
        return show(request, FORM, title, form=form, settings=settings, kind=kind)
    form, settings = ChannelForm(request.POST, unreached=unreached), SettingsForm(kind, request.POST)
    if not _both_valid(form, settings):
        return _refused(request, title, form, settings, None, kind)
    values = form.cleaned_data
    try:
        made = services.create_channel(
            by=Actor.of(person(request)),
            kind=kind.name,
            name=values["name"],
            settings=settings.values(),
            enabled=values["enabled"],
            for_unreached=values.get("for_unreached", False),
        )
    except Refused as refusal:
        return _refused(request, title, form, settings, refusal, kind)
    messages.success(request, f"The channel {made.name} is set up. Send a test to see whether it works.")
    return redirect("admin:alerting_channel", made.pk)


@require_http_methods(["GET", "POST"])
@sensitive_post_parameters()
@sensitive_variables()
@permission_required("alerting.change_channel")
def edit(request: HttpRequest, number: int) -> HttpResponse:
    """Change its name and settings. What is secret is replaced, or kept unseen."""
    row = channel_or_404(number)
    title = f"Edit {row.name}"
    kind = KINDS.get(row.kind)
    if kind is None:
        messages.error(request, f"Channels of the kind “{row.kind}” are not known here: this one can only be deleted.")
        return redirect("admin:alerting_channel", number)
    present = _present(row)
    if request.method == "GET":
        initial = {"name": row.name, "expected_version": str(row.version)}
        form = ChannelForm(initial=initial, is_new=False)
        settings = SettingsForm(kind, present=present)
        return show(request, FORM, title, form=form, settings=settings, kind=kind, channel=row, lost=present is None)
    return _saved(request, row, kind, present)


@require_POST
@permission_required("alerting.change_channel")
def enable(request: HttpRequest, number: int) -> HttpResponse:
    """Switch it on."""
    row = channel_or_404(number)
    try:
        services.set_enabled(row, True, by=Actor.of(person(request)))
        messages.success(request, f"The channel {row.name} is switched on.")
    except Refused as refusal:
        messages.error(request, refusal.sentence)
    return redirect("admin:alerting_channel", number)


@require_http_methods(["GET", "POST"])
@permission_required("alerting.change_channel")
def disable(request: HttpRequest, number: int) -> HttpResponse:
    """Ask, naming the rules that would tell nobody; then switch it off."""
    row = channel_or_404(number)
    problem, code = "", 200
    if request.method == "POST":
        try:
            services.set_enabled(row, False, by=Actor.of(person(request)))
            messages.success(request, f"The channel {row.name} is switched off.")
            return redirect("admin:alerting_channel", number)
        except Refused as refusal:
            problem, code = refusal.sentence, refusal.status
    more: dict[str, Any] = {"channel": row, "rules": services.left_without(row), "problem": problem}
    more["waiting"] = selectors.waiting_deliveries(row)
    return show(request, "alerting/channels/disable.html", f"Switch off {row.name}", code=code, **more)


@require_http_methods(["GET", "POST"])
@permission_required("alerting.delete_channel")
def delete(request: HttpRequest, number: int) -> HttpResponse:
    """Ask, then delete a channel that no rule uses."""
    row = channel_or_404(number)
    problem, code = "", 200
    if request.method == "POST":
        try:
            services.delete_channel(row, by=Actor.of(person(request)))
            messages.success(request, f"The channel {row.name} is deleted.")
            return redirect("admin:alerting_channels")
        except Refused as refusal:
            problem, code = refusal.sentence, refusal.status
    more: dict[str, Any] = {"channel": row, "rules": selectors.rules_of(row), "problem": problem}
    more["waiting"] = selectors.waiting_deliveries(row)
    return show(request, "alerting/channels/delete.html", f"Delete {row.name}", code=code, **more)


@require_POST
@permission_required("alerting.test_channel")
def send_test(request: HttpRequest, number: int) -> HttpResponse:
    """Send a test notification, then show what becomes of it."""
    row = channel_or_404(number)
    try:
        event = trying.send_test(row, by=Actor.of(person(request)))
    except Refused as refusal:
        messages.error(request, refusal.sentence)
        return redirect("admin:alerting_channel", number)
    return redirect("admin:alerting_channel_tested", number, event.pk)


@require_safe
@permission_required("alerting.view_channel")
def tested(request: HttpRequest, number: int, event_id: UUID) -> HttpResponse:
    """What became of a test."""
    row = channel_or_404(number)
    return show(request, "alerting/channels/tested.html", f"Test of {row.name}", channel=row, **_outcome(row, event_id))


@require_safe
@permission_required("alerting.view_channel")
def tested_fragment(request: HttpRequest, number: int, event_id: UUID) -> HttpResponse:
    """The same, asked again and again until it is finished; no content where nothing has changed, so that nobody is
    told the same twice."""
    row = channel_or_404(number)
    found = _outcome(row, event_id)
    if request.GET.get("seen") == found["outcome"].stamp:
        response = HttpResponse(status=204)
    else:
        response = render(request, "alerting/channels/_tested.html", {"channel": row, **found})
    response["Cache-Control"] = "no-store"
    return response


@sensitive_variables()
def _saved(request: HttpRequest, row: Channel, kind: ChannelKind, present: dict[str, Any] | None) -> HttpResponse:
    """What the edit form sends."""
    title = f"Edit {row.name}"
    form, settings = ChannelForm(request.POST, is_new=False), SettingsForm(kind, request.POST, present=present)
    if not _both_valid(form, settings):
        return _refused(request, title, form, settings, None, kind, channel=row)
    version = form.cleaned_data["expected_version"] or row.version
    try:
        if version != row.version:
            raise StaleForm(services.STALE)  # what is kept unseen must be of the version that was shown
        changed = services.update_channel(
            row,
            by=Actor.of(person(request)),
            name=form.cleaned_data["name"],
            settings=settings.values(),
            expected_version=version,
        )
    except Refused as refusal:
        more: dict[str, Any] = {"channel": row}
        if isinstance(refusal, StaleForm):
            now = channel_or_404(row.pk)
            more = {"channel": now, "unticked": settings.removes}
            form.follow(now.version)
            settings = settings.follow(_present(now))
            more["now_is"] = _differences(now, form, settings)
        return _refused(request, title, form, settings, refusal, kind, **more)
    if changed:
        messages.success(request, f"Saved: {', '.join(changed)}.")
    else:
        messages.info(request, "Nothing was different: nothing was changed.")
    return redirect("admin:alerting_channel", row.pk)


def channel_or_404(number: int) -> Channel:
    """The channel with this number."""
    row = Channel.objects.filter(pk=number).first() if number <= LARGEST_ID else None
    if row is None:
        raise Http404
    return row


def _outcome(channel: Channel, event_id: UUID) -> dict[str, Any]:
    outcome = selectors.outcome_of_test(channel, event_id, timezone.now())
    if outcome is None:
        raise Http404
    return {"outcome": outcome}


def _present(channel: Channel) -> dict[str, Any] | None:
    """The settings as they are kept, also where they do not fit any more; None when they cannot be read."""
    try:
        found = json.loads(keyring.unseal(channel.sealed))
    except (keyring.CannotOpen, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _differences(now: Channel, form: ChannelForm, settings: SettingsForm) -> list[tuple[str, str]]:
    """What is there now and was not typed: names and values for people, masked."""
    name = [] if form.cleaned_data["name"] == now.name else [("Name", now.name)]
    return name + settings.differences()


def _why_unusable(channel: Channel) -> str:
    try:
        open_row(channel)
    except CannotUse as refusal:
        return refusal.sentence
    return ""


def _both_valid(form: ChannelForm, settings: SettingsForm) -> bool:
    """Both are judged, so that every error is shown at once."""
    return all([form.is_valid(), settings.is_valid()])


def _place(form: ChannelForm, settings: SettingsForm, errors: Mapping[str, str]) -> list[str]:
    """Show the sentences at their fields, one each; gives those that are of none."""
    rest = []
    for name, sentence in errors.items():
        place: Form = settings if name.startswith(_OF_SETTINGS) else form
        field = name.removeprefix(_OF_SETTINGS)
        if field not in place.fields:
            rest.append(sentence)
        elif field not in place.errors:
            place.add_error(field, sentence)
    return rest


def _refused(
    request: HttpRequest,
    title: str,
    form: ChannelForm,
    settings: SettingsForm,
    refusal: Refused | None,
    kind: ChannelKind,
    **more: Any,
) -> HttpResponse:
    """The forms again with what was typed but no secret, and why nothing happened."""
    problem = refusal.sentence if refusal else ""
    if refusal is None:
        # One of the forms has errors of its own: what the service would say of the rest is said now as well.
        _place(form, settings, services.objections(kind.name, form.cleaned_data.get("name", ""), settings.values()))
    elif isinstance(refusal, InvalidFields):
        problem = " ".join(_place(form, settings, refusal.errors))
    hide_keys(form)
    hide_keys(settings)
    code = refusal.status if refusal else 422
    return show(
        request, FORM, title, code=code, form=form, settings=settings, kind=kind, problem=problem, again=True, **more
    )
