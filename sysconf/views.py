"""The pages: all sections, one section with its form and history, the review of a change, a version, a conflict.

A change goes form → review → save. Everything that was typed travels in the pages themselves, so nothing is lost on an
error, and nothing is kept on the server before it is saved.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from opsportal.accounts.actors import Actor
from opsportal.accounts.guards import permission_required, person
from sysconf import browsing, services
from sysconf.changes import described, diff, settings_of
from sysconf.errors import Conflict, InvalidInput, InvalidValues
from sysconf.forms import ReviewForm, SectionForm, section_form
from sysconf.models import Version
from sysconf.sections import Section, find_section
from sysconf.selectors import header_state, newest_stored, validated, values_of_version
from sysconf.wording import WHOLE

REDIS_AWAY = (
    "Redis does not answer: services may go on with the old values until it is back, and up to 5 seconds longer."
)


def header_context() -> dict[str, str]:
    """What the header of every page says of the configuration, and where it asks again (`sysconfig/_state.html`)."""
    url = reverse("admin:sysconfig_state_fragment") if settings.FEATURES["sysconfig"] else ""
    return {"config_state": header_state(), "config_state_url": url}


@require_safe
def state_fragment(request: HttpRequest) -> HttpResponse:
    """The header's badge alone. Who is not signed in gets nothing: a page with a half-typed form must stay open."""
    if not (request.user.is_authenticated and request.user.is_active and person(request).is_staff):
        return HttpResponse(status=204)
    response = render(request, "sysconfig/_state.html", header_context())
    response["Cache-Control"] = "no-store"
    return response


@require_safe
@permission_required("sysconfig.view_section")
def page(request: HttpRequest) -> HttpResponse:
    """All sections with what holds now."""
    return _page(request, "sysconfig/page.html", "Configuration", sections=browsing.shown_sections())


@require_http_methods(["GET", "POST"])
@permission_required("sysconfig.view_section")
def edit(request: HttpRequest, section: str) -> HttpResponse:
    """A section with its form and history; a POST asks for the review of a change."""
    found = _section_or_404(section)
    if request.method == "GET":
        return _section_page(request, found)
    Actor.of(person(request)).require("sysconfig.change_section")
    if "edit" in request.POST:
        form = section_form(found).retyped(request.POST)
        return _section_page(request, found, form=form, base=_number(request.POST, "base"))
    typed = _merged(request, found) if "merge" in request.POST else request.POST
    if isinstance(typed, HttpResponse):
        return typed
    return _review(request, found, typed)


@require_POST
@permission_required("sysconfig.change_section")
def save(request: HttpRequest, section: str) -> HttpResponse:
    """Save what was reviewed."""
    found = _section_or_404(section)
    form = section_form(found)(request.POST)
    if not form.is_valid():
        return _section_page(request, found, form=form, base=_number(request.POST, "base"), code=422)
    base = _number(request.POST, "base")
    try:
        saved = services.save_section(
            found.key,
            form.values(),
            by=Actor.of(person(request)),
            reason=request.POST.get("reason", ""),
            base_version=-1 if base is None else base,
            acknowledged=bool(request.POST.get("acknowledged")),
            restored_from=_number(request.POST, "restored_from"),
        )
    except Conflict as conflict:
        return _conflict_page(request, found, conflict, form.values(), code=409)
    except InvalidInput as refusal:
        return _refused(request, found, form, refusal)
    if saved.cached:
        messages.success(request, f"{found.title}: saved as version {saved.number}. It holds now.")
    else:
        messages.warning(request, f"{found.title}: saved as version {saved.number}. {REDIS_AWAY}")
    return redirect("admin:sysconfig_section", section=found.key)


@require_safe
@permission_required("sysconfig.view_section")
def version(request: HttpRequest, section: str, number: int) -> HttpResponse:
    """What a section held in one version, and the way to restore it. Version 0 are the defaults."""
    found = _section_or_404(section)
    row = Version.objects.filter(section=found.key, number=number).first()
    values = values_of_version(found, number)
    if values is None:
        raise Http404
    newest = newest_stored(found)
    more: dict[str, Any] = {"number": number, "newest": newest.number}
    if row is not None:
        more["row"] = browsing.version_row(found, row)
    try:
        values = validated(found, values).to_values()
        more["changes"] = described(found, diff(newest.values, values))
        more["form"] = section_form(found).showing(values)
    except InvalidValues as problem:
        more["problems"] = browsing.labelled(found, problem.errors)
    more["settings"] = settings_of(found, values)
    title = f"{found.title}, version {number}"
    return _page(request, "sysconfig/version.html", title, section=found, **more)


def _review(request: HttpRequest, section: type[Section], typed: QueryDict) -> HttpResponse:
    """The page that asks why, and names what is dangerous; or the form again, or the conflict."""
    form = section_form(section)(typed)
    base = _number(typed, "base")
    if not form.is_valid():
        return _section_page(request, section, form=form, base=base, code=422)
    try:
        wanted = validated(section, form.values()).to_values()
    except InvalidValues as problem:
        form.add_errors(problem.errors)
        return _section_page(request, section, form=form, base=base, code=422)
    newest = newest_stored(section)
    if base != newest.number:
        earlier = None if base is None else values_of_version(section, base)
        conflict = Conflict(base=earlier, theirs=newest.values, number=newest.number, by=newest.by)
        return _conflict_page(request, section, conflict, wanted, code=409)
    if not diff(newest.values, wanted):
        form.add_error(None, "These are the present values: there is nothing to save.")
        return _section_page(request, section, form=form, base=base, code=422)
    return _review_page(request, section, form, typed, wanted=wanted)


def _review_page(
    request: HttpRequest,
    section: type[Section],
    form: SectionForm,
    typed: QueryDict,
    *,
    wanted: dict[str, Any],
    refusal: InvalidInput | None = None,
) -> HttpResponse:
    changes = described(section, diff(newest_stored(section).values, wanted))
    dangerous = any(change.why for change in changes)
    answers = {"reason": typed.get("reason", ""), "acknowledged": typed.get("acknowledged", "")}
    review = ReviewForm(answers if refusal else None, initial={"reason": answers["reason"]}, dangerous=dangerous)
    problem = ""
    if refusal:
        review.is_valid()
        if refusal.field in review.fields:
            review.add_error(refusal.field, refusal.sentence)
        else:
            problem = refusal.sentence
    more: dict[str, Any] = {
        "changes": changes,
        "dangerous": dangerous,
        "form": form,
        "review": review,
        "base": _number(typed, "base"),
        "restored_from": _number(typed, "restored_from"),
        "problem": problem,
    }
    title = f"Review the change: {section.title}"
    return _page(request, "sysconfig/review.html", title, section=section, code=422 if refusal else 200, **more)


def _refused(request: HttpRequest, section: type[Section], form: SectionForm, refusal: InvalidInput) -> HttpResponse:
    """Back to where it can be put right, with everything that was typed."""
    if isinstance(refusal, InvalidValues) or refusal.field == WHOLE:
        errors = refusal.errors if isinstance(refusal, InvalidValues) else {WHOLE: [refusal.sentence]}
        form.add_errors(errors)
        return _section_page(request, section, form=form, base=_number(request.POST, "base"), code=422)
    wanted = validated(section, form.values()).to_values()
    return _review_page(request, section, form, request.POST, wanted=wanted, refusal=refusal)


def _merged(request: HttpRequest, section: type[Section]) -> QueryDict | HttpResponse:
    """What was chosen on the conflict page, as if it had been typed; the page again while something is not chosen."""
    typed = request.POST.copy()
    typed.pop("restored_from", None)
    number = _number(typed, "base")
    theirs = None if number is None else values_of_version(section, number)
    form = section_form(section)(typed)
    if number is None or theirs is None or not form.is_valid():
        return typed
    yours = form.values()
    open_fields = [name for name in diff(theirs, yours) if name in form.fields]
    for name in open_fields:
        take = typed.get(f"take-{name}")
        if take not in ("theirs", "yours"):
            conflict = Conflict(base=None, theirs=theirs, number=number, by="")
            return _conflict_page(
                request, section, conflict, yours, code=422, problem="Choose a value for each setting below."
            )
        if take == "theirs":
            typed[f"{form.prefix}-{name}"] = form.kind(name).text(theirs.get(name))
    return typed


def _conflict_page(
    request: HttpRequest,
    section: type[Section],
    conflict: Conflict,
    yours: dict[str, Any],
    *,
    code: int,
    problem: str = "",
) -> HttpResponse:
    rows = browsing.clashes(section, base=conflict.base, theirs=conflict.theirs, yours=yours)
    more = {
        "problem": problem or conflict.sentence,
        "rows": [(row, request.POST.get(f"take-{row.field}", row.take)) for row in rows],
        "form": section_form(section).showing(yours),
        "number": conflict.number,
    }
    title = f"Changed by somebody else: {section.title}"
    return _page(request, "sysconfig/conflict.html", title, section=section, code=code, **more)


def _section_page(
    request: HttpRequest,
    section: type[Section],
    *,
    form: SectionForm | None = None,
    base: int | None = None,
    code: int = 200,
) -> HttpResponse:
    shown = browsing.shown_section(section)
    may_change = person(request).has_perm("sysconfig.change_section") and not shown.notice
    if form is None:
        form, base = section_form(section).showing(shown.values), shown.version
    history = browsing.history_page(section, request.GET.get("page"))
    more = {
        "shown": shown,
        "form": form,
        "base": base,
        "may_change": may_change,
        "history": history,
        "versions": [browsing.version_row(section, row) for row in history] if history else [],
    }
    return _page(request, "sysconfig/section.html", section.title, section=section, code=code, **more)


def _section_or_404(key: str) -> type[Section]:
    section = find_section(key)
    if section is None:
        raise Http404
    return section


def _number(typed: QueryDict, name: str) -> int | None:
    """A version's number as a hidden field carries it; None for anything else."""
    text = typed.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None


def _page(request: HttpRequest, template: str, title: str, *, code: int = 200, **more: Any) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        "title": title,
        "reason": request.POST.get("reason", ""),
        **more,
    }
    response = render(request, template, context, status=code)
    response["Cache-Control"] = "no-store"
    return response
