"""What a rule may be about: the one table of metrics. An observation of anything else is refused."""

from __future__ import annotations

from dataclasses import dataclass

from circuit.models import Category


@dataclass(frozen=True)
class Condition:
    """A metric: its name, what it is for people, its unit, the range that a threshold may have, and a preset.

    `pushed`: services of the platform send it as observations; else the portal reads it itself.
    `labels`: those that its values carry.
    """

    name: str
    title: str
    unit: str
    low: float
    high: float
    comparison: str
    threshold: float
    pushed: bool = True
    #: Fractions that people read as a percentage.
    percent: bool = False
    labels: tuple[str, ...] = ()
    #: What a trip by such a rule counts as (CB-12).
    category: Category = Category.OTHER
    #: The field of the configuration's section `system_defaults` that the preset comes from, if any.
    preset_from: str = ""
    help: str = ""


CONDITIONS: dict[str, Condition] = {
    condition.name: condition
    for condition in (
        Condition(
            "drawdown", "Drawdown", "fraction", 0.0, 1.0, "gte", 0.05, percent=True, labels=("strategy",),
            category=Category.DRAWDOWN, preset_from="drawdown_threshold",
            help="The loss since the last high, as a fraction of equity: 0.05 is 5 %.",
        ),
        Condition(
            "position_limit", "Position limit", "fraction", 0.0, 10.0, "gte", 1.0, percent=True,
            labels=("strategy", "symbol"), category=Category.POSITION_LIMIT,
            help="The position as a fraction of its limit: 1 is the limit itself.",
        ),
        Condition(
            "latency", "Latency", "ms", 0.0, 600_000.0, "gt", 500.0, labels=("service",), category=Category.LATENCY,
            help="Milliseconds of an order's way, or of whatever the service measures.",
        ),
        Condition(
            "data_age", "Age of market data", "s", 0.0, 86_400.0, "gt", 10.0, labels=("symbol", "feed"),
            category=Category.DATA_STALE, help="Seconds since the newest price.",
        ),
        Condition(
            "broker_errors", "Broker errors", "errors/min", 0.0, 1_000_000.0, "gt", 3.0, labels=("broker",),
            category=Category.BROKER_ERRORS, help="Orders that the broker refused, a minute.",
        ),
        Condition(
            "service_down", "Service down", "0 or 1", 0.0, 1.0, "gte", 1.0, pushed=False, labels=("service",),
            help="1 while a service is unreachable, unhealthy or breaks the health contract.",
        ),
        Condition(
            "service_degraded", "Service degraded", "0 or 1", 0.0, 1.0, "gte", 1.0, pushed=False, labels=("service",),
            help="1 while a service says that it is degraded.",
        ),
        Condition(
            "queue_depth", "Queue depth", "entries", 0.0, 1e9, "gt", 1_000.0, pushed=False, labels=("queue", "group"),
            help="Entries of a Redis stream that a consumer group has not finished (lag and pending), tasks of a "
            "Celery queue, or deliveries of alerts (queue “alert deliveries”) that wait.",
        ),
        Condition(
            "circuit_tripped", "Circuit breaker not open", "0 or 1", 0.0, 1.0, "gte", 1.0, pushed=False,
            help="1 while the breaker is TRIPPED or its state is unknown.",
        ),
        Condition(
            "component_down", "PostgreSQL or Redis down", "0 or 1", 0.0, 1.0, "gte", 1.0, pushed=False,
            labels=("component",),
            help="1 while Redis does not answer in time (component “redis”), PostgreSQL answers late (“postgresql”) or "
            "nobody checks the services (“health sweep”). While PostgreSQL is away nothing is evaluated.",
        ),
        Condition(
            "api_key_expiry", "API key expires", "days", 0.0, 3_650.0, "lte", 14.0, pushed=False, labels=("prefix",),
            help="Days until a key in use ends; a key that is revoked, or that never ends, has no value.",
        ),
        Condition(
            "poison_queue", "Poison queue", "deliveries", 0.0, 1e9, "gt", 10.0, pushed=False,
            help="Deliveries that need a person.",
        ),
        Condition(
            "external_alert", "Alert from outside", "0 or 1", 0.0, 1.0, "gte", 1.0, labels=("alertname",),
            help="Alerts of Prometheus, Alertmanager, Grafana and of `POST /api/v1/alerts`: 1 while they fire. Match "
            "them by their labels.",
        ),
    )
}  # fmt: skip
EXTERNAL = "external_alert"


def find_condition(name: str) -> Condition | None:
    """The metric of this name."""
    return CONDITIONS.get(name)
