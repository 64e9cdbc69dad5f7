"""The API's description of itself: nothing is missing from it, and it says what a caller needs (Q-5, AK-3)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from opsportal.accounts.scopes import SCOPE_NAMES
from tests.architecture.test_permission_matrix import addresses

METHODS = frozenset({"get", "post", "put", "patch", "delete"})
#: Describes the others, not itself.
UNDESCRIBED = frozenset({"api/schema/"})


def operations(described: Any) -> Iterator[tuple[str, Any]]:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            assert method in METHODS
            yield f"{method.upper()} {path}", operation


def test_schema__every_address_of_the_api__is_described(described: Any) -> None:
    """Q-5: no endpoint is left out, none lingers."""
    plain = {re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", f"/{route}") for route in addresses() if route.startswith("api/")}
    assert set(described["paths"]) == plain - {f"/{route}" for route in UNDESCRIBED}


def test_schema__every_operation__says_who_may_and_how(described: Any) -> None:
    """Q-5, AK-3: both ways to be known, and the scope that a key needs, by its name."""
    assert set(described["components"]["securitySchemes"]) == {"api_key", "session"}
    assert described["components"]["securitySchemes"]["api_key"]["scheme"] == "bearer"
    for name, operation in operations(described):
        assert operation["security"] == [{"api_key": []}, {"session": []}], name
        needed = re.search(r"(?:A key needs the scope `([a-z:]+)`|Any valid key|No key) ?", operation["description"])
        assert needed, name
        assert needed.group(1) is None or needed.group(1) in SCOPE_NAMES, name


def test_schema__breaker__names_its_scopes(described: Any) -> None:
    """AK-3: what the one before looks for is there."""
    paths = described["paths"]
    assert "`read:circuit`" in paths["/api/v1/circuit"]["get"]["description"]
    assert "`write:circuit`" in paths["/api/v1/circuit/trip"]["post"]["description"]


def test_schema__every_operation__has_words_tag_and_its_refusals(described: Any) -> None:
    """Q-5: the refusals that every endpoint may answer with are problem documents."""
    for name, operation in operations(described):
        assert operation["tags"] and operation["description"].split(".")[0], name
        wanted = {"400", "401", "403", "406", "503"}
        wanted |= {"404"} if "{" in name else set()
        wanted |= {"413", "415", "422"} if "requestBody" in operation else set()
        assert wanted <= set(operation["responses"]), name
        for status in wanted:
            assert list(operation["responses"][status]["content"]) == ["application/problem+json"], (name, status)


def test_schema__reached_by_key_and_by_session__alike(described: Any, users: Any) -> None:
    """Q-5, AK-4: and by nobody else."""
    client = Client()
    client.force_login(users.viewer, backend="opsportal.accounts.backends.CachedUserBackend")
    assert client.get("/api/schema/", headers={"Accept": "application/vnd.oai.openapi+json"}).json() == described
    assert Client().get("/api/schema/").status_code == 401


@pytest.mark.parametrize("accept", ["*/*", "application/yaml", "application/vnd.oai.openapi"])
def test_schema__refusal_to_a_reader_of_yaml__is_json(db: None, accept: str) -> None:
    """Q-5: a problem document is JSON whatever the answer would have been."""
    answer = Client().get("/api/schema/", headers={"Accept": accept})
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["status"] == answer.status_code == 401
