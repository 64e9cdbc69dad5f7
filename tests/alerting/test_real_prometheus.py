"""A real Prometheus and a real Alertmanager pointed at the running portal, with the files that the runbook gives.

Their alerts fire, are delivered to a real mail server and a real webhook, and are resolved there (AL-4).
"""

from __future__ import annotations

import http.server
import json
import shutil
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from pytest_django.live_server_helper import LiveServer

from alerting.dispatching import Dispatcher
from alerting.models import Delivery, Event, EventState, Origin, Rule, Status
from alerting.services.channels import create_channel
from alerting.services.rules import current_values, update_rule
from apikeys import services as keys
from apikeys.models import ApiKey
from opsportal.accounts.roles import Role
from opsportal.accounts.services import create_user
from opsportal.embedded.ports import free_port
from opsportal.embedded.processes import die_with_parent
from tests.alerting.providers.fixtures import Providers
from tests.desk import DESK
from tests.servers import ROOT
from tests.waiting import until

INFRA = ROOT / "infra"
#: Loopback: never through a proxy that the environment names.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
RULES = {
    "groups": [
        {
            "name": "platform",
            "rules": [
                {
                    "alert": "TargetDown",
                    "expr": "up == 0",
                    "labels": {"severity": "critical"},
                    "annotations": {"summary": "{{ $labels.job }} does not answer"},
                }
            ],
        }
    ]
}


def program(*names: str) -> str:
    """Where it is installed; never a skip for a missing tool (RUN-7)."""
    found = next((path for name in names if (path := shutil.which(name))), None)
    assert found, f"{names[0]} is missing; install it: make prometheus (Debian: apt-get install {names[0]})"
    return found


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Starts a program with a file as its log, and kills it in the end."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*argv: str) -> None:
        with (tmp_path / f"{Path(argv[0]).name}.log").open("wb") as log:
            running.append(subprocess.Popen(argv, stdout=log, stderr=log, preexec_fn=die_with_parent(signal.SIGKILL)))

    yield start
    for process in running:
        process.kill()
        process.wait(10)


@pytest.fixture
def dispatcher(transactional_db: None) -> Iterator[None]:
    """What the process `alerts` runs."""
    sending = Dispatcher(threads=4)
    sending.start()
    yield
    sending.stop()


@pytest.fixture
def keyfile(transactional_db: None, tmp_path: Path) -> Path:
    """A key that may send alerts and nothing else, alone in a file."""
    owner = create_user("prometheus", "", Role.OPERATOR, by=DESK)
    _, new = keys.create_key(by=DESK, owner=owner, name="prometheus", scopes=["write:alerts"])
    path = tmp_path / "opsportal-key"
    path.write_text(new.text)
    return path


@pytest.fixture
def desk(transactional_db: None, providers: Providers) -> None:
    """People who are told of every alert from outside, by mail and by webhook."""
    mail = {"recipients": ["desk@example.com"], "sender": "portal@example.com", "smtp_host": "127.0.0.1"}
    mail |= {"smtp_port": providers.mail.port, "smtp_security": "none", "smtp_password": "", "sendgrid_api_key": ""}  # type: ignore[dict-item]
    channels = [
        create_channel(by=DESK, kind="email", name="Mail to the test", settings=mail),
        create_channel(by=DESK, kind="webhook", name="Webhook to the test", settings={"url": providers.webhook.url}),
    ]
    rule = Rule.objects.get(metric="external_alert")
    values = {**current_values(rule), "channels": [channel.pk for channel in channels]}
    update_rule(rule, by=DESK, values=values, expected_version=rule.version)


class Target(http.server.ThreadingHTTPServer):
    """Something that Prometheus scrapes."""

    daemon_threads = True
    allow_reuse_address = True


class _Metrics(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(b"orders_total 1\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def prometheus_config(portal: str, keyfile: Path, folder: Path, target: int) -> Path:
    """The runbook's file with this portal, this key, a target that it can watch, and a second for fifteen."""
    config = yaml.safe_load((INFRA / "prometheus" / "example-alerting.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    [sends_to] = config["alerting"]["alertmanagers"]
    sends_to["scheme"] = "http"
    sends_to["authorization"]["credentials_file"] = str(keyfile)
    sends_to["static_configs"] = [{"targets": [portal]}]
    (folder / "rules.yml").write_text(yaml.safe_dump(RULES))
    config["rule_files"] = [str(folder / "rules.yml")]
    config["scrape_configs"] = [{"job_name": "orders", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


def alertmanager_config(portal: str, keyfile: Path, folder: Path) -> Path:
    """The runbook's file with this portal, this key, and no waiting."""
    config = yaml.safe_load((INFRA / "alertmanager" / "example-receiver.yml").read_text())
    config["route"] |= {"group_wait": "0s", "group_interval": "1s"}
    [[webhook]] = [receiver["webhook_configs"] for receiver in config["receivers"]]
    webhook["url"] = f"http://{portal}/api/v1/webhooks/alertmanager"
    webhook["http_config"]["authorization"]["credentials_file"] = str(keyfile)
    path = folder / "alertmanager.yml"
    path.write_text(yaml.safe_dump(config))
    return path


def event(origin: Origin, state: EventState, what: str) -> Event:
    """The event of this origin, once it is in this state."""
    until(lambda: Event.objects.filter(origin=origin, state=state).exists(), what=what)
    return Event.objects.get(origin=origin)


def told(providers: Providers, name: str, notice: str) -> bool:
    """Whether mail and webhook have brought this, once each."""
    mails = [mail for mail in providers.mail.received if name in mail.text()]
    posts = [post.json for post in providers.webhook.received if name in post.body.decode()]
    return len(mails) == (1 if notice == "firing" else 2) and [post["notice"] for post in posts].count(notice) == 1


def post_alert(alertmanager: int, **more: str) -> None:
    """As any client of Alertmanager does."""
    labels: Mapping[str, str] = {"alertname": "DiskFull", "severity": "warning", "host": "db-1"}
    body = json.dumps([{"labels": labels, **more}]).encode()
    url = f"http://127.0.0.1:{alertmanager}/api/v2/alerts"
    with OPENER.open(urllib.request.Request(url, body, {"Content-Type": "application/json"}), timeout=5) as reply:
        assert reply.status == 200


def listens(port: int) -> bool:
    try:
        with OPENER.open(f"http://127.0.0.1:{port}/-/ready", timeout=5) as reply:
            return int(reply.status) == 200
    except OSError:
        return False


@pytest.mark.usefixtures("dispatcher", "desk")
def test_prometheus_and_alertmanager__fire_and_resolve__people_are_told_both(
    live_server: LiveServer, providers: Providers, keyfile: Path, tmp_path: Path, run: Callable[..., None]
) -> None:
    """AL-4, AL-3, AD-1: from a port that nobody listens on to the mail that says so, and back."""
    portal = live_server.url.removeprefix("http://")
    target, own, alertmanager, cluster = (free_port() for _ in range(4))
    config = prometheus_config(portal, keyfile, tmp_path, target)
    run(
        *(program("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'tsdb'}"),
        *(f"--web.listen-address=127.0.0.1:{own}", "--rules.alert.resend-delay=2s"),
    )
    config = alertmanager_config(portal, keyfile, tmp_path)
    run(
        *(program("prometheus-alertmanager", "alertmanager"), f"--config.file={config}"),
        *(f"--storage.path={tmp_path / 'alertmanager'}", f"--web.listen-address=127.0.0.1:{alertmanager}"),
        *("--cluster.listen-address=", f"--web.external-url=http://127.0.0.1:{cluster}/"),
    )
    until(lambda: listens(alertmanager), what="Alertmanager is up")
    post_alert(alertmanager, startsAt=datetime.now(UTC).isoformat())

    # Nobody listens on the target's port, and a disk is full.
    fired = event(Origin.PROMETHEUS, EventState.FIRING, "Prometheus' alert fires here")
    assert (fired.labels["alertname"], fired.labels["job"]) == ("TargetDown", "orders")
    assert fired.summary == "orders does not answer" and fired.get_severity_display() == "critical"
    disk = event(Origin.ALERTMANAGER, EventState.FIRING, "Alertmanager's alert fires here")
    assert disk.labels["host"] == "db-1" and disk.get_severity_display() == "warning"
    for name in ("orders does not answer", "DiskFull"):
        until(lambda name=name: told(providers, name, "firing"), what=f"people are told of {name}")  # type: ignore[misc]

    # Meanwhile the key is rotated, as the runbook says: a new file, no reload.
    old = ApiKey.objects.get()
    _, new = keys.rotate_key(old, by=DESK)
    keyfile.write_text(new.text)
    keys.revoke_key(old, by=DESK, reason="Its successor is in use by both now.")

    # Both are put right.
    server = Target(("127.0.0.1", target), _Metrics)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        post_alert(alertmanager, endsAt=datetime.now(UTC).isoformat())
        event(Origin.PROMETHEUS, EventState.RESOLVED, "Prometheus' alert is resolved here")
        event(Origin.ALERTMANAGER, EventState.RESOLVED, "Alertmanager's alert is resolved here")
        for name in ("orders does not answer", "DiskFull"):
            until(lambda name=name: told(providers, name, "resolved"), what=f"the end of {name} is told")  # type: ignore[misc]
    finally:
        server.shutdown()
        server.server_close()

    # It was told again and again meanwhile: one event each, one message to each for each notice.
    assert Event.objects.count() == 2
    until(lambda: Delivery.objects.filter(status=Status.DELIVERED).count() == 8)
    assert Delivery.objects.count() == 8
