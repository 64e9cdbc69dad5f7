"""The pages of people: the list, a user, a new one, one-time passwords, and the table of roles."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_safe

from opsportal.accounts import people as services
from opsportal.accounts import selectors
from opsportal.accounts.actors import Actor
from opsportal.accounts.forms import NewUserForm, PeopleFilter, UserForm
from opsportal.accounts.guards import permission_required, person
from opsportal.accounts.models import Strategy, User
from opsportal.accounts.reach import require_over
from opsportal.accounts.refusals import Refused
from opsportal.accounts.rendering import show, show_refused, user_or_404
from opsportal.accounts.roles import Role
from opsportal.accounts.wording import role_words

PAGE_SIZE = 50


@require_safe
@permission_required("accounts.view_user")
def people(request: HttpRequest) -> HttpResponse:
    """The list of users."""
    form = PeopleFilter(request.GET)
    users = selectors.users_like(**form.cleaned_data) if form.is_valid() else User.objects.none()
    page = Paginator(users, PAGE_SIZE).get_page(request.GET.get("page"))
    filters = request.GET.copy()
    filters.pop("page", None)
    for name in [name for name, value in filters.items() if not value]:
        del filters[name]
    return show(
        request,
        "accounts/people.html",
        "People",
        filter_form=form,
        page=page,
        people=selectors.people_of(page.object_list),
        querystring=filters.urlencode(),
        choices=_choices(),
        here="people",
    )


def _choices() -> list[tuple[str, list[tuple[str, str]]]]:
    """What can be done with the selected, as groups of a select."""
    strategies = list(Strategy.objects.all())
    groups = [
        ("Role", [(f"role:{role}", f"Change the role to {role}") for role in Role]),
        ("Account", [("sign-out", "Sign out everywhere"), ("disable", "Disable"), ("enable", "Enable")]),
        ("Grant a strategy", [(f"grant:{row.pk}", f"Grant {row.name}") for row in strategies if not row.retired]),
        ("Revoke a strategy", [(f"revoke:{row.pk}", f"Revoke {row.name}") for row in strategies]),
    ]
    return [(title, choices) for title, choices in groups if choices]


@require_safe
@permission_required("accounts.view_user")
def roles(request: HttpRequest) -> HttpResponse:
    """Who may do what (RBAC-2)."""
    return show(request, "accounts/roles.html", "Roles", roles=selectors.roles_page(), here="roles")


@require_safe
@permission_required("accounts.view_user")
def person_page(request: HttpRequest, pk: int) -> HttpResponse:
    """One user: facts, strategies, sessions, what was done to them, and what can be done."""
    user = user_or_404(pk)
    actor = Actor.of(person(request))
    grants = list(user.strategy_grants.select_related("strategy").order_by("strategy__name"))
    held = {grant.strategy_id for grant in grants}
    return show(
        request,
        "accounts/person.html",
        user.get_username(),
        subject=user,
        role=role_words(user),
        custom_groups=[group.name for group in user.groups.all() if group.name not in list(Role)],
        is_self=user.pk == person(request).pk,
        email=_masked(user.email),
        grants=grants,
        grantable=[row for row in Strategy.objects.filter(retired=False) if row.pk not in held],
        other_roles=[role for role in Role if role.value != role_words(user)],
        sessions=selectors.sessions_of(user, this_key=request.session.session_key),
        entries=selectors.entries_about(user) if actor.may("audit.view_entry") else None,
    )


def _masked(email: str) -> str:
    return f"***@{email.rpartition('@')[2]}" if email else ""


@require_http_methods(["GET", "POST"])
@permission_required("accounts.add_user")
def add(request: HttpRequest) -> HttpResponse:
    """A new user. The answer shows the one-time password, and nothing keeps it."""
    template, title = "accounts/person_form.html", "New user"
    if request.method == "GET":
        return show(request, template, title, form=NewUserForm())
    form = NewUserForm(request.POST)
    if not form.is_valid():
        return show_refused(request, template, title, form=form, refusal=None)
    values: dict[str, Any] = {**form.cleaned_data}
    password = services.new_password()
    try:
        user = services.create_user(
            values.pop("username"),
            password,
            Role(values.pop("role")),
            by=Actor.of(person(request)),
            one_time=True,
            **values,
        )
    except Refused as refusal:
        return show_refused(request, template, title, form=form, refusal=refusal)
    return _password_once(request, user, password, f"The user {user.get_username()} is created.")


@require_http_methods(["GET", "POST"])
@permission_required("accounts.change_user")
def edit(request: HttpRequest, pk: int) -> HttpResponse:
    """Names and e-mail address."""
    user = user_or_404(pk)
    template, title = "accounts/person_form.html", f"Edit {user.get_username()}"
    if request.method == "GET":
        require_over(user, by=Actor.of(person(request)))
        return show(request, template, title, form=UserForm(user), subject=user)
    form = UserForm(user, request.POST)
    if not form.is_valid():
        return show_refused(request, template, title, form=form, refusal=None, subject=user)
    values = form.cleaned_data
    try:
        changed = services.update_user(
            user,
            by=Actor.of(person(request)),
            first_name=values["first_name"],
            last_name=values["last_name"],
            email="" if values.get("remove_email") else values["email"].strip() or None,
            expected=(values["expected_first_name"], values["expected_last_name"]),
        )
    except Refused as refusal:
        return show_refused(request, template, title, form=form, refusal=refusal, subject=user)
    if changed:
        messages.success(request, "Saved.")
    else:
        messages.info(request, "Nothing was different: nothing was changed.")
    return redirect("admin:accounts_person", pk=user.pk)


@require_http_methods(["GET", "POST"])
@permission_required("accounts.change_user")
def password(request: HttpRequest, pk: int) -> HttpResponse:
    """A new one-time password. The answer shows it, and nothing keeps it."""
    user = user_or_404(pk)
    title = f"New password for {user.get_username()}"
    template = "accounts/password.html"
    is_self = user.pk == person(request).pk
    if request.method == "GET":
        require_over(user, by=Actor.of(person(request)))
        return show(request, template, title, subject=user, is_self=is_self)
    try:
        new = services.set_one_time_password(user, by=Actor.of(person(request)))
    except Refused as refusal:
        return show(
            request, template, title, code=refusal.status, subject=user, is_self=is_self, problem=refusal.sentence
        )
    done = f"The password of {user.get_username()} is changed, and every session of this user has ended."
    return _password_once(request, user, new, done)


def _password_once(request: HttpRequest, user: User, new: str, done: str) -> HttpResponse:
    """The one page that shows a one-time password."""
    return show(request, "accounts/password_once.html", "One-time password", subject=user, password=new, done=done)
