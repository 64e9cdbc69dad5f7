"""`GET /api/v1/config/{section}`: what services read (CF-5)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from django.db import connections
from django.test import Client
from drf_spectacular.validation import validate_schema
from pydantic import BaseModel, Field

from apikeys.services import create_key
from sysconf.schema import as_openapi
from tests.desk import DESK
from tests.sysconf.desk import DEFAULTS, HOURS, LIMITS, save, signed_in, values

URL = "/api/v1/config/"


@pytest.fixture
def admin(users: Any) -> Client:
    return signed_in(users.admin)


def test_get__has_the_promised_fields(admin: Client) -> None:
    """CF-5: section, version, values, changed_at; the defaults are version 0 and were never changed."""
    answer = admin.get(URL + HOURS)
    assert answer.json() == {"section": HOURS, "version": 0, "values": values(HOURS), "changed_at": None}
    assert answer["Cache-Control"] == "no-cache, private" and answer["ETag"].startswith('"')
    save(HOURS, market_open="08:00")
    body = admin.get(URL + HOURS).json()
    assert (body["version"], body["values"]["market_open"]) == (1, "08:00")
    assert body["changed_at"].endswith("+00:00")


@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', '"a,b" , W/{}', "*"])
def test_get__etag_known__is_304_until_it_changes(admin: Client, form: str) -> None:
    """CF-5: asking often is cheap; a change shows at once."""
    etag = admin.get(URL + HOURS)["ETag"]
    answer = admin.get(URL + HOURS, headers={"If-None-Match": form.format(etag)})
    assert (answer.status_code, answer.content, answer["ETag"]) == (304, b"", etag)
    assert answer["Cache-Control"] == "no-cache, private"
    save(HOURS, market_open="08:00")
    if form != "*":
        answer = admin.get(URL + HOURS, headers={"If-None-Match": form.format(etag)})
        assert answer.status_code == 200 and answer["ETag"] != etag


@pytest.mark.parametrize("header", ["", "nonsense", '"', "W/", ",,,", "\x00", '"x"' * 2000])
def test_get__etag_nonsense__is_200(admin: Client, header: str) -> None:
    """Q-5: what is no ETag is none that we know."""
    assert admin.get(URL + HOURS, headers={"If-None-Match": header}).status_code == 200


def test_get__two_sections__have_two_etags(admin: Client) -> None:
    """CF-5: an ETag names section, version and values."""
    assert admin.get(URL + HOURS)["ETag"] != admin.get(URL + LIMITS)["ETag"]


@pytest.mark.parametrize("section", ["nothing", "Trading_Hours", "%00", "%ff", "x" * 2000, "12"])
def test_get__unknown_section__is_404_that_names_the_known(admin: Client, section: str) -> None:
    """Q-5: a problem document."""
    answer = admin.get(URL + section)
    assert answer.status_code == 404 and answer["Content-Type"] == "application/problem+json"
    assert DEFAULTS in answer.json()["detail"]


@pytest.mark.parametrize("method", ["get", "head"])
@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_get__not_admin__is_403(users: Any, role: str, method: str) -> None:
    """RBAC-1: only administrators, and keys of theirs; HEAD tells no more than GET."""
    assert getattr(signed_in(getattr(users, role)), method)(URL + HOURS).status_code == 403


def test_get__nobody__is_401(db: None) -> None:
    """AK-4."""
    assert Client().get(URL + HOURS).status_code == 401


def test_get__cached__asks_postgresql_nothing(admin: Client, django_assert_num_queries: Any) -> None:
    """CF-2: a warm reading is one look into Redis."""
    admin.get(URL + HOURS)
    with django_assert_num_queries(0):
        assert admin.get(URL + HOURS).status_code == 200


def test_get__redis_down__comes_from_postgresql(users: Any, redis_server: Any, transactional_db: None) -> None:
    """CF-2: slower, and as right."""
    save(HOURS, market_open="08:00")
    client = signed_in(users.admin)
    with redis_server.stopped():
        assert client.get(URL + HOURS).json()["values"]["market_open"] == "08:00"


def test_get__nothing_answers__is_503(users: Any, redis: Any, postgres_server: Any) -> None:
    """CF-2: never the defaults in their place."""
    client = signed_in(users.admin, raise_request_exception=False)
    client.get(URL + HOURS)
    redis.delete(f"system_config:{HOURS}")
    with postgres_server.stopped():
        connections.close_all()
        answer = client.get(URL + HOURS)
    assert answer.status_code == 503 and answer["Retry-After"] == "5"
    assert "cannot be read" in answer.json()["detail"]


def test_schema__knows_every_section(admin: Client) -> None:
    """Q-5: the shape of each section, with its ranges; 304, 404 and 503 are described."""
    schema = admin.get("/api/schema/", headers={"Accept": "application/vnd.oai.openapi+json"}).json()
    described = schema["paths"]["/api/v1/config/{section}"]["get"]
    assert {"200", "304", "401", "403", "404", "503"} <= set(described["responses"])
    assert "read:config" in described["description"]
    shapes = schema["components"]["schemas"]
    assert {one["$ref"].rsplit("/", 1)[1] for one in shapes["Config"]["oneOf"]} == {
        "TradingHoursConfig",
        "PositionLimitsConfig",
        "SystemDefaultsConfig",
    }
    assert shapes["PositionLimits"]["properties"]["max_open_orders"]["maximum"] == 1000
    assert shapes["TradingHours"]["properties"]["market_open"]["default"] == "09:30"
    validate_schema(schema)


def test_schema__what_json_schema_says_otherwise__is_put_into_openapi_3_0() -> None:
    """Q-5: constants, null and open bounds, which sections to come may have."""

    class Odd(BaseModel):
        """Everything that differs."""

        kind: Literal["x"] = "x"
        most: Annotated[int, Field(gt=0)] | None = None
        ratio: float = Field(0.5, lt=1)

    properties = as_openapi(Odd.model_json_schema())["properties"]
    assert properties["kind"]["enum"] == ["x"] and "const" not in properties["kind"]
    most = properties["most"]
    assert (most["type"], most["nullable"], most["minimum"], most["exclusiveMinimum"]) == ("integer", True, 0, True)
    assert (properties["ratio"]["maximum"], properties["ratio"]["exclusiveMaximum"]) == (1, True)


def test_get__api_key__needs_the_scope(users: Any) -> None:
    """CF-5, AK-3: a service's key reads the section, and nothing without `read:config`."""
    said = []
    for scope in ("read:config", "read:circuit"):
        _, new = create_key(by=DESK, owner=users.admin, name=scope, scopes=(scope,))
        answer = Client().get(URL + HOURS, HTTP_AUTHORIZATION=f"Bearer {new.text}")
        said.append((answer.status_code, answer.json().get("scope")))
    assert said == [(200, None), (403, "read:config")]
