"""The page before a change to one user or many: what it would do to each, the reason, and then all of it or nothing."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from opsportal.accounts import selectors
from opsportal.accounts.actors import Actor
from opsportal.accounts.changes import Change, Plan, Verb, carry_out, plan_change, read_change, read_id, users_to_change
from opsportal.accounts.forms import ReasonForm
from opsportal.accounts.guards import permission_required, person
from opsportal.accounts.models import User
from opsportal.accounts.refusals import InvalidInput, Refused, StaleForm
from opsportal.accounts.rendering import show, show_refused
from opsportal.accounts.wording import counted

TEMPLATE = "accounts/change.html"


@require_http_methods(["GET", "POST"])
@permission_required("accounts.view_user")
def change(request: HttpRequest) -> HttpResponse:
    """What would be done, and on POST doing it."""
    asked = request.GET if request.method == "GET" else request.POST
    actor = Actor.of(person(request))
    try:
        what, ids = read_change(asked.get("do", "")), _ids(asked)
        plan = plan_change(what, users_to_change(ids), by=actor)
    except Refused as refusal:
        return show(request, TEMPLATE, "Change people", code=refusal.status, problem=refusal.sentence)
    if request.method == "GET":
        return show(request, TEMPLATE, plan.change.title, form=ReasonForm(), **_shown(plan))
    return _carried_out(request, what, ids, plan, actor)


def _carried_out(request: HttpRequest, what: Change, ids: list[int], plan: Plan, actor: Actor) -> HttpResponse:
    form = ReasonForm(request.POST)
    if not form.is_valid():
        return show_refused(request, TEMPLATE, plan.change.title, form=form, refusal=None, **_shown(plan))
    try:
        done = carry_out(
            what,
            ids,
            by=actor,
            reason=form.cleaned_data["reason"],
            expected_version=request.POST.get("version", ""),
        )
    except Refused as refusal:
        if isinstance(refusal, StaleForm):
            plan = plan_change(read_change(what.value), users_to_change(ids), by=actor)
        return show_refused(request, TEMPLATE, plan.change.title, form=form, refusal=refusal, **_shown(plan))
    users = [step.user for step in done.doing]
    if any(user.pk == person(request).pk for user in users) and what.verb == Verb.SIGN_OUT:
        request.session.flush()  # it has ended already; whatever this answer left in it could not be saved
        return redirect("admin:login")
    messages.success(request, f"{what.title}: done for {_who(users)}.")
    return redirect(_back(done))


def _who(users: list[User]) -> str:
    return users[0].get_username() if len(users) == 1 else counted(len(users), "person", "people")


def _ids(asked: QueryDict) -> list[int]:
    """The selected users: by id, or one by the name that somebody typed."""
    ids = [number for text in asked.getlist("user") if (number := read_id(text))]
    if name := User.normalize_username(asked.get("name", "").strip()):
        found = User.objects.filter(username__iexact=name).first() if name.isprintable() else None
        if found is None:
            raise InvalidInput("name", "There is no user of this name. Look it up in the list of people.")
        ids.append(found.pk)
    return ids


def _shown(plan: Plan) -> dict[str, Any]:
    ends = plan.change.verb in (Verb.ROLE, Verb.SIGN_OUT, Verb.DISABLE)
    counts = selectors.live_session_counts(step.user.pk for step in plan.steps)
    return {
        "plan": plan,
        "rows": [(step, counts[step.user.pk] if ends and step.changes else 0) for step in plan.steps],
        "ends_sessions": ends,
        "is_grave": plan.change.verb == Verb.DISABLE,
        "back": _back(plan),
    }


def _back(plan: Plan) -> str:
    if len(plan.steps) == 1:
        return reverse("admin:accounts_person", args=[plan.steps[0].user.pk])
    return reverse("admin:accounts")
