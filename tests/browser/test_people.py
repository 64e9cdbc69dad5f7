"""The pages of people in a browser: looks, keyboard, ticks, and without JavaScript."""

from __future__ import annotations

import re

from django.contrib.auth.models import Group, Permission
from django.test import Client
from playwright.sync_api import expect

from opsportal.accounts import people, strategies
from opsportal.accounts.actors import Actor
from opsportal.accounts.models import User
from opsportal.accounts.roles import Role
from tests.browser.conftest import Visitors
from tests.browser.visitor import each_width
from tests.conftest import Users

PAGES = (
    "/admin/accounts/",
    "/admin/accounts/?role=emperor",
    "/admin/accounts/add/",
    "/admin/accounts/roles/",
    "/admin/accounts/strategies/",
    "/admin/accounts/strategies/add/",
    "/admin/accounts/strategies/{strategy}/",
    "/admin/accounts/strategies/{strategy}/edit/",
    "/admin/accounts/{user}/",
    "/admin/accounts/{gone}/",
    "/admin/accounts/{user}/edit/",
    "/admin/accounts/{user}/password/",
    "/admin/accounts/change/?do=role:viewer&user={user}&user={gone}&user={me}",
    "/admin/accounts/change/?do=nonsense",
    "/admin/my-sessions/",
)


def furnish(users: Users) -> dict[str, int]:
    """People as they are: long names, strategies, sessions, somebody who has left."""
    by = Actor.of(users.admin)
    momentum = strategies.create_strategy("Momentum EU", by=by, description="Trend following on European equities")
    old = strategies.create_strategy("Pairs", by=by)
    long = "averylongname" * 11
    user = people.create_user(
        long, users.password, Role.OPERATOR, by=by, first_name="Maximiliana", last_name="Featherstonehaugh",
        email="m@example.com", strategies=[momentum, old],
    )  # fmt: skip
    strategies.update_strategy(old, by=by, name="Pairs", description="", retired=True)
    people.disable_user(users.viewer, by=by, reason="averyveryveryveryveryverylongwordwithoutanyspaceinit" * 3)
    group = Group.objects.create(name="night shift")
    group.permissions.add(Permission.objects.get(codename="trip_breaker"))
    user.groups.add(group)
    for person in (user, users.admin):
        Client().post("/admin/login/", {"username": person.username, "password": users.password})
    return {"user": user.pk, "gone": users.viewer.pk, "me": users.admin.pk, "strategy": momentum.pk}


@each_width
def test_pages__any_look__keep_policy_and_are_accessible(visitors: Visitors, users: Users, width: int) -> None:
    """Q-1, Q-2, AUTH-4: no CSP violation, no axe violation, nothing wider than the window."""
    names = furnish(users)
    visitor = visitors.signed_in("admin", width=width)
    for path in PAGES:
        page = visitor.go(path.format(**names))
        assert page.url.endswith(path.format(**names)), "not the page that was asked for"
        expect(page.locator("h1").last).to_be_visible()
        visitor.assert_looks_right()


@each_width
def test_one_time_password__any_look__is_accessible(visitors: Visitors, users: Users, width: int) -> None:
    """AM-1, Q-1: the page that shows it, and the one that its owner is sent to."""
    visitor = visitors.signed_in("admin", width=width)
    page = visitor.go("/admin/accounts/add/")
    page.fill("#id_username", "ada")
    page.click("text=Create the user")
    code = page.get_by_label("One-time password of ada")
    expect(code).to_have_value(re.compile(r"^[A-Za-z2-9]{5}(-[A-Za-z2-9]{5}){3}$"))
    visitor.assert_looks_right()
    password = code.input_value()
    page.click("[data-copy]")
    expect(page.locator("#once-text-copied")).not_to_be_empty()
    own = visitors.stranger(width=width).sign_in(User.objects.get(username="ada"), password)
    page = own.go("/admin/")
    expect(page).to_have_url(re.compile("/admin/password_change/$"))
    expect(page.locator(".banner")).to_contain_text("one-time password")
    own.assert_looks_right()


def test_ticks__all_on_the_page__are_counted_and_carried_to_the_confirmation(visitors: Visitors, users: Users) -> None:
    """AM-1: by keyboard; then the change is made."""
    furnish(users)
    page = visitors.signed_in("admin").go("/admin/accounts/")
    page.focus("[data-select-all]")
    page.keyboard.press("Space")
    expect(page.locator("[data-selection-count]")).to_contain_text("3 selected")
    page.get_by_label(f"Select {users.admin.username}").uncheck()
    expect(page.locator("[data-selection-count]")).to_contain_text("2 selected")
    assert page.evaluate("document.querySelector('[data-select-all]').indeterminate")
    page.get_by_label("With the selected").select_option("sign-out")
    page.click("text=Continue…")
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_label("Reason").fill("phones were lost")
    page.click("text=Sign out everywhere: 2 users")
    expect(page.locator(".messagelist")).to_contain_text("done for 2 people")


def test_change__without_javascript__works(visitors: Visitors, users: Users) -> None:
    """AM-1: plain forms all the way."""
    names = furnish(users)
    visitor = visitors.signed_in("admin", javascript=False)
    page = visitor.go(f"/admin/accounts/{names['user']}/")
    page.get_by_label("New role").select_option("role:viewer")
    page.click("text=Change role…")
    page.get_by_label("Reason").fill("moves to research")
    page.click("text=Change the role to viewer: 1 user")
    expect(page.locator(".messagelist")).to_contain_text("Change the role to viewer: done")
    assert User.objects.get(pk=names["user"]).role == Role.VIEWER
