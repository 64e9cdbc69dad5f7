"""`manage.py check_health_contract`: what a service team sees."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from health.contract import json_schema
from tests.health.servers import answers, reply, says, serving

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> tuple[int, str]:
    """Exit code and what was printed."""
    out = io.StringIO()
    try:
        call_command("check_health_contract", *arguments, stdout=out, stderr=out, no_color=True)
    except SystemExit as ended:
        return int(ended.code or 0), out.getvalue()
    return 0, out.getvalue()


def test_check__service_that_obeys__is_ok() -> None:
    """HM-3: base URL or full address, with or without a slash; any name without --service."""
    with serving(says()) as server:
        for url in (server.url(""), server.url("/"), server.url("/health"), server.url("/health/")):
            code, printed = run(url)
            assert code == 0 and printed.startswith(f"{server.url()}: ok\n")
            assert "  orders 1.4.2 is healthy\n" in printed and "  answered in " in printed
            assert "warning" not in printed
    assert {head.split()[1] for head in server.heads} == {b"/health"}


def test_check__several__exit_code_1_when_one_is_broken() -> None:
    """HM-3: one block for each address, in order, each with its reason."""
    with (
        serving(says()) as good,
        serving(says(status="ok")) as broken,
        serving(answers(reply(b"", status="404 No"))) as none,
    ):
        code, printed = run(good.url(), broken.url(), none.url(), "http://127.0.0.1:9")
    assert code == 1
    blocks = [line for line in printed.splitlines() if not line.startswith("  ")]
    assert [block.rsplit(" ", 1)[1] for block in blocks] == ["ok", "BROKEN", "BROKEN", "REPLY"]
    assert '`status` is "ok"; it must be healthy, degraded or unhealthy.' in printed
    assert "there is no health reply at /health." in printed and "127.0.0.1:9 refuses connections." in printed


def test_check__not_well__keeps_the_contract() -> None:
    """HM-3: a service that says it is unhealthy says so as it should."""
    with serving(answers(reply({"status": "unhealthy", "service": "o", "details": "disk"}, status="503 No"))) as server:
        code, printed = run(server.url())
    assert code == 0 and "o is unhealthy" in printed and "It calls itself unhealthy: disk" in printed


def test_check__name_given__must_be_the_service_s_own() -> None:
    """HM-3: the name under which it is registered."""
    with serving(says()) as server:
        assert run(server.url(), "--service", "orders")[0] == 0
        code, printed = run(server.url(), "--service", "positions")
    assert code == 1 and 'calls itself "orders", but is registered as "positions"' in printed


def test_check__reply_that_misleads__is_warned_of() -> None:
    """HM-3, HM-7: times without a zone or in the future, and no last operation at all."""
    with serving(says(last_order_at="2026-01-31T09:30:00", timestamp="2999-01-01T00:00:00Z")) as server:
        code, printed = run(server.url())
    assert code == 0
    assert "warning: `last_order_at` has no zone; it is read as UTC." in printed
    assert "warning: `timestamp` lies in the future." in printed
    with serving(says(last_order_at="0001-01-01T00:00:00Z")) as server:
        assert "warning: no last-operation field" in run(server.url())[1]


def test_check__terminal_codes_in_a_reply__do_not_reach_the_terminal() -> None:
    """HM-3: what a service says is printed without control characters, masked."""
    with serving(says(service="a\x1b[2J", status="degraded", details="mail joe@example.com")) as server:
        printed = run(server.url())[1]
    assert "\x1b" not in printed and "joe" not in printed


@pytest.mark.parametrize("arguments", [(), ("http://a", "--timeout", "0"), ("http://a", "--timeout", "61")])
def test_check__wrong_arguments__are_refused(arguments: tuple[str, ...]) -> None:
    """HM-3: one sentence."""
    with pytest.raises(CommandError, match=r"at least one URL|0\.1 to 60"):
        run(*arguments)


def test_check__schema__is_printed() -> None:
    """HM-3: the published contract."""
    assert json.loads(run("--schema")[1]) == json_schema()


def test_check__postgresql_and_redis_down__works() -> None:
    """HM-3: a service team needs a checkout, not a portal."""
    nowhere = {"DATABASE_URL": "postgresql://nobody:none@127.0.0.1:9/none", "REDIS_URL": "redis://127.0.0.1:9/0"}
    with serving(says()) as server:
        ended = subprocess.run(
            [sys.executable, "manage.py", "check_health_contract", server.url()],
            cwd=ROOT,
            env={**os.environ, **nowhere},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert ended.returncode == 0, ended.stderr
    assert ": ok" in ended.stdout
