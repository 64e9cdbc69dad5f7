"""Stored values that are not valid any more: told loudly everywhere, and never replaced by defaults (CF-2)."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from opsportal.observability.metrics import scrape_registry
from sysconf import services
from sysconf.errors import InvalidInput, StoredInvalid
from sysconf.selectors import broken_sections, read_section
from tests.desk import DESK, WHY
from tests.sysconf.desk import DEFAULTS, HOURS, LIMITS, form_of, newest, save, signed_in, spoil, values

OLD = {"dry_run": True, "circuit_breaker_enabled": True, "drawdown_threshold": 0.9}


def test_read__stored_invalid__is_refused_with_the_fields(db: None) -> None:
    """CF-2: each time, from the database; nothing of it gets into the cache."""
    spoil(DEFAULTS, OLD)
    for _ in range(2):
        with pytest.raises(StoredInvalid) as refusal:
            read_section(DEFAULTS)
        assert refusal.value.errors == {"drawdown_threshold": ["Must be 0.5 or less."]}
        assert "System defaults" in refusal.value.sentence and "drawdown_threshold" in refusal.value.sentence


def test_read__a_setting_that_was_dropped__is_refused(db: None) -> None:
    """CF-2: what nobody knows any more is not quietly left out."""
    spoil(HOURS, values(HOURS) | {"lunch_break": "12:00"})
    with pytest.raises(StoredInvalid, match="lunch_break"):
        read_section(HOURS)


def test_api__stored_invalid__is_503_naming_the_fields(users: Any) -> None:
    """CF-2, CF-5: a service keeps what it has."""
    spoil(DEFAULTS, OLD)
    answer = signed_in(users.admin).get("/api/v1/config/system_defaults")
    assert answer.status_code == 503 and answer["Retry-After"]
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["errors"] == {"drawdown_threshold": ["Must be 0.5 or less."]}


def test_pages__stored_invalid__say_so(users: Any) -> None:
    """CF-2: on the overview, in the header, in the list and on its own page."""
    spoil(DEFAULTS, OLD)
    client = signed_in(users.admin)
    overview = client.get(reverse("admin:index")).content.decode()
    assert "Configuration: System defaults" in overview and "Configuration unreadable" in overview
    for path in (reverse("admin:sysconfig"), reverse("admin:sysconfig_section", args=[DEFAULTS])):
        page = client.get(path).content.decode()
        assert "The stored values are not valid" in page and "Must be 0.5 or less." in page
    assert [problem.key for problem in broken_sections()] == [DEFAULTS]


def test_metric__counts_invalid_sections(db: None) -> None:
    """CF-2: somebody is paged before somebody looks."""
    assert scrape_registry().get_sample_value("sysconfig_invalid_sections") == 0
    spoil(DEFAULTS, OLD)
    spoil(LIMITS, {"max_open_orders": "ten"})
    assert scrape_registry().get_sample_value("sysconfig_invalid_sections") == 2


def test_form__stored_invalid__shows_what_is_stored_and_corrects_it(users: Any) -> None:
    """CF-2, CF-4: the form begins with the stored values; the correction is an ordinary, reviewed change."""
    spoil(DEFAULTS, OLD)
    client = signed_in(users.admin)
    sent = form_of(client, DEFAULTS)
    assert sent["set-drawdown_threshold"] == "0.9"
    assert client.post(reverse("admin:sysconfig_section", args=[DEFAULTS]), sent).status_code == 422
    sent["set-drawdown_threshold"] = "0.05"
    assert client.post(reverse("admin:sysconfig_section", args=[DEFAULTS]), sent).status_code == 200
    answer = client.post(reverse("admin:sysconfig_save", args=[DEFAULTS]), sent | {"reason": "correct it"})
    assert answer.status_code == 302
    assert read_section(DEFAULTS).version == 2


def test_form__stored_choice_that_is_none__is_not_replaced_unseen(users: Any) -> None:
    """CF-2: a browser would send the first zone of the list."""
    spoil(HOURS, values(HOURS, timezone="Mars/Olympus", holidays="none"))
    page = signed_in(users.admin).get(reverse("admin:sysconfig_section", args=[HOURS])).content.decode()
    assert '<option value="">Choose…</option>' in page
    answer = signed_in(users.admin).post(
        reverse("admin:sysconfig_section", args=[HOURS]), form_of(signed_in(users.admin), HOURS)
    )
    assert answer.status_code == 422 and "Choose one" in answer.content.decode()


def test_save__from_invalid_values__what_cannot_be_compared_is_dangerous(db: None) -> None:
    """CF-4: nobody knows whether it raises the limit, so it counts as if it did."""
    spoil(LIMITS, {"max_position_per_symbol": "many", "max_notional_total": 100_000, "max_open_orders": 10})
    wanted = {"max_position_per_symbol": 5, "max_notional_total": 100_000, "max_open_orders": 10}
    with pytest.raises(InvalidInput) as refusal:
        services.save_section(LIMITS, wanted, by=DESK, reason="short", base_version=1)
    assert refusal.value.field == "reason"
    services.save_section(LIMITS, wanted, by=DESK, reason=WHY, base_version=1, acknowledged=True)
    assert newest(LIMITS) == 2


def test_version__no_longer_valid__can_be_looked_at_not_restored(users: Any) -> None:
    """CF-3: it stays in the history."""
    spoil(DEFAULTS, OLD)
    wanted = {**OLD, "drawdown_threshold": 0.05}
    services.save_section(DEFAULTS, wanted, by=DESK, reason=WHY, base_version=1, acknowledged=True)
    client = signed_in(users.admin)
    page = client.get(reverse("admin:sysconfig_version", args=[DEFAULTS, 1])).content.decode()
    assert "not valid any more" in page and "0.9 (90 %)" in page and "Restore this version" not in page


def test_command__stored_invalid__is_one_sentence(db: None, capsys: pytest.CaptureFixture[str]) -> None:
    """CF-2: the command line does not know better."""
    call_command("sysconfig", "get", LIMITS)
    assert '"max_open_orders": 10' in capsys.readouterr().out
    spoil(DEFAULTS, OLD)
    with pytest.raises(CommandError, match="not valid"):
        call_command("sysconfig", "get", DEFAULTS)


def test_settle__stored_invalid__removes_what_lies_in_redis(transactional_db: None, redis: Any) -> None:
    """CF-2: the platform finds nothing rather than what nobody vouches for."""
    save(DEFAULTS, drawdown_threshold=0.04)
    spoil(DEFAULTS, OLD)
    services.settle_cache()
    assert redis.get(f"system_config:{DEFAULTS}") is None
    with pytest.raises(StoredInvalid):
        read_section(DEFAULTS)
