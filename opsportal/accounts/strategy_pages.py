"""The pages of strategies: which there are, who has them (AM-4)."""

from __future__ import annotations

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_safe

from opsportal.accounts import selectors
from opsportal.accounts.actors import Actor
from opsportal.accounts.forms import StrategyEditForm, StrategyForm
from opsportal.accounts.guards import permission_required, person
from opsportal.accounts.refusals import Refused
from opsportal.accounts.rendering import show, show_refused, strategy_or_404
from opsportal.accounts.strategies import create_strategy, update_strategy

PAGE_SIZE = 50
FORM = "accounts/strategy_form.html"


@require_safe
@permission_required("accounts.view_strategy")
def strategies(request: HttpRequest) -> HttpResponse:
    """All strategies."""
    rows = selectors.strategies_with_holders()
    return show(request, "accounts/strategies.html", "Strategies", strategies=rows, here="strategies")


@require_safe
@permission_required("accounts.view_strategy")
def strategy(request: HttpRequest, pk: int) -> HttpResponse:
    """One strategy and who has it."""
    row = strategy_or_404(pk)
    grants = row.grants.select_related("user").order_by("user__username")
    page = Paginator(grants, PAGE_SIZE).get_page(request.GET.get("page"))
    return show(request, "accounts/strategy.html", row.name, strategy=row, page=page)


@require_http_methods(["GET", "POST"])
@permission_required("accounts.add_strategy")
def add(request: HttpRequest) -> HttpResponse:
    """A new strategy."""
    if request.method == "GET":
        return show(request, FORM, "New strategy", form=StrategyForm())
    form = StrategyForm(request.POST)
    if not form.is_valid():
        return show_refused(request, FORM, "New strategy", form=form, refusal=None)
    try:
        row = create_strategy(
            form.cleaned_data["name"],
            by=Actor.of(person(request)),
            description=form.cleaned_data["description"],
        )
    except Refused as refusal:
        return show_refused(request, FORM, "New strategy", form=form, refusal=refusal)
    messages.success(request, f"The strategy {row.name} is created. Nobody has it yet.")
    return redirect("admin:accounts_strategy", pk=row.pk)


@require_http_methods(["GET", "POST"])
@permission_required("accounts.change_strategy")
def edit(request: HttpRequest, pk: int) -> HttpResponse:
    """Rename, describe, retire, bring back."""
    row = strategy_or_404(pk)
    title = f"Edit {row.name}"
    if request.method == "GET":
        return show(request, FORM, title, form=StrategyEditForm(row), strategy=row)
    form = StrategyEditForm(row, request.POST)
    if not form.is_valid():
        return show_refused(request, FORM, title, form=form, refusal=None, strategy=row)
    values = form.cleaned_data
    try:
        changed = update_strategy(
            row,
            by=Actor.of(person(request)),
            name=values["name"],
            description=values["description"],
            retired=values["retired"],
            expected=(values["expected_name"], values["expected_description"], values["expected_retired"]),
        )
    except Refused as refusal:
        return show_refused(request, FORM, title, form=form, refusal=refusal, strategy=row)
    if changed:
        messages.success(request, "Saved.")
    else:
        messages.info(request, "Nothing was different: nothing was changed.")
    return redirect("admin:accounts_strategy", pk=row.pk)
