"""A key at the door of the API: who gets in, who does not, and what is said."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
import redis as redis_client
from django.test import Client
from django.utils import timezone

from apikeys import recognising, services, wire
from apikeys.models import ApiKey
from circuit import services as circuit_services
from circuit.models import Transition
from circuit.selectors import read_breaker
from opsportal.accounts.models import User
from opsportal.accounts.roles import Role
from opsportal.accounts.services import disable_user, set_role
from opsportal.audit.models import Entry
from tests.apikeys.conftest import REASON, bearer, signed_in
from tests.desk import DESK

CIRCUIT = "/api/v1/circuit"
TRIP = "/api/v1/circuit/trip"
SELF = "/api/v1/apikeys/self"
JSON = "application/json"


@pytest.fixture(autouse=True)
def _open(db: None) -> None:
    circuit_services.init_breaker(by=DESK)


def get(key: str, path: str = CIRCUIT, **more: Any) -> Any:
    return Client().get(path, **bearer(key, **more))


def trip(key: str, reason: str = "limit") -> Any:
    return Client().post(TRIP, {"reason": reason}, JSON, **bearer(key))


def test_key__valid__opens_what_its_scope_says(made: Any) -> None:
    """AK-4."""
    _, text = made("read:circuit")
    answer = get(text)
    assert (answer.status_code, answer.json()["state"]) == (200, "OPEN")
    assert "sessionid" not in answer.cookies


def _expired(key: ApiKey) -> None:
    ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now())


def _revoked(key: ApiKey) -> None:
    services.revoke_key(key, by=DESK, reason=REASON)


def _owner_disabled(key: ApiKey) -> None:
    disable_user(key.owner, by=DESK, reason="Has left the desk.")


def _elsewhere(key: ApiKey) -> None:
    ApiKey.objects.filter(pk=key.pk).update(networks=["10.0.0.0/8"])


def test_refusals__of_every_kind__are_the_same_to_the_byte(made: Any, users: Any, redis: redis_client.Redis) -> None:
    """AK-4: none, malformed, unknown, wrong secret, expired, revoked, disabled owner, wrong network: one same answer."""
    seen: dict[str, tuple[int, bytes, dict[str, str]]] = {}

    def note(kind: str, answer: Any) -> None:
        headers = {name: value for name, value in answer.headers.items() if name != "X-Request-ID"}
        seen[kind] = (answer.status_code, answer.content, headers)

    note("none", Client().get(CIRCUIT))
    for number, token in enumerate(["", "x", "tp_live_", "tp_live_" + "x" * 42, "tp_live_" + "x" * 44, "tp_test_" + "x" * 43,
                                    "tp_live_abc-efgh" + "x" * 35, "é" * 51, "x" * 100_000, "\x00", "a b c"]):  # fmt: skip
        note(f"malformed {number}", get(token))
    note("unknown", get(wire.draw_key().text))
    key, text = made(name="wrong secret")
    note("wrong secret", get(text[:16] + wire.draw_key().text[16:]))
    for kind, spoil in (("expired", _expired), ("revoked", _revoked), ("network", _elsewhere)):
        key, text = made(name=kind)
        assert get(text).status_code == 200, "good before"
        spoil(key)
        recognising.forget_rows()
        note(kind, get(text))
    key, text = made(name="disabled")
    _owner_disabled(key)
    note("disabled", get(text))
    assert {repr(answer) for answer in seen.values()} == {repr(seen["none"])}
    status, body, headers = seen["none"]
    assert status == 401 and headers["WWW-Authenticate"].startswith("Bearer")
    assert headers["Content-Type"] == "application/problem+json" and b"request_id" not in body


@pytest.mark.parametrize(
    ("spoil", "why"),
    [(_expired, "expired"), (_revoked, "revoked"), (_owner_disabled, "owner_disabled"), (_elsewhere, "network")],
)
def test_dead_key__calls_often__is_audited_once_a_minute(made: Any, spoil: Any, why: str) -> None:
    """AU-2, AK-9: with its prefix and why; a key that nobody ever had is only counted."""
    key, text = made()
    spoil(key)
    for _ in range(3):
        assert get(text).status_code == get(text).status_code == 401
        recognising.forget_rows()  # the next call comes to another process: Redis remembers for all
    assert get(wire.draw_key().text).status_code == 401
    entry = Entry.objects.get(event="api_key_refused")
    assert (entry.resource_id, entry.outcome, entry.additional_data) == (key.prefix, "denied", {"why": why})


def test_bearer__refused__session_beside_it_does_not_help(users: Any) -> None:
    """AK-4: who sends a key is judged by the key; also in odd spellings of the header."""
    client = signed_in(users.admin)
    assert client.get(CIRCUIT).status_code == 200
    for header in ("Bearer nonsense", "bearer x", "BEARER", "Bearer\tx", "Bearer  "):
        assert client.get(CIRCUIT, HTTP_AUTHORIZATION=header).status_code == 401, header


@pytest.mark.parametrize(
    "where",
    [
        "/api/v1/circuit?key={0}",
        "/api/v1/circuit?api_key={0}&access_token={0}",
        "/api/v1/circuit?Authorization=Bearer%20{0}",
    ],
)
def test_key__in_the_address__opens_nothing_and_is_not_logged(
    made: Any, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    """AK-4, AK-9."""
    _, text = made()
    caplog.set_level(logging.DEBUG)
    assert Client().get(where.format(text)).status_code == 401
    assert Client().get(f"/api/v1/{text}/").status_code == 404
    assert Client().get(f"/admin/{text}/").status_code in (302, 404)
    assert Client().post("/api/v1/circuit/trip", {"api_key": text, "reason": "x"}, JSON).status_code == 401
    assert Client().get(CIRCUIT, HTTP_X_API_KEY=text, HTTP_AUTHORIZATION=f"Basic {text}").status_code == 401
    logged = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert text not in logged and text[16:] not in logged


def test_scope__missing__is_403_that_names_it_and_is_audited(made: Any) -> None:
    """AK-4, AU-2: with the key as actor."""
    key, text = made("read:circuit")
    answer = trip(text)
    body = answer.json()
    assert (answer.status_code, body["scope"], body["missing"]) == (403, "write:circuit", "circuit.trip_breaker")
    assert "“write:circuit”" in body["detail"]
    entry = Entry.objects.get(event="api_key_action_denied")
    assert (entry.outcome, entry.actor_label) == ("denied", f"{key.owner.username} ({key.prefix})")
    assert read_breaker().state == "OPEN"


def test_trip__with_a_key__names_the_key_in_history_and_audit(made: Any) -> None:
    """AK-4, CB-4, AK-9: `POST /api/v1/circuit/trip`, without CSRF token or session."""
    key, text = made("write:circuit")
    answer = trip(text)
    assert (answer.status_code, answer.json()["state"]) == (200, "TRIPPED")
    who = f"{key.owner.username} ({key.prefix})"
    assert Transition.objects.get(kind="trip").actor_label == who
    entry = Entry.objects.get(event="circuit_trip")
    assert (entry.actor_label, entry.actor_id, entry.source) == (who, key.owner_id, "api")


def test_owner__loses_the_role__key_loses_it_too(made: Any, users: Any) -> None:
    """AK-3: never more than its owner at the time of use, a second after the change at the latest."""
    _, text = made("write:circuit")
    set_role(users.operator, Role.VIEWER, by=DESK)
    recognising.forget_rows()
    answer = trip(text)
    assert (answer.status_code, answer.json()["missing"], answer.json()["scope"]) == (403, "circuit.trip_breaker", "")
    assert read_breaker().state == "OPEN"


def test_viewers_key__with_write_scope_in_the_row__cannot_trip(made: Any, users: Any) -> None:
    """AK-3: a scope opens only what the owner has, whatever the row says."""
    key, text = made("read:circuit", owner=users.viewer)
    ApiKey.objects.filter(pk=key.pk).update(scopes=["read:circuit", "write:circuit"])
    assert trip(text).status_code == 403 and get(text).status_code == 200


def test_owner__disabled_while_redis_was_not_told__is_noticed_by_the_row(made: Any, users: Any) -> None:
    """AK-4: the cached user would pass for half a minute; the row's own query asks."""
    _, text = made()
    assert get(text).status_code == 200
    User.objects.filter(pk=users.operator.pk).update(is_active=False)
    recognising.forget_rows()
    assert get(text).status_code == 401


@pytest.mark.parametrize("path", [CIRCUIT, "/api/v1/health/services"])
def test_scope__missing__head_is_refused_like_get(made: Any, path: str) -> None:
    """AK-3: an answer without its body still tells how long it is."""
    _, text = made("write:orders")
    assert Client().head(path, **bearer(text)).status_code == get(text, path).status_code == 403


def test_admins_key__with_one_scope__does_not_do_what_the_admin_may(made: Any, users: Any) -> None:
    """AK-3: the scope bounds it, for pages too."""
    _, text = made("read:health", owner=users.admin)
    assert get(text).status_code == trip(text).status_code == 403
    answer = get(text, "/admin/apikeys/")
    assert answer.status_code == 302 and answer["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("method", ["put", "patch", "post", "delete"])
def test_scope__cannot_be_widened_by_the_api(made: Any, method: str) -> None:
    """AK-3: nothing of a key can be changed with a key."""
    key, text = made("read:circuit")
    answer = getattr(Client(), method)(SELF, {"scopes": ["write:circuit"]}, content_type=JSON, **bearer(text))
    assert answer.status_code == 405
    key.refresh_from_db()
    assert key.scopes == ["read:circuit"]


@pytest.mark.parametrize(
    ("networks", "address", "forwarded", "status"),
    [
        ([], "203.0.113.9", "", 200),
        (["203.0.113.0/24"], "203.0.113.9", "", 200),
        (["203.0.113.0/24"], "203.0.114.9", "", 401),
        (["203.0.113.9"], "203.0.113.9", "", 200),
        (["203.0.113.9"], "::ffff:203.0.113.9", "", 200),
        (["2001:db8::/32"], "2001:db8:1::5", "", 200),
        (["2001:db8::/32"], "2001:db9::5", "", 401),
        (["203.0.113.0/24"], "2001:db8::5", "", 401),
        (["203.0.113.0/24"], "198.51.100.1", "203.0.113.9", 401),  # a stranger's header is not believed
        (["203.0.113.0/24"], "10.9.0.1", "203.0.113.9", 200),
        (["203.0.113.0/24"], "10.9.0.1", "203.0.113.9, 198.51.100.1", 401),
        (["203.0.113.0/24"], "10.9.0.1", "198.51.100.1, 203.0.113.9, 10.9.0.2", 200),
        (["203.0.113.0/24"], "", "", 401),  # a unix socket: nobody knows the address
    ],
)
def test_networks__decide_by_the_clients_real_address(
    made: Any, settings: Any, networks: list[str], address: str, forwarded: str, status: int
) -> None:
    """AK-8, AM-3: IPv4, IPv6, and proxies only where they are ours."""
    from ipaddress import ip_network

    settings.TRUSTED_PROXIES = [ip_network("10.9.0.0/16")]
    _, text = made(networks=networks)
    more = {"HTTP_X_FORWARDED_FOR": forwarded} if forwarded else {}
    assert get(text, REMOTE_ADDR=address, **more).status_code == status


def test_expiry__passes_between_two_calls__second_is_refused(made: Any) -> None:
    """AK-8: also while the row is still remembered."""
    key, text = made(expires_in_days=1)
    now = key.expires_at
    assert recognising.recognise(text, ip=None, now=now - timedelta(microseconds=1)).prefix == key.prefix
    with pytest.raises(recognising.KeyRefused, match="expired"):
        recognising.recognise(text, ip=None, now=now)


def test_self__with_a_key__tells_what_it_opens_now(made: Any, users: Any) -> None:
    """AK-3, AK-4: scopes only as far as the owner has them; nothing that recognises the key."""
    key, text = made("write:orders", "write:circuit", "read:circuit", name="gateway", expires_in_days=5)
    answer = get(text, SELF)
    assert answer.status_code == 200 and answer["Cache-Control"] == "no-store"
    body = answer.json()
    assert body == {
        "name": "gateway",
        "prefix": key.prefix,
        "owner": users.operator.username,
        "scopes": ["read:circuit", "write:circuit", "write:orders"],
        "expires_at": key.expires_at.isoformat(),
    }
    set_role(users.operator, Role.VIEWER, by=DESK)
    recognising.forget_rows()
    assert get(text, SELF).json()["scopes"] == ["read:circuit"]


def test_self__with_a_session__says_that_a_key_is_needed(users: Any) -> None:
    """AK-4."""
    answer = signed_in(users.admin).get(SELF)
    assert answer.status_code == 403 and "only with a key" in answer.json()["detail"]
    assert Client().get(SELF).status_code == 401


def test_schema__describes_self_and_the_bearer_key(users: Any) -> None:
    """Q-5."""
    schema = signed_in(users.viewer).get("/api/schema/", headers={"Accept": "application/vnd.oai.openapi+json"}).json()
    operation = schema["paths"]["/api/v1/apikeys/self"]["get"]
    assert {"api_key": []} in operation["security"] and {"200", "401", "403"} <= set(operation["responses"])
    assert schema["components"]["securitySchemes"]["api_key"]["scheme"] == "bearer"
    assert "`write:circuit`" in schema["paths"][TRIP]["post"]["description"]


def test_last_used__many_calls_in_a_minute__one_update(
    made: Any, django_assert_num_queries: Any, django_capture_on_commit_callbacks: Any
) -> None:
    """AK-7: time and address, at most once a minute; a remembered row needs no query at all."""
    key, text = made()
    get(text, REMOTE_ADDR="203.0.113.5")
    key.refresh_from_db()
    first = key.last_used_at
    assert first is not None and key.last_used_ip == "203.0.113.5"
    with django_assert_num_queries(0):
        for _ in range(3):
            assert get(text, REMOTE_ADDR="203.0.113.6").status_code == 200
    recognising.forget_rows()  # another process: Redis remembers
    get(text, REMOTE_ADDR="203.0.113.7")
    key.refresh_from_db()
    assert (key.last_used_at, key.last_used_ip) == (first, "203.0.113.5")


def test_last_used__more_than_a_minute_ago__is_written_again(made: Any, redis: redis_client.Redis) -> None:
    """AK-7."""
    key, text = made()
    get(text, REMOTE_ADDR="203.0.113.5")
    ApiKey.objects.filter(pk=key.pk).update(last_used_at=timezone.now() - timedelta(seconds=61))
    redis.flushall()
    recognising.forget_rows()
    get(text, REMOTE_ADDR="203.0.113.7")
    key.refresh_from_db()
    assert key.last_used_ip == "203.0.113.7"


def test_memory__ten_thousand_keys__does_not_grow_on(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """AK-5: what a process remembers is bounded, and strangers add nothing to it."""
    monkeypatch.setattr(recognising, "_MOST_ROWS", 3)
    for _ in range(5):
        get(wire.draw_key().text)
    assert not recognising._rows and not recognising._noted
    for _ in range(8):
        assert get(made()[1]).status_code == 200
    assert len(recognising._rows) <= 3 and len(recognising._noted) <= 3


def test_pasted_key__in_a_reason__is_masked_in_history_audit_and_log(
    made: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """AK-9."""
    _, text = made("write:circuit")
    caplog.set_level(logging.DEBUG)
    assert trip(text, reason=f"see {text}").status_code == 200
    assert text not in read_breaker().decoded.reason and text[:16] in read_breaker().decoded.reason
    for entry in Entry.objects.all():
        assert text[16:] not in repr([getattr(entry, field.attname) for field in Entry._meta.concrete_fields])
    assert text[16:] not in "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
