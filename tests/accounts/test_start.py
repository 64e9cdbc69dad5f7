"""What the portal refuses to start with, and what it sends with every page."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

ROOT = Path(__file__).resolve().parents[2]
GOOD = {
    "ENVIRONMENT": "production",
    "SECRET_KEY": "only-for-tests-Zx7kQ0vR3nW9tB5yH2mLpD8cF4gJ6sA1eU-and-more",
    "AUDIT_CHAIN_KEY": "k3" * 20,
    "FIELD_ENCRYPTION_KEYS": "f4" * 20,
    "ALERT_RECIPIENT_HASH_SECRET": "h5" * 20,
    "DATABASE_URL": "postgresql://app:pw@127.0.0.1:1/none",
    "DATABASE_OWNER_URL": "postgresql://owner:pw@127.0.0.1:1/none",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "ALLOWED_HOSTS": "portal.example.com",
    "METRICS_TOKEN": "m" * 32,
}


def start(code: str = "import django; django.setup()", **changes: str | None) -> subprocess.CompletedProcess[str]:
    values = {**GOOD, **changes}
    environment = {name: value for name, value in values.items() if value is not None}
    environment |= {"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "opsportal.settings"}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_good_settings__start() -> None:
    """RUN-5."""
    answer = start()
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("environment", ["production", "staging", None, "", "prod", "Development"])
def test_dev_auth__outside_development__refuses_to_start(environment: str | None) -> None:
    """AUTH-2: exit code 1, one clear line."""
    answer = start(ENVIRONMENT=environment, OPERATIONS_DEV_AUTH="true")
    assert answer.returncode == 1
    assert len(answer.stderr.strip().splitlines()) == 1 and "OPERATIONS_DEV_AUTH" in answer.stderr


@pytest.mark.parametrize("environment", ["development", "dev", "local", "test", "ci"])
def test_dev_auth__in_development__starts(environment: str) -> None:
    """AUTH-2."""
    assert start(ENVIRONMENT=environment, OPERATIONS_DEV_AUTH="true").returncode == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", None),
        ("SECRET_KEY", "short"),
        ("AUDIT_CHAIN_KEY", None),
        ("AUDIT_CHAIN_KEY", "short"),
        ("FIELD_ENCRYPTION_KEYS", None),
        ("FIELD_ENCRYPTION_KEYS", "f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4,short"),
        ("ALERT_RECIPIENT_HASH_SECRET", None),
        ("ALERT_RECIPIENT_HASH_SECRET", "short"),
        ("ALERT_LIMIT_EMAIL", "0"),
        ("ALERT_QUEUE_RESUME", "10000"),
        ("ALERT_ALLOWED_NETWORKS", "everywhere"),
        ("DATABASE_URL", None),
        ("DATABASE_URL", "sqlite:///x.db"),
        ("REDIS_URL", None),
        ("REDIS_URL", "localhost:6379"),
        ("ENVIRONMENT", "prod"),
        ("TRUSTED_PROXIES", "not-a-network"),
        ("CIRCUIT_DIALECT", "xml"),
        ("SESSION_IDLE_SECONDS", "soon"),
        ("FEATURE_CIRCUIT", "perhaps"),
        ("INSECURE_HTTP", "true"),
        ("LOG_LEVEL", "LOUD"),
    ],
)
def test_wrong_or_missing_setting__one_line_that_names_it(name: str, value: str | None) -> None:
    """RUN-5."""
    answer = start("import django; django.setup()", **{name: value})
    assert answer.returncode == 1
    lines = answer.stderr.strip().splitlines()
    assert len(lines) == 1 and name in lines[0], answer.stderr


def _shipped(name: str) -> list[Path]:
    """Files of this repository that configure that environment."""
    places = [*ROOT.glob("compose*.yaml"), *ROOT.glob("infra/**/*.y*ml"), *ROOT.glob("*.env"), ROOT / "Procfile"]
    places += [*ROOT.glob(f"config/{name}*"), *ROOT.glob(f"**/.env.{name}"), ROOT / "Makefile"]
    return [path for path in places if path.is_file() and ".venv" not in path.parts]


@pytest.mark.parametrize("name", ["prod"])
def test_no_dev_auth_in_prod(name: str) -> None:
    """AUTH-2: no shipped configuration asks for the development sign-in."""
    assert _shipped(name)
    assert not [path for path in _shipped(name) if "OPERATIONS_DEV_AUTH" in path.read_text()]


def test_no_dev_auth_in_staging() -> None:
    """AUTH-2."""
    assert not [path for path in _shipped("staging") if "OPERATIONS_DEV_AUTH" in path.read_text()]


def test_old_decorator__is_nowhere() -> None:
    """AUTH-2: there is no second way of asking for sign-in."""
    word = "operations_requires" + "_auth"
    files = [p for folder in ("opsportal", "circuit", "templates") for p in (ROOT / folder).rglob("*") if p.is_file()]
    assert not [path for path in files if path.suffix in {".py", ".html"} and word in path.read_text()]


def test_dev_auth__signs_in_dev_user(db: None, settings: Any) -> None:
    """AUTH-2."""
    settings.OPERATIONS_DEV_AUTH = True
    page = Client().get(reverse("admin:index"))
    assert page.status_code == 200 and "dev_user" in page.content.decode()


PRODUCTION_HEADERS = """
import django; django.setup()
from django.test import Client
from django.conf import settings
settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
answer = Client(headers={"host": "portal.example.com"}).get("/admin/login/", secure=True)
for name, value in answer.items(): print(f"{name}: {value}")
for cookie in answer.cookies.values(): print("Cookie:", cookie.OutputString())
print("session cookie:", settings.SESSION_COOKIE_NAME, settings.SESSION_COOKIE_SECURE, settings.SESSION_COOKIE_HTTPONLY, settings.SESSION_COOKIE_SAMESITE)
plain = Client(headers={"host": "portal.example.com"}).get("/admin/login/")
print("plain:", plain.status_code, plain["Location"])
"""


def test_production__headers_and_cookies() -> None:
    """AUTH-3, AUTH-4: as they leave the portal in production settings."""
    answer = start(PRODUCTION_HEADERS)
    assert answer.returncode == 0, answer.stderr
    text = answer.stdout
    assert "Strict-Transport-Security: max-age=31536000; includeSubDomains; preload" in text
    assert "X-Frame-Options: DENY" in text and "X-Content-Type-Options: nosniff" in text
    assert "Referrer-Policy: same-origin" in text
    policy = next(line for line in text.splitlines() if line.startswith("Content-Security-Policy:"))
    assert "unsafe" not in policy and "default-src 'self'" in policy and "frame-ancestors 'none'" in policy
    assert "http:" not in policy and "*" not in policy and "data:" not in policy
    csrf = next(line for line in text.splitlines() if line.startswith("Cookie: __Host-csrftoken="))
    assert (
        "HttpOnly" in csrf and "Secure" in csrf and "SameSite=Lax" in csrf and "Path=/" in csrf and "Domain" not in csrf
    )
    assert "session cookie: __Host-sessionid True True Lax" in text
    assert "plain: 301 https://portal.example.com/admin/login/" in text


def test_database_url__own_options__are_kept_beside_the_portals() -> None:
    """RUN-5: a search path of one's own does not silently vanish, nor the chain's key."""
    answer = start(
        "import django; django.setup(); from django.conf import settings; print(settings.DATABASES['default']['OPTIONS']['options'])",
        DATABASE_URL=GOOD["DATABASE_URL"] + "?options=-c%20search_path%3Dportal",
    )
    assert "opsportal.audit_pads=" in answer.stdout and answer.stdout.strip().endswith("-c search_path=portal")


PROBES = """
import django; django.setup()
from django.conf import settings
from django.test import Client
settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
print(Client(headers={"host": "10.1.2.3:8000"}).get("/livez").status_code)
print(Client(headers={"host": "10.1.2.3:8000"}).get("/admin/login/", secure=True).status_code)
claims = {"host": "portal.example.com", "x-forwarded-proto": "https"}
print(Client(headers=claims, REMOTE_ADDR="203.0.113.5").get("/admin/login/").status_code)
"""


def test_probe_by_address__is_answered__and_a_claim_of_tls_by_a_stranger_is_not_believed() -> None:
    """RUN-6, AUTH-4: orchestrators ask by IP; X-Forwarded-Proto counts only from a trusted proxy."""
    answer = start(PROBES, TRUSTED_PROXIES="10.0.0.0/8")
    assert answer.stdout.split() == ["200", "400", "301"], answer.stderr


def test_deployment_checks__production__are_clean() -> None:
    """RUN-5: `manage.py check --deploy`."""
    code = "from django.core.management import execute_from_command_line as run; run(['manage.py', 'check', '--deploy', '--fail-level', 'WARNING'])"
    answer = start(code)
    assert answer.returncode == 0, answer.stderr
    one_role = start(code, DATABASE_OWNER_URL=None)
    assert one_role.returncode == 1 and "accounts.W001" in one_role.stderr


@pytest.mark.parametrize(
    ("feature", "names", "tasks"),
    [
        ("circuit", ["admin:circuit", "api_circuit"], ["circuit-drain", "circuit-watch"]),
        (
            "health",
            ["admin:health", "admin:health_service_changelist", "api_health_services"],
            ["health-partitions", "health-roll-up", "health-sweep"],
        ),
    ],
)
def test_feature_switched_off__is_quiet(feature: str, names: list[str], tasks: list[str]) -> None:
    """RUN-9: pages, API, navigation and tasks go; the data stays (nothing here touches it)."""
    code = f"""
import django; django.setup()
from django.conf import settings
from django.urls import reverse, NoReverseMatch, resolve, Resolver404
for name in {names}:
    try: reverse(name); print("still there", name)
    except NoReverseMatch: pass
print(*sorted(settings.CELERY_BEAT_SCHEDULE))
"""
    whole = start(
        "import django; django.setup(); from django.conf import settings; print(*settings.CELERY_BEAT_SCHEDULE)"
    )
    answer = start(code, **{f"FEATURE_{feature.upper()}": "false"})
    assert answer.stdout.split() == sorted(set(whole.stdout.split()) - set(tasks)), answer.stderr
    assert set(tasks) <= set(whole.stdout.split())
