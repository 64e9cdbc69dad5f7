"""`manage.py circuit`."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from circuit.models import Transition
from circuit.selectors import read_breaker
from opsportal.audit.models import Entry
from tests.desk import WHY


def run(*args: str) -> str:
    out = io.StringIO()
    call_command("circuit", *args, stdout=out, stderr=out)
    return out.getvalue()


def test_init_trip_reset_status(db: None) -> None:
    """CB-4, AU-6: the same service; the OS user is in the audit log."""
    assert "OPEN · trading" in run("init")
    assert "TRIPPED · halted" in run("trip", "--reason", "limit", "--category", "latency")
    with pytest.raises(SystemExit) as code:
        run("status")
    assert code.value.code == 3
    assert "OPEN · trading" in run("reset", "--reason", WHY, "--acknowledge")
    assert json.loads(run("status", "--json"))["state"] == "OPEN"
    entry = Entry.objects.get(event="circuit_trip")
    assert entry.actor_label.endswith("(command line)") and entry.source == "cli"
    assert Transition.objects.get(kind="trip").source == "cli"


def test_refusals__are_one_sentence(db: None, users: Any) -> None:
    """CB-4, RBAC-1: also when acting as a user."""
    with pytest.raises(CommandError, match="unknown"):
        run("reset", "--reason", WHY, "--acknowledge")
    run("init")
    with pytest.raises(CommandError, match="already holds a breaker state"):
        run("init")
    with pytest.raises(CommandError, match="You may not trip"):
        run("trip", "--reason", "x", "--as", users.viewer.username)
    denied = Entry.objects.get(event="admin_page_access_denied")
    assert (denied.actor_id, denied.resource_id, denied.outcome) == (
        users.viewer.pk,
        "manage.py circuit trip",
        "denied",
    )
    with pytest.raises(CommandError, match="no active user"):
        run("trip", "--reason", "x", "--as", "nobody")
    run("trip", "--reason", "x", "--as", users.operator.username)
    with pytest.raises(CommandError, match="pass --acknowledge"):
        run("reset", "--reason", WHY)
    assert read_breaker().state == "TRIPPED"
