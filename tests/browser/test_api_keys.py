"""API keys in a real browser: every page in every look, and the page that shows a key once."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Error, Page, expect

from apikeys import services
from apikeys.models import ApiKey
from apikeys.wire import KEY_FORM
from tests.browser.conftest import Visitors
from tests.browser.visitor import each_width
from tests.conftest import Users
from tests.desk import DESK

KEY_PAGE = re.compile(r"/admin/apikeys/\d+/\??$")


def _some_keys(users: Users) -> dict[str, str]:
    """One key of each kind; the addresses of their pages by a short name."""
    now = timezone.now()

    def made(name: str, **more: Any) -> ApiKey:
        scopes = ["read:circuit", "write:circuit", "write:observations", "read:strategies"]
        return services.create_key(by=DESK, owner=users.operator, name=name, scopes=scopes, **more)[0]

    old = made("risk engine, production", expires_in_days=2, networks=["10.20.0.0/16", "2001:db8::/32"])
    services.rotate_key(old, by=DESK, now=now - timedelta(minutes=9))
    ApiKey.objects.filter(pk=old.pk).update(last_used_at=now - timedelta(minutes=3), last_used_ip="2001:db8::17")
    dead = made("averyveryveryverylongnamewithoutanyspace" * 2)
    services.revoke_key(dead, by=DESK, reason="averyveryveryverylongreasonwithoutanyspace" * 4)
    late = made("ends today", expires_in_days=1)
    gone = made("expired", expires_in_days=1)
    ApiKey.objects.filter(pk=gone.pk).update(expires_at=now)
    return {"old": str(old.pk), "dead": str(dead.pk), "late": str(late.pk)}


PAGES = (
    "/admin/apikeys/",
    "/admin/apikeys/?q=nothing-of-this-name",
    "/admin/apikeys/?state=nonsense",
    "/admin/apikeys/add/",
    "/admin/apikeys/{old}/",
    "/admin/apikeys/{dead}/",
    "/admin/apikeys/{late}/rotate/",
    "/admin/apikeys/{old}/rotate/",
    "/admin/apikeys/{late}/revoke/",
    "/admin/apikeys/{dead}/revoke/",
    "/admin/",
)


@each_width
def test_pages__any_look__keep_policy_and_are_accessible(visitors: Visitors, users: Users, width: int) -> None:
    """Q-1, Q-2, AUTH-4: no CSP violation, no axe violation, nothing wider than the window."""
    numbers = _some_keys(users)
    visitor = visitors.signed_in("admin", width=width)
    for path in PAGES:
        page = visitor.go(path.format(**numbers))
        assert page.url.endswith(path.format(**numbers)), "not the page that was asked for"
        visitor.assert_looks_right()


def _fill(page: Page, owner: str, name: str = "gateway") -> None:
    page.fill("#id_key_name", name)
    page.fill("#id_key_owner", owner)
    page.check("input[value='read:circuit']")
    page.click("text=Create the key")


@each_width
def test_key__made_and_rotated__is_shown_once_accessibly(visitors: Visitors, users: Users, width: int) -> None:
    """AK-2, AK-6, Q-1, Q-2: both one-time pages; the second names old and new."""
    visitor = visitors.signed_in("admin", width=width)
    page = visitor.go("/admin/apikeys/add/")
    page.on("dialog", lambda dialog: dialog.accept())
    _fill(page, users.operator.username)
    assert KEY_FORM.fullmatch(page.input_value("#key-text"))
    visitor.assert_looks_right()
    page.check("#key-stored")
    page.click("text=Done: go to the key")
    page.click("#key-rotate")
    page.click("text=Make the new key")
    assert KEY_FORM.fullmatch(page.input_value("#key-text"))
    expect(page.locator("main")).to_contain_text("The old key: gateway")
    expect(page.locator("main")).to_contain_text("pending revocation")
    visitor.assert_looks_right()


def test_wrong_form__any_field__is_marked_and_accessible(visitors: Visitors, users: Users) -> None:
    """Q-1: the errors stand at their fields, what was typed stays."""
    visitor = visitors.signed_in("admin")
    page = visitor.go("/admin/apikeys/add/")
    page.fill("#id_key_name", "gateway")
    page.fill("#id_key_networks", "10.0.0.1/8")
    page.click("text=Create the key")
    expect(page.locator("main")).to_contain_text("Choose at least one scope")
    page.check("input[value='read:circuit']")
    page.click("text=Create the key")
    expect(page.locator("main")).to_contain_text("Did you mean the network 10.0.0.0/8")
    assert page.input_value("#id_key_name") == "gateway"
    visitor.assert_looks_right()


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_copy_button__puts_the_key_on_the_clipboard_and_says_so(visitors: Visitors, users: Users, by: str) -> None:
    """AK-2, Q-1."""
    visitor = visitors.signed_in("admin")
    visitor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = visitor.go("/admin/apikeys/add/")
    _fill(page, users.operator.username)
    key = page.input_value("#key-text")
    button = page.locator("[data-copy]")
    if by == "mouse":
        button.click()
    else:
        page.focus("#key-text")
        page.keyboard.press("Tab")
        expect(button).to_be_focused()
        page.keyboard.press("Enter")
    expect(page.locator("#key-text-copied")).to_have_text("Copied")
    expect(button).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == key


def test_leaving__before_the_tick__asks_and_after_it_does_not(visitors: Visitors, users: Users) -> None:
    """AK-2: a slip does not lose the key; "Done" without the tick goes nowhere; the key is gone afterwards."""
    page = visitors.signed_in("admin").go("/admin/apikeys/add/")
    asked: list[str] = []

    def stay(dialog: Any) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    _fill(page, users.operator.username)
    key = page.input_value("#key-text")
    page.click("text=Done: go to the key")
    assert page.input_value("#key-text") == key and not asked, "the tick is required"
    page.click("#site-name a")
    page.wait_for_function("() => true")
    assert asked == ["beforeunload"] and page.input_value("#key-text") == key
    page.check("#key-stored")
    page.click("text=Done: go to the key")
    page.wait_for_url(KEY_PAGE)
    assert asked == ["beforeunload"] and key not in page.content()
    with pytest.raises(Error, match="ERR_CACHE_MISS"):
        page.go_back()  # the browser has kept no copy: it would have to send the form again


def test_key__without_javascript__is_shown_and_can_be_left(visitors: Visitors, users: Users) -> None:
    """AK-2: the field can be selected by hand; no dead button; the tick is required by the browser itself."""
    visitor = visitors.signed_in("admin", javascript=False)
    page = visitor.go("/admin/apikeys/add/")
    _fill(page, users.operator.username)
    assert KEY_FORM.fullmatch(page.input_value("#key-text"))
    assert not page.locator("[data-copy]").is_visible()
    page.click("text=Done: go to the key")
    assert page.locator("#key-text").is_visible()
    page.check("#key-stored")
    page.click("text=Done: go to the key")
    page.wait_for_url(KEY_PAGE)


def test_owner__first_letters__are_completed(visitors: Visitors, users: Users) -> None:
    """AK-2: suggestions come while typing."""
    name = users.operator.username
    page = visitors.signed_in("admin").go("/admin/apikeys/add/")
    page.fill("#id_key_owner", "")
    page.type("#id_key_owner", name[:4])
    expect(page.locator(f"#owner-names option[value='{name}']")).to_have_count(1)


def test_filter__by_keyboard__swaps_the_table_and_says_how_many(visitors: Visitors, users: Users) -> None:
    """AK-6, Q-1: the address follows, the announcement tells the number."""
    _some_keys(users)
    page = visitors.signed_in("admin").go("/admin/apikeys/")
    page.fill("#id_keys_q", "ends")
    page.keyboard.press("Enter")
    expect(page.locator(".keys tbody tr")).to_have_count(1)
    assert "q=ends" in page.url
    expect(page.locator("#ops-announce")).to_have_text("1 key matches the filters")
    page.click(".keys__name a")
    expect(page.locator("h1")).to_have_text("ends today")
