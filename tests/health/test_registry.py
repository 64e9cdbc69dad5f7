"""The registry of services: what may stand in it, who may change it, and what is written down of each change."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
from django.db import connection, transaction

from health import services, store
from health.models import Service
from health.rules import find_circle
from opsportal.accounts.actors import Actor, PermissionRefused
from opsportal.accounts.refusals import InvalidInput, StaleForm, WrongState
from opsportal.audit.models import Entry
from tests.desk import DESK


def make(name: str = "orders", **values: Any) -> Service:
    return services.create_service(by=DESK, **{"name": name, "base_url": f"http://{name}:8080", **values})


# ---------------------------------------------------------------- what a service must be like


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("http://orders:8080", "http://orders:8080"),
        ("  HTTPS://Orders.Example.COM/api/  ", "https://orders.example.com/api"),
        ("http://orders:8080/health", "http://orders:8080"),
        ("http://orders:8080/api/health/", "http://orders:8080/api"),
        ("http://orders/healthy", "http://orders/healthy"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://127.0.0.1:9000/", "http://127.0.0.1:9000"),
        ("http://under_score.local", "http://under_score.local"),
        ("http://orders:", "http://orders"),
    ],
)
def test_base_url__good__is_kept_tidily(db: None, text: str, kept: str) -> None:
    """HM-1: the portal adds /health itself, and knows one way of writing an address."""
    assert make(base_url=text).base_url == kept


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "Give the address"),
        ("orders:8080", "begin with http:// or https://"),
        ("ftp://orders", "begin with http:// or https://"),
        ("javascript:alert(1)", "begin with http:// or https://"),
        ("http://", "host is missing"),
        ("http://:8080", "host is missing"),
        ("http://ops:hunter2@orders:8080", "Leave user name and password out"),
        ("http://ops@orders:8080", "Leave user name and password out"),
        ("http://orders:8080/?token=abc", "Leave out"),
        ("http://orders:8080/#top", "Leave out"),
        ("http://orders:99999", "port must be a number"),
        ("http://orders:0", "port must be a number"),
        ("http://orders:http", "port must be a number"),
        ("http://or ders", "no spaces"),
        ("http://orders\n:80", "no spaces"),
        ("http://orders\x00", "no spaces or control"),
        ("http://[::1", "check its brackets"),
        ("http://[orders]", "address"),
        ("http://örders", "letters a to z"),
        ("http://-orders", "letters a to z"),
        ("http://orders/<script>", "path"),
        ("http://orders\\@evil", "Leave user name"),
        ("http://" + "o" * 600, "at most 500"),
        ("http://169.254.169.254", "credentials"),
        ("http://2852039166", "credentials"),
        ("http://[fd00:ec2::254]/latest", "metadata"),
        ("http://metadata.google.internal", "metadata service"),
    ],
)
def test_base_url__bad__is_refused_in_plain_words(db: None, text: str, told: str) -> None:
    """HM-1, Q-5: each says what is wrong; a password is not repeated."""
    with pytest.raises(InvalidInput, match=told) as refusal:
        make(base_url=text)
    assert refusal.value.field == "base_url"
    assert "hunter2" not in refusal.value.sentence
    assert not Service.objects.exists()


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("name", "", "cannot be blank"),
        ("name", "two words", "Letters, digits"),
        ("name", "x" * 101, "at most 100"),
        ("owner", "anna.schmidt@example.com", "team's name"),
        ("owner", "on call: +44 20 7946 0958", "team's name"),
        ("owner", "o" * 101, "at most 100"),
        ("owner", "desk\x07", "cannot be stored"),
        ("runbook_url", "wiki/orders", "begin with http://"),
        ("runbook_url", "javascript:alert(1)", "begin with http://"),
        ("runbook_url", "https://me:secret@wiki/orders", "Leave user name"),
        ("runbook_url", "https://wiki/orders?token=abcdef123456", "password, a key"),
        ("interval", 0, "1 to 3600"),
        ("interval", 3601, "1 to 3600"),
        ("interval", 2.5, "whole number"),
        ("timeout", 0, "0.1 to 60"),
        ("timeout", float("nan"), "0.1 to 60"),
        ("timeout", float("inf"), "0.1 to 60"),
    ],
)
def test_service__bad_value__names_the_field(db: None, field: str, value: Any, told: str) -> None:
    """HM-1, AC-5: no person's address or number stands in the registry, and no secret in a link."""
    with pytest.raises(InvalidInput, match=told) as refusal:
        services.create_service(by=DESK, **{"name": "orders", "base_url": "http://orders", field: value})  # type: ignore[arg-type]
    assert refusal.value.field == field


def test_runbook__on_the_intranet__is_kept(db: None) -> None:
    """HM-1: a host without a dot is an address too."""
    assert (
        make(runbook_url=" https://wiki/runbooks?page=orders#down ").runbook_url
        == "https://wiki/runbooks?page=orders#down"
    )


def test_create__name_taken__is_refused(db: None) -> None:
    """HM-1: a name stands for one service."""
    make()
    with pytest.raises(InvalidInput, match="already a service called orders"):
        make(base_url="http://elsewhere")


# ---------------------------------------------------------------- dependencies


def test_dependencies__circle__is_refused_with_its_path(db: None) -> None:
    """HM-12: the sentence names the way round."""
    risk = make("risk")
    orders = make("orders", depends_on=[risk])
    gateway = make("gateway", depends_on=[orders])
    with pytest.raises(InvalidInput, match="risk → gateway → orders → risk"):
        services.update_service(risk, by=DESK, depends_on=[gateway])
    with pytest.raises(InvalidInput, match="cannot depend on itself"):
        services.update_service(risk, by=DESK, depends_on=[risk])
    assert list(risk.depends_on.all()) == []


def test_find_circle__long_chain__ends_and_is_shortest() -> None:
    """HM-12: thousands of services in a row overflow nothing."""
    chain = {n: [n + 1] for n in range(5000)}
    assert find_circle(0, chain) == []
    assert find_circle(0, {**chain, 4: [0, 5], 4999: [0]}) == [0, 1, 2, 3, 4, 0]
    assert find_circle("a", {"a": ["b"], "b": ["c"], "c": ["b"]}) == []


def test_dependencies__two_people_at_once__make_no_circle(transactional_db: None) -> None:
    """HM-12: each alone would be right; together they would go round. The second waits, and is then refused."""
    risk, orders = make("risk"), make("orders")
    outcome: list[str] = []

    def second() -> None:
        try:
            services.update_service(orders, by=DESK, depends_on=[risk])
            outcome.append("done")
        except InvalidInput as refusal:
            outcome.append(refusal.sentence)
        finally:
            connection.close()

    other = threading.Thread(target=second)
    with transaction.atomic():
        services.update_service(risk, by=DESK, depends_on=[orders])
        other.start()
        deadline = time.monotonic() + 10
        while other.is_alive() and not _somebody_waits() and time.monotonic() < deadline:
            other.join(0.02)
    other.join(10)
    assert len(outcome) == 1 and "orders → risk → orders" in outcome[0]


def _somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)")
        return bool(cursor.fetchone()[0])


# ---------------------------------------------------------------- changes and their records


def test_changes__each__are_audited_with_old_and_new(db: None, users: Any) -> None:
    """AU-1, AU-2, AU-3: who, what, from what to what; what stays the same leaves no record."""
    by = Actor.of(users.operator)
    risk = make("risk")
    orders = services.create_service(by=by, name="orders", base_url="http://orders:8080/health", depends_on=[risk])
    services.update_service(orders, by=by, owner=" Execution  desk ", interval=10, depends_on=[])
    services.update_service(orders, by=by, interval=10)
    services.update_service(orders, by=by, enabled=False)
    services.delete_service(orders, by=by)

    entries = list(Entry.objects.filter(actor=users.operator, resource_type="service").order_by("id"))
    assert [entry.event for entry in entries] == [
        "service_create",
        "service_update",
        "service_update",
        "service_delete",
    ]
    assert {entry.resource_id for entry in entries} == {str(orders.pk)}
    assert entries[0].additional_data["depends_on"] == ["risk"]
    assert entries[1].additional_data["changes"] == {
        "owner": {"before": "", "after": "Execution desk"},
        "interval": {"before": 5, "after": 10},
        "depends_on": {"before": ["risk"], "after": []},
    }
    assert entries[2].additional_data["changes"] == {"enabled": {"before": True, "after": False}}
    assert not Service.objects.filter(name="orders").exists()


def test_changes__viewer__are_refused(db: None, users: Any) -> None:
    """RBAC-1: in the service layer, whatever the door."""
    orders, by = make(), Actor.of(users.viewer)
    for attempt in (
        lambda: services.create_service(by=by, name="risk", base_url="http://risk"),
        lambda: services.update_service(orders, by=by, interval=9),
        lambda: services.update_service(orders, by=by, enabled=False),
        lambda: services.delete_service(orders, by=by),
        lambda: services.seed_services([], by=by),
    ):
        with pytest.raises(PermissionRefused):
            attempt()
    assert Service.objects.get().interval == 5


def test_update__row_moved_on__is_refused(db: None) -> None:
    """HM-1: nobody's change is overwritten unseen."""
    orders = make()
    seen = services.version_of(orders)
    services.update_service(orders, by=DESK, owner="Execution")
    with pytest.raises(StaleForm, match="Somebody changed this"):
        services.update_service(orders, by=DESK, expected_version=seen, interval=9)
    services.delete_service(orders, by=DESK)
    with pytest.raises(WrongState, match="removed in the meantime"):
        services.update_service(orders, by=DESK, interval=9)


def test_change__committed__reaches_the_dashboards_copy(transactional_db: None, redis: Any) -> None:
    """HM-1: what dashboards and sweep read follows at once; a change that is refused or undone leaves it alone."""
    make()
    assert [known["name"] for known in json.loads(redis.get(store.REGISTRY_KEY))["services"]] == ["orders"]
    generation = redis.get(store.GENERATION_KEY)
    with pytest.raises(InvalidInput):
        make("two words")
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        make("risk")
        raise ZeroDivisionError  # whatever undoes the transaction
    assert redis.get(store.GENERATION_KEY) == generation
    services.update_service(Service.objects.get(), by=DESK, enabled=False)
    assert json.loads(redis.get(store.REGISTRY_KEY))["services"] == []


def test_change__redis_away__is_made_all_the_same(transactional_db: None, redis_server: Any) -> None:
    """HM-1, Q-4: PostgreSQL holds the registry; the copy is mended later."""
    with redis_server.stopped():
        make()
    assert Service.objects.get().name == "orders"
