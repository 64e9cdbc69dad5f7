"""The page that shows what the demo's outside world has received."""

from __future__ import annotations

from typing import Any

import pytest
import redis as redis_client
from django.test import Client
from django.urls import reverse

from opsportal.demo.inbox import Letter, Letterbox
from tests.accounts.test_start import start
from tests.conftest import Users

MAIL = Letter(
    "2026-11-21T18:40:01.250+00:00",
    "email",
    "desk@demo.example",
    "[WARNING] <b>Latency</b>",
    "Acknowledge: http://127.0.0.1:8000/a/one",
    "250 2.0.0 Taken",
    "<one@demo.example>",
)
TEXT = Letter("2026-11-21T18:40:02.250+00:00", "sms", "+4915112345678", "", "CRITICAL Drawdown", "201 SM1", "SM1")


@pytest.fixture
def letters(redis: redis_client.Redis) -> None:
    box = Letterbox(redis)
    for letter in (MAIL, TEXT):
        box.put(letter)
    assert box.flush()


def signed_in(user: Any) -> Client:
    client = Client()
    client.force_login(user, backend="opsportal.accounts.backends.CachedUserBackend")
    return client


def test_inbox__any_staff__reads_messages_in_full_with_links_that_work(users: Users, letters: None) -> None:
    """RUN-3: made-up people, so whole addresses; what a sender wrote is text, never markup."""
    page = signed_in(users.viewer).get(reverse("demo_inbox")).content.decode()
    assert "desk@demo.example" in page and "+4915112345678" in page
    assert '<a href="http://127.0.0.1:8000/a/one"' in page
    assert "&lt;b&gt;Latency&lt;/b&gt;" in page and "<b>Latency</b>" not in page
    assert page.index("CRITICAL Drawdown") < page.index("Acknowledge:")


def test_inbox__one_kind__shows_only_that(users: Users, letters: None) -> None:
    """RUN-3: and a kind that does not exist is no error."""
    client = signed_in(users.viewer)
    only = client.get(reverse("demo_inbox"), {"kind": "sms"}).content.decode()
    assert "CRITICAL Drawdown" in only and "Acknowledge:" not in only
    assert "No Slack message has arrived yet" in client.get(reverse("demo_inbox"), {"kind": "slack"}).content.decode()
    assert client.get(reverse("demo_inbox"), {"kind": "x\x00'", "all": "?"}).status_code == 200


def test_inbox__empty__says_how_to_fill_it(users: Users, redis: redis_client.Redis) -> None:
    """RUN-3: the first thing that one does next."""
    assert "demo latency" in signed_in(users.viewer).get(reverse("demo_inbox")).content.decode()


def test_fragment__nothing_new__is_304(users: Users, letters: None, redis: redis_client.Redis) -> None:
    """RUN-3: polled every two seconds; a new message is there at the next poll."""
    client = signed_in(users.operator)
    first = client.get(reverse("demo_inbox_fragment"))
    again = client.get(reverse("demo_inbox_fragment"), headers={"If-None-Match": first["ETag"]})
    assert (first.status_code, again.status_code) == (200, 304)
    box = Letterbox(redis)
    box.put(TEXT)
    box.flush()
    assert client.get(reverse("demo_inbox_fragment"), headers={"If-None-Match": first["ETag"]}).status_code == 200


def test_inbox__many__fifty_and_the_rest_on_request(users: Users, redis: redis_client.Redis) -> None:
    """RUN-3: a page that is polled stays small."""
    box = Letterbox(redis)
    for number in range(60):
        box.put(Letter(f"2026-11-21T18:40:{number:02d}+00:00", "sms", "", "", f"text {number}.", ""))
    box.flush()
    client = signed_in(users.viewer)
    page = client.get(reverse("demo_inbox")).content.decode()
    assert page.count("<tr>") == 51 and "Show 10 more" in page
    assert client.get(reverse("demo_inbox"), {"all": "1"}).content.decode().count("<tr>") == 61


def test_inbox__redis_away__says_so(users: Users, redis_server: Any) -> None:
    """RUN-3, CB-10: no error page."""
    client = signed_in(users.viewer)
    with redis_server.stopped():
        answer = client.get(reverse("demo_inbox_fragment"))
    assert answer.status_code == 200 and "Redis does not answer" in answer.content.decode()


def test_inbox__nobody_signed_in__leads_to_the_sign_in(db: None) -> None:
    """RBAC-1: as every page."""
    assert Client().get(reverse("demo_inbox")).status_code == 302


def test_navigation__development__leads_to_the_inbox(users: Users, settings: Any) -> None:
    """RUN-3: and nowhere else is there a link to it."""
    client = signed_in(users.viewer)
    link = f'href="{reverse("demo_inbox")}"'
    assert link in client.get(reverse("admin:index")).content.decode()
    settings.IS_DEVELOPMENT = False
    assert link not in client.get(reverse("admin:index")).content.decode()


PRODUCTION = """
import sys
import django; django.setup()
from django.urls import NoReverseMatch, resolve, reverse
try:
    reverse("demo_inbox")
except NoReverseMatch:
    print("no such page,", resolve("/admin/demo/inbox/").func.__name__)
print("loaded:", [name for name in sys.modules if name.startswith("opsportal.demo")])
"""


def test_inbox__production__is_not_there() -> None:
    """RUN-3: the address is one like any other that does not exist, and nothing of the demo is loaded."""
    answer = start(PRODUCTION)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines() == ["no such page, catch_all_view", "loaded: []"]
