"""The portal's own parts in words for people: what does not answer, and what that means for the desk."""

from dataclasses import dataclass

from opsportal.observability.probes import probe_postgresql, probe_redis


@dataclass(frozen=True, slots=True)
class Component:
    """One part the portal stands on. `consequence` says what no longer works while it is away."""

    name: str
    title: str
    ok: bool
    latency_ms: float
    consequence: str


def check_components() -> list[Component]:
    """PostgreSQL and Redis as they are now (at most a second old). Never raises; at most about 3 s when both hang."""
    database, redis = probe_postgresql(), probe_redis()
    return [
        Component(
            name="postgresql",
            title="PostgreSQL",
            ok=database.ok,
            latency_ms=database.latency_ms,
            consequence="Trading can be halted, but not resumed, and no history is shown until it answers.",
        ),
        Component(
            name="redis",
            title="Redis",
            ok=redis.ok,
            latency_ms=redis.latency_ms,
            consequence="The breaker's state cannot be read or changed; treat trading as halted until it answers.",
        ),
    ]
