"""The audit log in a real browser: policy, accessibility, width, filters by keyboard, paging, no JavaScript."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from opsportal.audit import verification
from opsportal.audit.models import Run, Verification
from tests.audit.entries import write
from tests.browser.conftest import Visitors
from tests.browser.visitor import each_width


def _log() -> int:
    """A page and a bit, with an entry that has no place to break at; the id of that one."""
    for number in range(55):
        write("login", actor_label=f"trader{number % 5}", event_type="auth", ip=f"10.0.0.{number}")
    odd = write("api_key_refused", actor_label="x" * 150, outcome="failed", source="api", ip="2001:db8:a:b:c:d:e:f",
                resource_type="circuit_breaker", resource_id="r" * 200, reason="nospace" * 40, request_id="f" * 200,
                details={"a_very_long_name_of_a_detail": {"nested": ["v" * 100, 1]}})  # fmt: skip
    verification.verify_new(seconds=5)
    return int(odd.pk)


def _unfold(page: Page) -> None:
    for summary in page.locator("#audit-log details > summary").all():
        summary.click()


def _broken(page: Page) -> None:
    Verification.objects.update_or_create(
        kind=Run.FULL,
        defaults={"started_at": timezone.now(), "finished_at": timezone.now(), "hash": bytes(32),
                  "problem": f"record 7 ({'x' * 60}) was removed", "entry_id": 7},
    )  # fmt: skip
    page.reload()
    expect(page.locator(".banner--bad")).to_contain_text("NOT intact")


PAGES: dict[str, tuple[str, Callable[[Page], None] | None]] = {
    "log": ("/admin/audit/", _unfold),
    "log refused": ("/admin/audit/?ip=nonsense&since=never", None),
    "log empty": ("/admin/audit/?who=nobody", None),
    "log broken": ("/admin/audit/?outcome=failed", _broken),
    "entry": ("/admin/audit/{odd}/", None),
}


@each_width
@pytest.mark.parametrize("name", PAGES)
def test_page__any_look__keeps_policy_and_is_accessible(visitors: Visitors, name: str, width: int) -> None:
    """Q-1, Q-2, AUTH-4: no CSP violation, no axe violation, nothing wider than the window."""
    odd = _log()
    path, act = PAGES[name]
    visitor = visitors.signed_in("admin", width=width)
    page = visitor.go(path.format(odd=odd))
    if act:
        act(page)
    visitor.assert_looks_right()


def test_log__filtered_and_paged__without_a_full_load(visitors: Visitors) -> None:
    """AU-6: the section is swapped, the address follows, focus stays, and going back goes back."""
    _log()
    visitor = visitors.signed_in("admin")
    page = visitor.go("/admin/audit/")
    page.evaluate("window.sameDocument = true")
    page.get_by_label("Action", exact=True).select_option("login")
    page.get_by_label("Who").fill("trader*")
    page.get_by_label("Who").press("Enter")
    page.wait_for_url("**who=trader*")
    expect(page.locator("tbody tr")).to_have_count(50)
    page.get_by_role("link", name="Older").click()
    expect(page.locator("tbody tr")).to_have_count(5)
    assert "before=" in page.url and "event=login" in page.url
    expect(page.get_by_label("Who")).to_have_value("trader*")
    page.get_by_role("link", name="Newer").click()
    expect(page.locator("tbody tr")).to_have_count(50)
    page.get_by_text("More filters").click()
    page.get_by_label("IP address or network").fill("10.0.0.999")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator(".errorlist")).to_contain_text("Not an address")
    expect(page.get_by_label("IP address or network")).to_have_value("10.0.0.999")
    assert page.evaluate("window.sameDocument")
    visitor.assert_no_complaint()


def test_log__without_javascript__filters_pages_and_downloads(visitors: Visitors) -> None:
    """AU-6: plain links and a plain form; the download is what is filtered."""
    _log()
    page = visitors.signed_in("admin", javascript=False).go("/admin/audit/")
    page.get_by_label("Who").fill("trader1")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("tbody tr")).to_have_count(11)
    with page.expect_download() as caught:
        page.get_by_role("link", name="Download CSV").click()
    lines = caught.value.path().read_text().splitlines()
    assert len(lines) == 12 and all("trader1" in line for line in lines[1:])
    page.locator("tbody tr").first.get_by_role("link").click()
    expect(page.locator("h1")).to_contain_text("Audit entry")
