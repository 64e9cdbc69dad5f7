"""The pages of rules: which there are, one of them, and everything that is done to it (AL-1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from alerting.conditions import CONDITIONS, Condition, find_condition
from alerting.draft import LARGEST_ID
from alerting.forms.rules import FORM_FIELD, RuleFilter, RuleForm, initial_of, preset_initial, rule_condition_words
from alerting.models import Rule, Severity
from alerting.pages.showing import show, show_refused
from alerting.selectors import rules as selectors
from alerting.selectors.event_lines import event_lines
from alerting.selectors.presets import preset_of
from alerting.services import rules as services
from opsportal.accounts.actors import Actor
from opsportal.accounts.guards import permission_required, person
from opsportal.accounts.refusals import Refused, StaleForm

PAGE_SIZE = 50
FORM = "alerting/rules/form.html"


@require_safe
@permission_required("alerting.view_rule")
def rules(request: HttpRequest) -> HttpResponse:
    """The list."""
    form = RuleFilter(request.GET)
    found = selectors.filtered_rules(form.cleaned_data) if form.is_valid() else Rule.objects.none()
    page = Paginator(found, PAGE_SIZE).get_page(request.GET.get("page"))
    query = request.GET.copy()
    for name in [name for name in query if name not in form.fields or not query[name]]:
        del query[name]
    return show(
        request,
        "alerting/rules/list.html",
        "Alert rules",
        rows=selectors.rule_rows(list(page.object_list)),
        page=page,
        filter_form=form,
        querystring=query.urlencode(),
        tell_nobody=selectors.count_telling_nobody(),
    )


@require_safe
@permission_required("alerting.view_rule")
def rule(request: HttpRequest, number: int) -> HttpResponse:
    """One rule: what it says, whom it tells, what it did."""
    row = rule_or_404(number)
    now = timezone.now()
    actor = Actor.of(person(request))
    return show(
        request,
        "alerting/rules/detail.html",
        row.name,
        rule=row,
        row=selectors.rule_rows([row])[0],
        condition=find_condition(row.metric),
        condition_words=rule_condition_words(row),
        open_events=event_lines(selectors.open_events(row)),
        events=event_lines(selectors.rule_events(row)),
        silences=selectors.silences_of(row, now),
        now=now,
        guarded=services.is_guarded(row, actor),
    )


@require_http_methods(["GET", "POST"])
@permission_required("alerting.add_rule")
def add(request: HttpRequest) -> HttpResponse:
    """A new rule: first about what, then the rest."""
    asked = request.GET if request.method == "GET" else request.POST
    condition = find_condition(asked.get("metric", ""))
    if condition is None:
        return show(request, "alerting/rules/metric.html", "New rule", conditions=CONDITIONS.values())
    return _form_page(request, condition, title="New rule")


@require_http_methods(["GET", "POST"])
@permission_required("alerting.change_rule")
def edit(request: HttpRequest, number: int) -> HttpResponse:
    """Change a rule."""
    row = rule_or_404(number)
    asked = request.GET if request.method == "GET" else request.POST
    guarded = services.is_guarded(row, Actor.of(person(request)))
    condition = (None if guarded else find_condition(asked.get("metric", ""))) or find_condition(row.metric)
    if condition is None:
        return show(request, "alerting/rules/metric.html", f"Edit {row.name}", conditions=CONDITIONS.values(), rule=row)
    return _form_page(request, condition, title=f"Edit {row.name}", rule=row)


@require_http_methods(["GET", "POST"])
@permission_required("alerting.add_rule")
def duplicate(request: HttpRequest, number: int) -> HttpResponse:
    """A new rule that begins as a copy: switched off, without the trip action."""
    row = rule_or_404(number)
    asked = request.GET if request.method == "GET" else request.POST
    condition = find_condition(asked.get("metric", "")) or find_condition(row.metric)
    if condition is None:
        return redirect("admin:alerting_rules_add")
    return _form_page(request, condition, title=f"Copy of {row.name}", copied=row)


@require_POST
@permission_required("alerting.change_rule")
def enable(request: HttpRequest, number: int) -> HttpResponse:
    """Switch a rule on."""
    return _switched(request, number, enabled=True)


@require_POST
@permission_required("alerting.change_rule")
def disable(request: HttpRequest, number: int) -> HttpResponse:
    """Switch a rule off."""
    return _switched(request, number, enabled=False)


@require_http_methods(["GET", "POST"])
@permission_required("alerting.delete_rule")
def delete(request: HttpRequest, number: int) -> HttpResponse:
    """Ask, then delete a rule."""
    row = rule_or_404(number)
    problem, code = "", 200
    if request.method == "POST":
        try:
            services.delete_rule(row, by=Actor.of(person(request)), expected_version=_version(request))
        except Refused as refusal:
            problem, code = refusal.sentence, refusal.status
            row = rule_or_404(number)
        else:
            messages.success(request, f"The rule {row.name} is deleted.")
            return redirect("admin:alerting_rules")
    more: dict[str, Any] = {
        "rule": row,
        "row": selectors.rule_rows([row])[0],
        "silences": len(selectors.silences_of(row, timezone.now())),
        "problem": problem,
    }
    return show(request, "alerting/rules/delete.html", f"Delete {row.name}", code=code, **more)


def rule_or_404(number: int) -> Rule:
    """The rule with this number."""
    row = selectors.shown_rules().filter(pk=number).first() if number <= LARGEST_ID else None
    if row is None:
        raise Http404
    return row


def _switched(request: HttpRequest, number: int, *, enabled: bool) -> HttpResponse:
    row = rule_or_404(number)
    try:
        done = services.set_enabled(row, enabled, by=Actor.of(person(request)))
    except Refused as refusal:
        messages.error(request, refusal.sentence)
    else:
        word = "on" if enabled else "off"
        if done:
            messages.success(request, f"The rule {row.name} is switched {word}.")
        else:
            messages.info(request, f"The rule {row.name} is switched {word} already.")
    return redirect("admin:alerting_rule", number)


def _form_page(
    request: HttpRequest, condition: Condition, *, title: str, rule: Rule | None = None, copied: Rule | None = None
) -> HttpResponse:
    actor = Actor.of(person(request))
    preset = preset_of(condition)
    options: dict[str, Any] = {
        "condition": condition,
        "may_arm": actor.may(services.ARM),
        "rule": rule,
        "preset": preset.words,
        "initial": _initial(condition, preset.threshold, rule, copied),
    }
    more: dict[str, Any] = {"rule": rule, "copied": copied, "condition": condition}
    if request.method == "GET":
        return show(request, FORM, title, form=RuleForm(**options), **more)
    if "change_metric" in request.POST:
        # Only the unit and the suggestion change; nothing is judged, nothing that was typed is lost.
        data = request.POST.copy()
        data["comparison"], data["threshold"] = condition.comparison, options["initial"]["threshold"]
        unjudged = RuleForm(**{**options, "initial": {**options["initial"], **_typed(data)}})
        return show(request, FORM, title, form=unjudged, **more)
    return _saved(request, RuleForm(request.POST, **options), actor, title, more)


def _saved(request: HttpRequest, form: RuleForm, actor: Actor, title: str, more: Mapping[str, Any]) -> HttpResponse:
    rule: Rule | None = more["rule"]
    if not form.is_valid():
        form.judge_the_rest(rule)
        return show_refused(request, FORM, title, form=form, refusal=None, **more)
    try:
        if rule is None:
            made = services.create_rule(by=actor, values=form.values())
            messages.success(request, f"The rule {made.name} is made.")
            return redirect("admin:alerting_rule", made.pk)
        version = form.cleaned_data["expected_version"] or rule.version
        changed = services.update_rule(rule, by=actor, values=form.values(rule), expected_version=version)
    except Refused as refusal:
        if isinstance(refusal, StaleForm) and rule is not None:
            now = rule_or_404(rule.pk)
            form.follow(now)
            more = {**more, "rule": now, "now_is": differences(now, form.values(now))}
        return show_refused(request, FORM, title, form=form, refusal=refusal, names=FORM_FIELD, **more)
    if changed:
        messages.success(request, "Saved.")
    else:
        messages.info(request, "Nothing was different: nothing was changed.")
    return redirect("admin:alerting_rule", rule.pk)


def differences(now: Rule, typed: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is there now and was not typed: names and values for people."""
    held = services.current_values(now)
    found = []
    if any(held[name] != typed[name] for name in services.GUARDED):
        found.append(("Condition", rule_condition_words(now)))
    if held["severity"] != typed["severity"]:
        found.append(("Severity", Severity(now.severity).word))
    if sorted(held["channels"]) != sorted(typed["channels"]):
        names = ", ".join(channel.name for channel in now.channels.all())
        found.append(("Channels", names or "none"))
    for name, title in (
        ("name", "Name"),
        ("description", "Description"),
        ("owner", "Owner"),
        ("runbook_url", "Runbook"),
    ):
        if held[name] != typed[name]:
            found.append((title, held[name] or "none"))
    for name, title in (
        ("enabled", "Switched on"),
        ("notify_resolved", "Tells when it is over"),
        ("trips_breaker", "Trips"),
    ):
        if held[name] != typed[name]:
            found.append((title, "yes" if held[name] else "no"))
    return found


def _initial(condition: Condition, suggested: float, rule: Rule | None, copied: Rule | None) -> dict[str, Any]:
    """What the form shows at first: the rule's values, in a metric's own unit; the suggestion for another metric."""
    if rule is not None:
        found = {**initial_of(services.current_values(rule)), "expected_version": str(rule.version)}
    elif copied is not None:
        found = initial_of(services.copied_values(copied))
    else:
        return preset_initial(condition, suggested)
    if found["metric"] != condition.name:
        fresh = preset_initial(condition, suggested)
        found |= {name: fresh[name] for name in ("metric", "comparison", "threshold")}
    return found


def _typed(data: Any) -> dict[str, Any]:
    """What was typed, as initial values."""
    names = [name for name in RuleForm.base_fields if name != "channels"]
    switches = ("notify_resolved", "trips_breaker", "enabled")
    return {name: name in data if name in switches else data.get(name, "") for name in names} | {
        "channels": data.getlist("channels")
    }


def _version(request: HttpRequest) -> int | None:
    text = request.POST.get("expected_version", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
