"""Readings pushed with a real key: how the key is made and kept, and what becomes of batches."""

from __future__ import annotations

import http.server
import json
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from apikeys import services as keys
from apikeys.models import ApiKey
from opsportal.accounts.models import User
from opsportal.accounts.refusals import Refused
from opsportal.accounts.services import disable_user
from opsportal.demo.addresses import Addresses
from opsportal.demo.key_making import SCOPES, USERNAME, ensure_key
from opsportal.demo.keyfile import read_key, write_key
from opsportal.demo.pushing import ASK_AGAIN_SECONDS, Pusher
from opsportal.demo.roster import LISTENERS
from tests.desk import DESK
from tests.waiting import until


class Portal(http.server.ThreadingHTTPServer):
    """Answers as it is told, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        self.status = 202
        self.asked: list[tuple[str, str, Any]] = []
        super().__init__(("127.0.0.1", 0), _Answers)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answers(http.server.BaseHTTPRequestHandler):
    server: Portal
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, self.headers["Authorization"], body))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def portal() -> Iterator[Portal]:
    server = Portal()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def keyfile(tmp_path: Path) -> Path:
    path = tmp_path / "demo-key.json"
    write_key(path, "tp_live_abc")
    return path


@pytest.fixture
def pushers() -> Iterator[Callable[..., Pusher]]:
    """Makes one, and ends it afterwards."""
    made: list[Pusher] = []

    def make(portal: str, keyfile: Path, **options: Any) -> Pusher:
        made.append(Pusher(portal, keyfile, **{"on_refused": lambda: None, **options}))
        return made[-1]

    yield make
    for pusher in made:
        pusher.stop()


BATCH = [{"metric": "latency", "value": 12.0, "labels": {"service": "orders"}}]


def test_push__portal_answers__every_batch_arrives_with_the_key(
    portal: Portal, keyfile: Path, pushers: Callable[..., Pusher]
) -> None:
    """RUN-3: over one connection, as the API takes them."""
    pusher = pushers(portal.url, keyfile)
    pusher.start()
    pusher.push(BATCH)
    until(lambda: pusher.accepted == 1)
    assert portal.asked == [("/api/v1/observations", "Bearer tp_live_abc", {"observations": BATCH})]


def test_post__portal_away_and_back__goes_on(portal: Portal, keyfile: Path, pushers: Callable[..., Pusher]) -> None:
    """RUN-3: what could not be sent is out of date; the next one is sent."""
    pusher = pushers(portal.url, keyfile)
    away = pushers("http://127.0.0.1:9", keyfile)
    assert away.post(BATCH) is None
    assert pusher.post(BATCH) == 202
    portal.status = 500
    assert pusher.post(BATCH) == 500
    portal.status = 202
    assert pusher.post(BATCH) == 202 and pusher.accepted == 2


def test_post__key_refused_or_lost__a_new_one_is_asked_for_at_most_once_a_minute(
    portal: Portal, keyfile: Path, pushers: Callable[..., Pusher]
) -> None:
    """RUN-3, AK-5: a key that somebody has revoked is made anew; a user that is disabled costs no process a second."""
    clock, asked = [0.0], []
    pusher = pushers(portal.url, keyfile, on_refused=lambda: asked.append(clock[0]), now=lambda: clock[0])
    portal.status = 401
    for clock[0] in (0.0, 1.0, ASK_AGAIN_SECONDS - 1, ASK_AGAIN_SECONDS):
        pusher.post(BATCH)
    assert asked == [0.0, ASK_AGAIN_SECONDS]
    keyfile.unlink()
    clock[0] = 2 * ASK_AGAIN_SECONDS
    assert pusher.post(BATCH) is None and len(asked) == 3


def test_key__first_start__private_and_opens_what_it_needs(db: None, tmp_path: Path) -> None:
    """RUN-3, AK-3, AK-4: of a user that cannot sign in, with the scopes it needs and no more."""
    path = tmp_path / "demo-key.json"
    assert ensure_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    row = ApiKey.objects.get()
    assert row.owner.username == USERNAME and not row.owner.has_usable_password() and tuple(row.scopes) == SCOPES
    answer = Client().get("/api/v1/circuit", headers={"Authorization": f"Bearer {read_key(path)}"})
    assert answer.status_code == 200
    assert not ensure_key(path) and ApiKey.objects.count() == 1


def test_key__file_lost_or_key_revoked__a_new_one_takes_its_place(db: None, tmp_path: Path) -> None:
    """RUN-3: one live key, never two."""
    path = tmp_path / "demo-key.json"
    ensure_key(path)
    path.unlink()
    assert ensure_key(path)
    keys.revoke_key(ApiKey.objects.get(revoked_at=None), by=DESK, reason="To see what the demo does then.")
    assert ensure_key(path)
    assert ApiKey.objects.filter(revoked_at=None).count() == 1 and ApiKey.objects.count() == 3
    assert User.objects.filter(username=USERNAME).count() == 1


def test_key__user_disabled__is_respected(transactional_db: None, tmp_path: Path) -> None:
    """RUN-3, AM-1: the demo does not undo what an admin did."""
    path = tmp_path / "demo-key.json"
    ensure_key(path)
    disable_user(User.objects.get(username=USERNAME), by=DESK, reason="No observations from the demo today.")
    with pytest.raises(Refused):
        ensure_key(path)
    addresses = Addresses(tmp_path / "demo.json")
    addresses.choose(LISTENERS)
    call_command("demo_register", "--addresses", addresses.path)
    assert ApiKey.objects.get().revoked_at is None  # and opens again when the user is enabled again
