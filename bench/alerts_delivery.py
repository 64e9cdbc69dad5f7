"""How fast deliveries leave, what one costs, and how Debian's Alertmanager does the same (AD-11, AD-14, Q-3)."""

from __future__ import annotations

import http.client
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_network
from itertools import islice
from typing import Any

from django.conf import settings as django_settings
from django.db import connection

from bench import alertmanager
from bench.receiver import Receiver, running_receiver
from bench.report import Options, Table, percentile
from bench.servers import (
    PORTAL_SETTINGS,
    BenchError,
    Process,
    Servers,
    WebServer,
    family_cpu,
    procfile_process,
    web_server,
)

#: No limit of any kind stands in the way, and the webhook is on this machine.
ENVIRONMENT = {
    "ALERT_LIMIT_GLOBAL": "10000000",
    "ALERT_LIMIT_RECIPIENT_WEBHOOK": "10000000",
    "ALERT_QUEUE_FULL": "1000000",
    "ALERT_QUEUE_RESUME": "900000",
    "ALERT_MOST_OPEN": "1000000",
    "ALERT_ALLOWED_NETWORKS": "127.0.0.0/8",
    "LOG_LEVEL": "WARNING",
    "FEATURE_CIRCUIT": "false",
    "FEATURE_HEALTH": "false",
}
DISPATCHERS = 2
FLAT_OUT = 6_000
DRAINED = 1_000
RECIPIENTS = 40
PACED, PACE = 1_000, 200
FAN_OUT, BATCH = 150, 10
POSTERS = 8
WAIT_SECONDS = 120.0


@dataclass(frozen=True)
class Sent:
    """A queue emptied. CPU in seconds for 1,000 deliveries, of the dispatchers and of PostgreSQL."""

    deliveries: int
    seconds: float
    dispatchers_per_1000: float
    postgres_per_1000: float
    redis_per_1000: float
    twice: int

    @property
    def per_second(self) -> float:
        """From the first message that came in to the last."""
        return self.deliveries / self.seconds

    @property
    def cpu_per_1000(self) -> float:
        """Of all that is ours."""
        return self.dispatchers_per_1000 + self.postgres_per_1000 + self.redis_per_1000


@dataclass(frozen=True)
class Told:
    """Alerts posted over HTTP, each told to `recipients` addresses. Times from the start of the post, in ms."""

    alerts: int
    messages: int
    seconds: float
    p50_ms: float
    p95_ms: float
    cpu_per_1000: float

    @property
    def per_second(self) -> float:
        """Messages, from the first post to the last message."""
        return self.messages / self.seconds


def measure(servers: Servers, options: Options) -> dict[str, Any]:
    """The queue flat out, a short one, alerts at a steady pace, and a fan-out beside Alertmanager's."""
    share = min(1.0, options.seconds * options.rounds / 9)  # of the usual amounts, for a short run
    found: dict[str, Any] = {}
    with running_receiver() as receiver, dispatchers(servers) as processes:
        channel = Outgoing(receiver)
        channel.queue(200)
        wake()
        receiver.wait_for(200, WAIT_SECONDS)  # connections, caches and prepared statements are there from now on
        runs = [_emptied(servers, receiver, channel, processes, _some(FLAT_OUT, share)) for _ in range(options.rounds)]
        found["flat out"] = _middle(runs)
        runs = [_emptied(servers, receiver, channel, processes, _some(DRAINED, share)) for _ in range(options.rounds)]
        found["drained"] = _middle(runs)
        with web_server(servers, PORTAL_SETTINGS, ENVIRONMENT) as web:
            cpu = partial(_all_cpu, servers, processes, web)
            key = key_for_alerts()
            post = partial(_post, web.port, "/api/v1/alerts", {"Authorization": f"Bearer {key}"})
            rule_to(receiver, 1)
            _told(receiver, post, cpu, 1, [1] * 20, 0.05)
            found["paced"] = _told(receiver, post, cpu, 1, [1] * _some(PACED, share), 1 / PACE)
            rule_to(receiver, RECIPIENTS)
            _told(receiver, post, cpu, RECIPIENTS, [5], 0.0)
            fan_out = [BATCH] * _some(FAN_OUT // BATCH, share)
            found["fan-out"] = _told(receiver, post, cpu, RECIPIENTS, fan_out, 0.0)
    if options.prometheus:
        found["alertmanager paced"], found["alertmanager"] = _by_alertmanager(servers, share, fan_out)
    return found


def _by_alertmanager(servers: Servers, share: float, fan_out: Sequence[int]) -> tuple[Told, Told]:
    found = []
    with running_receiver() as receiver:
        for name, recipients, batches, pace in (
            ("alertmanager-paced", 1, [1] * _some(PACED, share), 1 / PACE),
            ("alertmanager", RECIPIENTS, fan_out, 0.0),
        ):
            urls = [f"{receiver.url}/{place}" for place in range(recipients)]
            with alertmanager.running_alertmanager(servers.folder / name, urls) as (pid, port):
                post = partial(_post_to_alertmanager, port)
                cpu = partial(family_cpu, pid)
                _told(receiver, post, cpu, recipients, [5], 0.0)
                found.append(_told(receiver, post, cpu, recipients, batches, pace))
    return found[0], found[1]


def _some(number: int, share: float) -> int:
    return max(1, round(number * share))


def _middle(runs: Sequence[Sent]) -> Sent:
    return sorted(runs, key=lambda run: run.seconds)[len(runs) // 2]


@contextmanager
def dispatchers(servers: Servers, number: int = DISPATCHERS) -> Iterator[list[Process]]:
    """So many workers of the queue `alerts`, as the Procfile has them; they dispatch without beat ringing."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(procfile_process(servers, PORTAL_SETTINGS, "alerts", ENVIRONMENT))
            for _ in range(number)
        ]


class Outgoing:
    """A channel to the receiver, and deliveries over it."""

    def __init__(self, receiver: Receiver) -> None:
        from pydantic import SecretStr

        from alerting import keys
        from alerting.channels.opening import seal_settings
        from alerting.channels.webhook import WebhookSettings
        from alerting.models import Channel
        from opsportal.secrets import keyring

        django_settings.ALERT_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
        settings = WebhookSettings(url=SecretStr(receiver.url))
        self._channel = Channel.objects.create(
            name=f"bench {uuid.uuid4()}", kind="webhook", sealed=seal_settings(settings)
        )
        urls = [f"{receiver.url}/{place}" for place in range(RECIPIENTS)]
        self._recipients = [(keys.recipient_hash("webhook", url), keyring.seal(url)) for url in urls]
        self._batch = 0

    def queue(self, number: int) -> None:
        """So many deliveries due now: an event for each forty of them."""
        self._batch += 1
        with connection.cursor() as cursor:
            cursor.execute(
                _QUEUE,
                {
                    "number": number,
                    "batch": self._batch,
                    "channel": self._channel.pk,
                    "hashes": [each[0] for each in self._recipients],
                    "sealed": [each[1] for each in self._recipients],
                },
            )


_QUEUE = """
WITH numbers AS (
    SELECT n, gen_random_uuid() AS event_id, now() AS at FROM generate_series(0, (%(number)s - 1) / 40) AS n
), events AS (
    INSERT INTO alerting_event (id, started_at, rule_name, severity, state, origin, alert_id, metric, labels,
        fingerprint, comparison, threshold, value, summary, triggered_at, notified_at)
    SELECT event_id, at, 'bench', 1, 'firing', 'direct', 'bench-' || %(batch)s || '-' || n, 'external_alert',
        jsonb_build_object('alertname', 'bench-' || %(batch)s || '-' || n, 'service', 'orders'),
        md5(n::text), 'gte', 1, 1, 'The benchmark fires', at, at FROM numbers
)
INSERT INTO alerting_delivery (hour_bucket, dedup_key, event_id, event_started_at, channel_id, kind, recipient_hash,
    recipient_sealed, recipient_shown, notice, priority, status, due_at, triggered_at)
SELECT date_trunc('hour', at, 'UTC'), 'bench-' || %(batch)s || '-' || n || ':webhook:' || r.hash || ':' || at,
    event_id, at, %(channel)s, 'webhook', r.hash, r.sealed, 'bench', 'firing', 2, 'pending', at, at
FROM numbers, unnest(%(hashes)s::text[], %(sealed)s::text[]) AS r (hash, sealed) LIMIT %(number)s
"""


def wake() -> None:
    """As an ingest does after its commit."""
    from alerting.nudging import nudge

    nudge()


def key_for_alerts() -> str:
    """The API key of a service that sends alerts."""
    from django.contrib.auth.models import Group

    from apikeys import services
    from opsportal.accounts.actors import Actor
    from opsportal.accounts.models import User

    user = User(username=f"bench-{uuid.uuid4()}", is_staff=True)
    user.set_unusable_password()
    user.save()
    user.groups.add(Group.objects.get(name="operator"))
    return services.create_key(by=Actor.system("bench"), owner=user, name="alerts", scopes=["write:alerts"])[1].text


def rule_to(receiver: Receiver, recipients: int) -> None:
    """The only rule: any alert from outside is told to so many addresses of the receiver."""
    from pydantic import SecretStr

    from alerting.channels.opening import seal_settings
    from alerting.channels.webhook import WebhookSettings
    from alerting.models import Channel, Rule

    Rule.objects.all().delete()
    rule = Rule.objects.create(
        name="bench", metric="external_alert", comparison="gte", threshold=1.0, severity=1, notify_resolved=False
    )
    sealed = [seal_settings(WebhookSettings(url=SecretStr(f"{receiver.url}/{n}"))) for n in range(recipients)]
    channels = [Channel(name=f"bench {uuid.uuid4()}", kind="webhook", sealed=text) for text in sealed]
    rule.channels.set(Channel.objects.bulk_create(channels))


Post = Callable[[Sequence[str]], None]


def _told(
    receiver: Receiver, post: Post, cpu: Callable[[], float], recipients: int, batches: Sequence[int], pace: float
) -> Told:
    """Post batches of new alerts, one batch each `pace` seconds, until all are told to all."""
    global _run
    _run += 1
    receiver.reset()
    names = iter([f"bench-{1000 + _run}-{place}" for place in range(sum(batches))])
    plan = [list(islice(names, size)) for size in batches]
    before = cpu()
    posted: dict[str, float] = {}
    begun = time.monotonic()
    with ThreadPoolExecutor(POSTERS) as posters:

        def one(place: int, batch: Sequence[str]) -> None:
            time.sleep(max(0.0, begun + place * pace - time.monotonic()))
            at = time.monotonic()
            posted.update(dict.fromkeys(batch, at))
            post(batch)

        for done in [posters.submit(one, place, batch) for place, batch in enumerate(plan)]:
            done.result()
    messages = sum(batches) * recipients
    receiver.wait_for(messages, WAIT_SECONDS)
    _wait_until_written()
    spent = cpu() - before
    came = receiver.report()
    waited = [(each.at - posted[name]) * 1000 for each in came for name in each.names if name in posted]
    return Told(
        alerts=sum(batches),
        messages=messages,
        seconds=max(each.at for each in came) - begun,
        p50_ms=percentile(waited, 0.50),
        p95_ms=percentile(waited, 0.95),
        cpu_per_1000=spent / messages * 1000,
    )


_run = 0
_connections = threading.local()


def _post(port: int, path: str, headers: Mapping[str, str], names: Sequence[str]) -> None:
    alerts = [{"name": name, "severity": "warning", "labels": {"service": "bench"}} for name in names]
    _send(port, path, headers, {"alerts": alerts}, 202)


def _post_to_alertmanager(port: int, names: Sequence[str]) -> None:
    alerts = [{"labels": {"alertname": name, "severity": "warning", "service": "bench"}} for name in names]
    _send(port, "/api/v2/alerts", {}, alerts, 200)


def _send(port: int, path: str, headers: Mapping[str, str], body: object, wanted: int) -> None:
    kept: dict[int, http.client.HTTPConnection] = _connections.__dict__.setdefault("kept", {})
    if port not in kept:
        kept[port] = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    kept[port].request("POST", path, json.dumps(body), {"Content-Type": "application/json", **headers})
    answer = kept[port].getresponse()
    text = answer.read()
    if answer.status != wanted:
        raise BenchError(f"POST {path} was answered with {answer.status}: {text[:300]!r}")


def _all_cpu(servers: Servers, processes: Sequence[Process], web: WebServer) -> float:
    return web.cpu_seconds() + sum(_cpu(servers, processes).values())


def _emptied(servers: Servers, receiver: Receiver, channel: Outgoing, processes: list[Process], number: int) -> Sent:
    receiver.reset()
    channel.queue(number)
    before = _cpu(servers, processes)
    wake()
    receiver.wait_for(number, WAIT_SECONDS)
    _wait_until_written()
    after = _cpu(servers, processes)
    came = receiver.report()
    keys = {each.key for each in came}
    if len(keys) != number:
        raise BenchError(f"{len(keys)} of {number} deliveries came")
    spent = {name: (after[name] - before[name]) / number * 1000 for name in before}
    return Sent(
        deliveries=number,
        seconds=came[-1].at - came[0].at,
        dispatchers_per_1000=spent["dispatchers"],
        postgres_per_1000=spent["postgres"],
        redis_per_1000=spent["redis"],
        twice=len(came) - number,
    )


def _cpu(servers: Servers, processes: Sequence[Process]) -> dict[str, float]:
    return {"dispatchers": sum(family_cpu(process.pid) for process in processes), **servers.cpu_seconds()}


def _wait_until_written() -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM alerting_delivery WHERE status IN ('pending', 'failed')")
            left = cursor.fetchone()[0]
        if not left:
            return
        if time.monotonic() > deadline:
            raise BenchError(f"{left} deliveries were never finished")
        time.sleep(0.02)


def tables(found: dict[str, Any]) -> list[Table]:
    """As people read it."""
    queues = [
        [
            name,
            f"{sent.deliveries:,}",
            f"{sent.seconds:.2f}",
            f"{sent.per_second:,.0f}",
            f"{sent.dispatchers_per_1000:.2f}",
            f"{sent.postgres_per_1000:.2f}",
            f"{sent.redis_per_1000:.2f}",
        ]
        for name, sent in found.items()
        if isinstance(sent, Sent)
    ]
    told = [
        [
            name,
            f"{each.alerts:,}",
            f"{each.messages:,}",
            f"{each.per_second:,.0f}",
            f"{each.p50_ms:.0f}",
            f"{each.p95_ms:.0f}",
            f"{each.cpu_per_1000:.2f}",
        ]
        for name, each in found.items()
        if isinstance(each, Told)
    ]
    return [
        Table(
            f"A queue emptied into a webhook that answers in 20 ms, {DISPATCHERS} dispatchers (promise 1,500 a second; "
            "1,000 within 2 s); CPU seconds for 1,000",
            ["", "deliveries", "seconds", "a second", "dispatchers", "PostgreSQL", "Redis"],
            queues,
        ),
        Table(
            f"Alerts over HTTP to the same webhook: {PACE} a second to one address (promise P95 50 ms), then as fast "
            f"as taken to {RECIPIENTS}; from post to message in ms; CPU seconds for 1,000 messages, all processes",
            ["", "alerts", "messages", "a second", "P50", "P95", "CPU"],
            told,
        ),
    ]
