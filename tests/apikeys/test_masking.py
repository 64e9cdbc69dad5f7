"""A key that somebody pastes where it does not belong is masked before it is stored or logged."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import redis as redis_client
from django.test import Client

from circuit import services as circuit_services
from opsportal.audit.models import Entry
from tests.apikeys.conftest import signed_in
from tests.desk import DESK


def _trip(client: Client, key: str) -> Any:
    return client.post("/admin/circuit/trip/", {"category": "manual", "reason": f"with {key}"})


def _export(client: Client, key: str) -> Any:
    return client.get("/admin/circuit/history.csv", {"q": key, "actor": f"x {key}"})


def _service(client: Client, key: str) -> Any:
    values = {
        "name": "orders",
        "base_url": "http://orders:8080",
        "owner": f"desk {key}",
        "interval": "5",
        "timeout": "5.0",
    }
    return client.post("/admin/health/service/add/", {**values, "enabled": "on"})


def _service_name(client: Client, key: str) -> Any:
    values = {"name": key, "base_url": f"http://orders:8080/{key}", "owner": "desk", "interval": "5", "timeout": "5.0"}
    return client.post("/admin/health/service/add/", {**values, "enabled": "on"})


def _sign_in(_client: Client, key: str) -> Any:
    return Client().post("/admin/login/", {"username": key, "password": key})


def _name(client: Client, key: str) -> Any:
    return client.post("/admin/apikeys/add/", {"owner": key, "name": f"for {key}", "scopes": [key], "networks": key})


def _search(client: Client, key: str) -> Any:
    return client.get("/admin/apikeys/", {"q": f"where is {key} please", "state": key, "page": key})


@pytest.mark.parametrize("paste", [_trip, _export, _service, _service_name, _sign_in, _name, _search])
def test_key__pasted_into_a_field__is_in_no_log_line_or_audit_entry(
    made: Any, users: Any, redis: redis_client.Redis, caplog: pytest.LogCaptureFixture, paste: Any
) -> None:
    """AK-9: reason, filter, owner, name, user name, search; nor does the portal leave it in the platform's keys."""
    circuit_services.init_breaker(by=DESK)
    _, text = made()
    caplog.set_level(logging.DEBUG)
    answer = paste(signed_in(users.admin), text)
    assert answer.status_code < 500
    logged = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    entries = repr([[getattr(entry, f.attname) for f in Entry._meta.concrete_fields] for entry in Entry.objects.all()])
    kept = repr([redis.get(name) for name in redis.scan_iter("circuit_breaker:*") if redis.type(name) == "string"])
    assert caplog.records
    for place in (logged, entries, kept):
        assert text not in place and text[16:] not in place
