"""The pages as a browser without JavaScript sees them: form → review → save, history, conflict, restore."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.urls import reverse

from opsportal.accounts.actors import Actor
from opsportal.audit.models import Entry
from sysconf.models import Version
from tests.desk import WHY
from tests.sysconf.desk import DEFAULTS, HOURS, LIMITS, form_of, newest, save, signed_in, values

EDIT = reverse("admin:sysconfig_section", args=[HOURS])
SAVE = reverse("admin:sysconfig_save", args=[HOURS])


@pytest.fixture
def admin(users: Any) -> Client:
    return signed_in(users.admin)


def text(answer: Any, code: int = 200) -> str:
    assert answer.status_code == code, answer.content.decode()[:2000]
    return str(answer.content.decode())


def test_list__shows_values_who_when_and_danger(users: Any, admin: Client) -> None:
    """CF-1, CF-3, CF-4: every section with what holds; what is on the dangerous side is flagged."""
    save(DEFAULTS, by=Actor.of(users.admin), dry_run=False)
    save(LIMITS, max_open_orders=20)
    page = text(admin.get(reverse("admin:sysconfig")))
    assert "Trading hours" in page and "America/New_York" in page
    assert users.admin.username in page and WHY in page and "Version 1" in page
    assert "switched off" in page and "Orders become real" in page
    assert "raised from 10 orders" in page
    assert "Nobody has changed them yet" in page


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_pages__not_admin__are_forbidden_and_audited(users: Any, role: str) -> None:
    """RBAC-1, AU-2: reading is denied as a page, changing as an edit of the configuration."""
    client = signed_in(getattr(users, role))
    assert client.get(EDIT).status_code == 403
    assert client.post(SAVE, {}).status_code == 403
    assert list(Entry.objects.filter(outcome="denied").values_list("event", flat=True).order_by("id")) == [
        "admin_page_access_denied",
        "config_edit_denied",
    ]


@pytest.mark.parametrize("path", ["nothing/", "nothing/save/", "trading_hours/versions/7/", "trading_hours/versions/99999999999999999999/"])  # fmt: skip
def test_address__unknown__is_404(admin: Client, path: str) -> None:
    """Q-5: a section or version that is none."""
    address = reverse("admin:sysconfig") + path
    assert (admin.post(address) if path.endswith("save/") else admin.get(address)).status_code == 404


def test_change__form_review_save(admin: Client) -> None:
    """CF-3: the review shows old and new and saves nothing; saving leads back, and the history has it."""
    sent = form_of(admin, HOURS, market_open="08:00", holidays="2026-12-25\r\n\r\n2026-07-03")
    review = text(admin.post(EDIT, sent))
    assert "<del>09:30</del>" in review and "<ins>08:00</ins>" in review
    assert "added 2026-07-03, 2026-12-25" in review and "acknowledged" not in review
    assert newest(HOURS) == 0
    assert admin.post(SAVE, sent | {"reason": "Summer"})["Location"] == EDIT
    assert values(HOURS)["holidays"] == ["2026-07-03", "2026-12-25"]
    page = text(admin.get(EDIT))
    assert "saved as version 1" in page and "Summer" in page and "<del>09:30</del>" in page


def test_review__without_reason__keeps_everything_typed(admin: Client) -> None:
    """CF-3, CF-4: nothing is lost on an error, step by step."""
    sent = form_of(admin, DEFAULTS, dry_run="false")
    edit, save_ = (reverse(f"admin:sysconfig_{name}", args=[DEFAULTS]) for name in ("section", "save"))
    review = text(admin.post(edit, sent))
    assert "Orders become real" in review and 'name="acknowledged"' in review
    again = text(admin.post(save_, sent | {"reason": "only a little why"}), 422)
    assert "17 characters; at least 20" in again or "characters; at least 20" in again
    assert "only a little why" in again and 'name="set-dry_run" value="false"' in again
    again = text(admin.post(save_, sent | {"reason": WHY}), 422)
    assert "Tick the box" in again and WHY in again
    again = text(admin.post(save_, sent | {"reason": "short", "acknowledged": "on"}), 422)
    assert "checked" in again
    back = text(admin.post(edit, sent | {"reason": WHY, "edit": "1"}))
    assert '<option value="false" selected>' in back and WHY in back
    assert newest(DEFAULTS) == 0
    assert admin.post(save_, sent | {"reason": WHY, "acknowledged": "on"}).status_code == 302


@pytest.mark.parametrize(
    ("key", "name", "typed", "said"),
    [
        (LIMITS, "max_open_orders", "", "Type a whole number"),
        (LIMITS, "max_open_orders", "ten", "Type a whole number"),
        (LIMITS, "max_open_orders", "١٢", "Type a whole number"),
        (LIMITS, "max_open_orders", "1" * 5000, "Type a whole number"),
        (LIMITS, "max_open_orders", "9" * 18, "Must be 1,000 or less."),
        (LIMITS, "max_open_orders", "1e2", "Type a whole number"),
        (LIMITS, "max_open_orders", "5\x00", "Null characters"),
        (LIMITS, "max_open_orders", "0", "Must be 1 or more."),
        (DEFAULTS, "drawdown_threshold", "nan", "Type a number"),
        (DEFAULTS, "drawdown_threshold", "inf", "Type a number"),
        (DEFAULTS, "drawdown_threshold", "1e-2", "Type a number"),
        (DEFAULTS, "drawdown_threshold", "5 %", "Type a number"),
        (DEFAULTS, "drawdown_threshold", "0,05", "Type a number"),
        (DEFAULTS, "drawdown_threshold", "0.9", "Must be 0.5 or less."),
        (DEFAULTS, "dry_run", "yes", "Choose on or off."),
        (DEFAULTS, "dry_run", "", "Choose on or off."),
        (HOURS, "market_open", "9.30", "Type a time"),
        (HOURS, "market_open", "24:00", "Type a time"),
        (HOURS, "market_close", "09:00", "must close later than it opens"),
        (HOURS, "timezone", "Mars/Olympus", "Choose one of the list."),
        (HOURS, "holidays", "2026-12-25\n25.12.2026", "Entry 2:"),
        (HOURS, "holidays", "2026-02-30", "is not a date"),
        (HOURS, "holidays", "2026-01-01\n" * 600, "at most 500"),
        (HOURS, "holidays", "x" * 900_000, "far too long"),
    ],
    ids=lambda value: str(value)[:20].replace("\x00", "NUL"),
)
def test_form__typed_wrong__says_so_at_the_field(admin: Client, key: str, name: str, typed: str, said: str) -> None:
    """CF-1, Q-5: 422, the sentence, and what was typed; nothing saved, in review and in save alike."""
    sent = form_of(admin, key) | {f"set-{name}": typed, "reason": WHY}
    for url in ("section", "save"):
        answer = admin.post(reverse(f"admin:sysconfig_{url}", args=[key]), sent)
        assert said in text(answer, 422)
        form = answer.context["form"]
        assert list(form.errors) == [name] and form[name].value() == typed
    assert newest(key) == 0


def test_form__setting_missing__is_not_taken_for_off(admin: Client) -> None:
    """CF-4: a form that lacks a switch has not switched it off."""
    sent = form_of(admin, DEFAULTS, drawdown_threshold="0.04")
    del sent["set-dry_run"]
    answer = admin.post(reverse("admin:sysconfig_section", args=[DEFAULTS]), sent)
    assert "This value is missing." in text(answer, 422)


def test_form__thousands_as_shown__are_understood(admin: Client) -> None:
    """CF-1: what the page writes, it reads."""
    sent = form_of(admin, LIMITS, max_notional_total="90,000")
    assert "90,000 US dollars" in text(admin.post(reverse("admin:sysconfig_section", args=[LIMITS]), sent))


def test_form__nothing_changed__says_so(admin: Client) -> None:
    """CF-3."""
    assert "there is nothing to save" in text(admin.post(EDIT, form_of(admin, HOURS)), 422)
    assert "there is nothing to save" in text(admin.post(SAVE, form_of(admin, HOURS) | {"reason": WHY}), 422)


@pytest.mark.parametrize("sent", [{}, {"base": "x"}, {"merge": "1"}, {"edit": "1"}, {"base": "9" * 400, "merge": "1"}, {"restored_from": "\x00"}])  # fmt: skip
def test_post__broken__is_answered_plainly(admin: Client, sent: dict[str, str]) -> None:
    """Q-5: whatever is sent, never a failure, nothing saved."""
    for url in (EDIT, SAVE):
        assert admin.post(url, sent).status_code in (200, 409, 422)
        assert admin.post(url, form_of(admin, HOURS) | sent).status_code in (200, 409, 422)
    assert newest(HOURS) == 0


def test_conflict__is_shown_field_by_field_and_merged(users: Any, admin: Client) -> None:
    """CF-3: base, theirs, yours; what one side alone touched is suggested; going on uses the newer base."""
    mine = form_of(admin, HOURS, market_open="07:00", market_close="17:00", reason=WHY) | {"reason": "Longer days"}
    save(HOURS, by=Actor.of(users.admin), market_open="08:00", timezone="Europe/London")
    for url in (EDIT, SAVE):
        answer = admin.post(url, mine)
        page = text(answer, 409)
    rows = {row.field: (row.base, row.theirs, row.yours, row.take) for row, _ in answer.context["rows"]}
    assert rows == {
        "market_open": ("09:30", "08:00", "07:00", ""),
        "market_close": ("16:00", "16:00", "17:00", "yours"),
        "timezone": ("America/New_York", "Europe/London", "America/New_York", "theirs"),
    }
    assert users.admin.username in page and "Longer days" in page and newest(HOURS) == 1
    chosen = dict(answer.context["form"].kept) | {"base": "1", "merge": "1", "reason": "Longer days"}
    chosen |= {"take-market_close": "yours", "take-timezone": "theirs"}
    assert "Choose a value for each setting" in text(admin.post(EDIT, chosen), 422)
    review = admin.post(EDIT, chosen | {"take-market_open": "theirs"})
    assert "Longer days" in text(review)
    assert [change.field for change in review.context["changes"]] == ["market_close"]
    admin.post(SAVE, dict(review.context["form"].kept) | {"base": "1", "reason": "Longer days"})
    now = values(HOURS)
    assert (now["market_open"], now["market_close"], now["timezone"]) == ("08:00", "17:00", "Europe/London")


def test_conflict__again_while_merging__is_a_conflict_again(admin: Client) -> None:
    """CF-3: nothing is overwritten unseen, however often."""
    mine = form_of(admin, HOURS, market_open="07:00")
    save(HOURS, market_open="08:00")
    save(HOURS, market_open="06:00")
    answer = admin.post(EDIT, mine | {"base": "1", "merge": "1", "take-market_open": "yours"})
    assert text(answer, 409) and answer.context["number"] == 2


def test_restore__goes_through_the_same_review(admin: Client) -> None:
    """CF-3: look at a version, see what would change, review, save."""
    save(HOURS, market_open="08:00")
    save(HOURS, market_open="07:00")
    page = admin.get(reverse("admin:sysconfig_version", args=[HOURS, 1]))
    assert "<del>07:00</del>" in text(page)
    sent = dict(page.context["form"].kept) | {"base": "2", "restored_from": "1"}
    assert "The values of version 1 come back" in text(admin.post(EDIT, sent))
    admin.post(SAVE, sent | {"reason": "As before"})
    row = Version.objects.get(number=3)
    assert row.restored_from == 1 and row.values["market_open"] == "08:00"
    assert "restored from version 1" in text(admin.get(EDIT))
    assert "This is what holds now" in text(admin.get(reverse("admin:sysconfig_version", args=[HOURS, 3])))
    assert "The defaults" in text(admin.get(reverse("admin:sysconfig_version", args=[HOURS, 0])))


def test_history__many_versions__is_paged_newest_first(admin: Client, django_assert_max_num_queries: Any) -> None:
    """CF-3: 25 a page, without a query a row."""
    for number in range(27):
        save(HOURS, market_open=f"08:{number:02}")
    with django_assert_max_num_queries(12):
        first = admin.get(EDIT)
    assert [row.number for row in first.context["versions"]] == list(range(27, 2, -1))
    assert [row.number for row in admin.get(EDIT, {"page": "2"}).context["versions"]] == [2, 1]
    for page in ("0", "-1", "x", "9" * 400, "\x00"):
        assert admin.get(EDIT, {"page": page}).status_code == 200


def test_pages__postgresql_down__show_the_cache_read_only(users: Any, postgres_server: Any, redis: Any) -> None:
    """CF-2: the last values, marked as such, without a form."""
    client = signed_in(users.admin, raise_request_exception=False)
    save(HOURS, market_open="08:00")
    client.get(EDIT)
    client.get(reverse("admin:circuit"))
    with postgres_server.stopped():
        connections.close_all()
        page = text(client.get(EDIT))
        assert "These are the last values in the cache" in page and "08:00" in page
        assert "Review the change" not in page and "The history cannot be shown" in page
        assert "These are the last values in the cache" in text(client.get(reverse("admin:sysconfig")))
        assert client.post(SAVE, {"set-market_open": "07:00"}).status_code in (422, 503)


def test_save__redis_down__works_and_warns(users: Any, redis_server: Any, transactional_db: None) -> None:
    """CF-2: saved, and the page says who may not know yet."""
    client = signed_in(users.admin)
    sent = form_of(client, HOURS, market_open="08:00")
    with redis_server.stopped():
        answer = client.post(SAVE, sent | {"reason": "Summer"}, follow=True)
        assert "Redis does not answer: services may go on with the old values" in text(answer)
    assert newest(HOURS) == 1
