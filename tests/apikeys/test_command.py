"""`manage.py apikey`."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import Client

from apikeys.models import ApiKey
from apikeys.wire import KEY_FORM
from opsportal.audit import recorder
from opsportal.audit.models import Entry
from tests.apikeys.conftest import REASON, bearer


def run(*args: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("apikey", *args, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def status(key: str) -> int:
    return int(Client().get("/api/v1/apikeys/self", **bearer(key)).status_code)


def create(users: Any, *more: str, name: str = "gateway") -> str:
    args = ("--user", users.operator.username, "--name", name, "--scope", "read:circuit")
    out, err = run("create", *args, *more)
    assert KEY_FORM.fullmatch(out.strip()) and out.count("\n") == 1, "the key alone"
    assert out.strip() not in err and "store it now" in err
    return out.strip()


def test_create__prints_the_key_alone_and_is_audited_with_the_os_user(users: Any) -> None:
    """AK-6, AU-6."""
    text = create(users, "--scope", "write:orders", "--expires-days", "30", "--network", "127.0.0.0/8")
    key = ApiKey.objects.get()
    assert (key.scopes, key.networks) == (["read:circuit", "write:orders"], ["127.0.0.0/8"]) and key.expires_at
    assert status(text) == 200
    entry = Entry.objects.get(event="api_key_create")
    assert entry.actor_label == key.created_by == recorder.command_line_label() and entry.source == "cli"


def test_rotate_and_revoke__by_prefix(users: Any) -> None:
    """AK-6: the same services as the pages."""
    old = create(users)
    out, err = run("rotate", old[:16])
    assert KEY_FORM.fullmatch(out.strip()) and "stays valid until it is revoked" in err
    assert status(old) == status(out.strip()) == 200
    out, _ = run("revoke", old[:16], "--reason", REASON)
    assert out.startswith("revoked: gateway (") and status(old) == 401
    assert Entry.objects.get(event="api_key_revoke").actor_label == recorder.command_line_label()


def test_list__as_table_and_json__holds_no_secret(users: Any) -> None:
    """AK-6, AK-9: with whether the old key is in use."""
    text = create(users)
    run("rotate", text[:16])
    table, _ = run("list")
    assert "not used since the new one was made" in table and text[:16] in table
    rows = json.loads(run("list", "--json")[0])
    assert [row["state"] for row in rows] == ["active", "pending"] and rows[1]["prefix"] == text[:16]
    for key in ApiKey.objects.all():
        for output in (table, json.dumps(rows)):
            assert text not in output and key.salt not in output and key.digest not in output


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("create", "--user", "nobody-here", "--name", "x", "--scope", "read:circuit"), "There is no user"),
        (("create", "--user", "a\x00b", "--name", "x", "--scope", "read:circuit"), "There is no user"),
        (("create", "--user", "{operator}", "--name", "", "--scope", "read:circuit"), "Give the key a name"),
        (("create", "--user", "{operator}", "--name", "x", "--scope", "all"), "There is no scope “all”"),
        (("create", "--user", "{viewer}", "--name", "x", "--scope", "write:circuit"), "would open nothing"),
        (("create", "--user", "{operator}", "--name", "x", "--scope", "read:circuit", "--expires-days", "0"), "1 to 3,650"),
        (("create", "--user", "{operator}", "--name", "x", "--scope", "read:circuit", "--network", "x"), "is not an address"),
        (("create", "--user", "{operator}", "--name", "x", "--scope", "read:circuit", "--as", "nobody"), "no active user"),
        (("create", "--user", "{operator}", "--name", "x", "--scope", "read:circuit", "--as", "{operator}"), "You may not"),
        (("rotate", "tp_live_nothing0"), "There is no key with this prefix"),
        (("rotate", "a\x00b"), "There is no key with this prefix"),
        (("revoke", "tp_live_nothing0", "--reason", "x" * 30), "There is no key with this prefix"),
    ],
)  # fmt: skip
def test_error__is_one_sentence_and_exit_code_1(users: Any, args: tuple[str, ...], sentence: str) -> None:
    """AK-6: nothing is made."""
    with pytest.raises(CommandError, match=sentence) as refused:
        run(*(arg.format(operator=users.operator.username, viewer=users.viewer.username) for arg in args))
    assert refused.value.returncode == 1 and "\n" not in str(refused.value)
    assert not ApiKey.objects.exists()


def test_revoke__short_reason__is_refused(users: Any) -> None:
    """AK-5."""
    text = create(users)
    with pytest.raises(CommandError, match="at least 20"):
        run("revoke", text[:16], "--reason", "too short")
    assert status(text) == 200


def test_as_user__admin__is_the_actor_and_operator_is_denied_and_audited(users: Any) -> None:
    """RBAC-1, AU-6."""
    create(users, "--as", users.admin.username)
    assert Entry.objects.get(event="api_key_create").actor_label == users.admin.username
    with pytest.raises(CommandError, match="You may not create and rotate API keys"):
        create(users, "--as", users.operator.username, name="other")
    assert Entry.objects.get(event="api_key_action_denied").resource_id == "manage.py apikey create"


def test_postgresql_stopped__says_so(users: Any, postgres_server: Any) -> None:
    """AK-6, Q-4."""
    with postgres_server.stopped():
        connections.close_all()
        with pytest.raises(CommandError, match="PostgreSQL does not answer"):
            run("list")
