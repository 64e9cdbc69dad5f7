"""Warnings before a key ends, the metrics, and the domain switched off."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apikeys import services
from apikeys.collector import KeyCollector
from apikeys.models import ApiKey
from apikeys.rows import row_of, span
from opsportal.accounts.services import disable_user
from tests.apikeys.conftest import REASON, bearer, signed_in
from tests.desk import DESK

DAY = timedelta(days=1)


def ending(made: Any, left: timedelta, **more: Any) -> ApiKey:
    key: ApiKey = made(**more)[0]
    ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now() + left)
    key.refresh_from_db()
    return key


@pytest.mark.parametrize(
    ("left", "tone", "note"),
    [
        (15 * DAY, "", ""),
        (14 * DAY, "warn", "expires in 14 days"),
        (3 * DAY, "warn", "expires in 3 days"),
        (DAY, "bad", "expires in 24 h"),
        (timedelta(minutes=5), "bad", "expires in 5 min"),
        (-DAY, "", ""),
    ],
)
def test_row__before_the_end__warns(made: Any, left: timedelta, tone: str, note: str) -> None:
    """AK-8: at 14, 3 and 1 days."""
    key, _ = made(expires_in_days=100)
    assert key.expires_at
    row = row_of(key, key.expires_at - left)
    assert (row.end_tone, row.end_note) == (tone, note)


def test_span__is_in_the_largest_whole_unit() -> None:
    """AK-8."""
    seconds = (-5, 59, 60, 3_599, 3_600, 172_799, 172_800)
    texts = ["less than a minute", "less than a minute", "1 min", "59 min", "1 h", "47 h", "2 days"]
    assert [span(value) for value in seconds] == texts


def _some(made: Any, users: Any) -> None:
    ending(made, timedelta(hours=5))
    ending(made, 2 * DAY)
    ending(made, 10 * DAY)
    ending(made, 100 * DAY)
    ending(made, -DAY)
    services.revoke_key(ending(made, timedelta(hours=1)), by=DESK, reason=REASON)
    services.revoke_key(ending(made, -DAY), by=DESK, reason=REASON)
    ending(made, timedelta(hours=1), owner=users.viewer)
    services.rotate_key(made()[0], by=DESK)
    disable_user(users.viewer, by=DESK, reason="Has left the desk.")


def test_overview__keys_end_soon__admin_is_told_and_nobody_else(made: Any, users: Any) -> None:
    """AK-8: what needs me, with the most urgent first."""
    quiet = signed_in(users.admin).get("/admin/").content.decode()
    assert "API key" not in quiet.split("What needs me")[1].split("</section>")[0]
    _some(made, users)
    page = signed_in(users.admin).get("/admin/").content.decode()
    assert "1 API key expires within 1 day" in page and "3 end within 14 days" in page
    assert "/admin/apikeys/?expiring=14" in page
    assert "API key expires" not in signed_in(users.operator).get("/admin/").content.decode()


def test_metrics__count_states_and_ends(made: Any, users: Any, django_assert_num_queries: Any) -> None:
    """AK-8: once a scrape; revoked, expired and disabled owners' keys do not end soon."""
    _some(made, users)
    assert Client().get("/api/v1/circuit", **bearer("nonsense")).status_code == 401
    with django_assert_num_queries(2):
        metrics = list(KeyCollector().collect())
    values = {(sample.name, *sample.labels.values()): sample.value for metric in metrics for sample in metric.samples}
    assert values == {
        ("api_keys_total", "active"): 6,
        ("api_keys_total", "pending"): 1,
        ("api_keys_total", "expired"): 1,
        ("api_keys_total", "revoked"): 2,
        ("api_keys_expiring", "1d"): 1,
        ("api_keys_expiring", "3d"): 2,
        ("api_keys_expiring", "14d"): 3,
    }
    scraped = Client().get("/metrics").content.decode()
    assert 'api_keys_expiring{within="14d"} 3.0' in scraped and "api_key_requests_total{outcome=" in scraped


SWITCHED_OFF = """
import json, sys, django
django.setup()
from django.test import Client
from django.test.utils import setup_test_environment
from opsportal.accounts.models import User
setup_test_environment()
key, username = sys.stdin.read().split()
client, bearer = Client(), {"HTTP_AUTHORIZATION": f"Bearer {key}"}
client.force_login(User.objects.get(username=username), backend="opsportal.accounts.backends.CachedUserBackend")
print(json.dumps({
    "key": [Client().get(path, **bearer).status_code for path in ("/api/v1/circuit", "/api/v1/apikeys/self")],
    "pages": [client.get(f"/admin/apikeys/{path}").status_code for path in ("", "add/", "1/")],
    "links": "/admin/apikeys/" in client.get("/admin/").content.decode(),
    "metrics": "api_keys_" in client.get("/metrics").content.decode(),
    "schema": "apikeys" in client.get("/api/schema/").content.decode(),
}))
"""


def test_feature_switched_off__no_pages_and_no_key_is_let_in(transactional_db: None, made: Any, users: Any) -> None:
    """RUN-9: pages, API, navigation, warning and metrics go; the keys stay."""
    _, text = made()
    ran = subprocess.run(
        [sys.executable, "-c", SWITCHED_OFF],
        input=f"{text} {users.admin.username}",
        env=os.environ | {"FEATURE_APIKEYS": "false", "LOG_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout.strip().splitlines()[-1])
    assert seen == {"key": [401, 404], "pages": [404] * 3, "links": False, "metrics": False, "schema": False}
    assert ApiKey.objects.filter(revoked_at=None).exists()
