"""`manage.py seed_services` and the lists it reads."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from health import services
from health.models import Service
from health.registry import ServiceEntry, in_dependency_order, parse_services
from opsportal.audit.models import Entry
from tests.desk import DESK


def run(*args: str) -> str:
    out = io.StringIO()
    call_command("seed_services", *args, stdout=out, stderr=out)
    return out.getvalue()


def fails(*args: str) -> tuple[str, str]:
    """What the command writes and how it ends."""
    out = io.StringIO()
    with pytest.raises(CommandError) as end:
        call_command("seed_services", *args, stdout=out, stderr=out)
    assert end.value.returncode == 1
    return out.getvalue(), str(end.value)


def test_seed__setting__creates_what_is_missing_once(db: None) -> None:
    """HM-1: seeded by SERVICES; a second time changes nothing, and an operator's edits stay."""
    with override_settings(SERVICES="orders=http://orders:8080, risk = http://risk:8080/health ,"):
        assert run().splitlines() == [
            "orders: created at http://orders:8080",
            "risk: created at http://risk:8080",
        ]
        orders = Service.objects.get(name="orders")
        services.update_service(orders, by=DESK, base_url="http://orders-2:8080", interval=30)
        assert "nothing was to be made" in run()
    orders.refresh_from_db()
    assert (orders.base_url, orders.interval) == ("http://orders-2:8080", 30)
    entry = Entry.objects.filter(event="service_create").first()
    assert entry is not None and entry.actor_label.endswith("(command line)")


@pytest.mark.parametrize("suffix", [".json", ".toml"])
def test_seed__file__in_any_order__parents_come_first(db: None, tmp_path: Path, suffix: str) -> None:
    """HM-1, HM-12: a file says more, and need not be sorted."""
    listed: list[dict[str, Any]] = [
        {"name": "orders", "base_url": "http://orders", "depends_on": ["risk", "gateway"], "interval": 10},
        {"name": "risk", "base_url": "http://risk", "owner": "Risk", "timeout": 1.5},
        {"name": "gateway", "base_url": "http://gateway", "depends_on": ["risk"]},
    ]
    path = tmp_path / f"services{suffix}"
    if suffix == ".json":
        path.write_text(json.dumps(listed))
    else:
        tables = [
            "[[services]]\n" + "\n".join(f"{name} = {json.dumps(v)}" for name, v in one.items()) for one in listed
        ]
        path.write_text("\n".join(tables))
    with override_settings(SERVICES_FILE=str(path)):
        run()
    orders, risk = Service.objects.get(name="orders"), Service.objects.get(name="risk")
    assert {parent.name for parent in orders.depends_on.all()} == {"risk", "gateway"}
    assert (orders.interval, risk.owner, risk.timeout) == (10, "Risk", 1.5)


def test_seed__bad_entries__are_named_and_the_good_ones_made(db: None, tmp_path: Path) -> None:
    """HM-1: one bad entry stops no other; exit code 1; no password is repeated."""
    path = tmp_path / "services.json"
    path.write_text(
        json.dumps(
            [
                {"name": "good", "base_url": "http://good"},
                {"name": "orders", "base_url": "http://me:hunter2@orders"},
                {"name": "positions", "base_url": "http://positions", "depends_on": ["orders"]},
                {"name": "risk", "base_url": "http://risk", "depends_on": ["riks"]},
                {"name": "a", "base_url": "http://a", "depends_on": ["b"]},
                {"name": "b", "base_url": "http://b", "depends_on": ["a"]},
                {"name": "twice", "base_url": "http://one"},
                {"name": "twice", "base_url": "http://two"},
                {"name": "slow", "base_url": "http://slow", "intervall": 5},
                {"name": "words", "base_url": "http://words", "interval": "often"},
                {"name": "far", "base_url": "http://far", "timeout": 99.0},
                {"base_url": "http://nameless"},
                "just text",
            ]
        )
    )
    said, end = fails("--file", str(path))
    assert list(Service.objects.values_list("name", flat=True)) == ["good"]
    for part in (
        "good: created at http://good",
        "orders: Leave user name and password out",
        "positions: It depends on orders, which could not be made",
        "risk: it depends on riks, which is no service",
        "a: it depends on b",
        "b: it depends on a",
        "twice: it stands 2 times",
        "slow: “intervall” is not known",
        "words: “interval”: input should be a valid integer",
        "far: The timeout must be from 0.1 to 60",
        "entry 12: “name” is missing",
        "entry 13: it is not an object",
    ):
        assert part in said, part
    assert "12 of the entries" in end or "of the entries could not be used" in end
    assert "hunter2" not in said + end


def test_setting__piece_that_is_no_pair__is_named_without_its_secret() -> None:
    """HM-1, SLA-5: a forgotten name must not put a password on the screen."""
    listed = parse_services("http://me:hunter2@orders:80, risk=, =http://x, fine=http://fine")
    assert [entry.name for entry in listed.entries] == ["fine"]
    assert len(listed.problems) == 3
    assert "hunter2" not in " ".join(listed.problems)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "is not JSON"),
        (b"\xff\xfe", "not text in UTF-8"),
        (b'{"orders": "http://orders"}', "must hold a list"),
        (b"[" * 100_000, "is not JSON"),
        (None, "No such file"),
    ],
)
def test_seed__unreadable_file__is_one_sentence(db: None, tmp_path: Path, content: bytes | None, told: str) -> None:
    """RUN-5: and exit code 1."""
    path = tmp_path / "services.json"
    if content is not None:
        path.write_bytes(content)
    assert told in fails("--file", str(path))[1]


def test_seed__nothing_is_written_down__is_fine(db: None) -> None:
    """HM-1: an installation without a list starts too."""
    with override_settings(SERVICES="", SERVICES_FILE=""):
        assert "0 services" in run()


def test_seed__postgresql_down__is_one_sentence(postgres_server: Any) -> None:
    """Q-4: says so and changes nothing."""
    with override_settings(SERVICES="orders=http://orders"), postgres_server.stopped():
        assert "PostgreSQL does not answer" in fails()[1]


def test_register__address_moved__is_followed_only_when_asked(db: None) -> None:
    """HM-1: the demo's ports change; an operator's other edits stay."""
    entry = ServiceEntry("orders", "http://127.0.0.1:9001", owner="Execution")
    assert services.seed_services([entry], by=DESK).changes == ["orders: created at http://127.0.0.1:9001"]
    services.update_service(Service.objects.get(), by=DESK, owner="Night desk")
    moved = ServiceEntry("orders", "http://127.0.0.1:9002", owner="Execution")
    assert services.seed_services([moved], by=DESK).changes == []
    assert services.seed_services([moved], by=DESK, update_addresses=True).changes == [
        "orders: moved from http://127.0.0.1:9001 to http://127.0.0.1:9002"
    ]
    orders = Service.objects.get()
    assert (orders.base_url, orders.owner) == ("http://127.0.0.1:9002", "Night desk")
    done = services.seed_services([ServiceEntry("bad", "orders"), ServiceEntry("good", "http://good")], by=DESK)
    assert done.problems[0].startswith("bad: The address must begin")
    assert Service.objects.filter(name="good").exists()


def test_order__known_services__need_no_parents_in_the_list() -> None:
    """HM-12: what is there already counts."""
    entries = [ServiceEntry("orders", "http://orders", depends_on=("risk",))]
    assert in_dependency_order(entries, {"risk"}) == (entries, [])
    ordered, problems = in_dependency_order(entries, set())
    assert ordered == [] and "risk" in problems[0]
