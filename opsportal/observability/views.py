"""What machines ask: `/metrics`, `/livez`, `/readyz`, `/health`. No sign-in, so no secret, host or URL either."""

import hmac
from datetime import UTC, datetime

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client.exposition import choose_encoder

import opsportal
from opsportal.observability.metrics import scrape_registry
from opsportal.observability.probes import migrations_applied, probe_parts, probe_postgresql, probe_redis


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Everything there is to scrape, in the format that the caller accepts.

    With `METRICS_TOKEN` set, 401 without that bearer token.
    """
    if not _may_scrape(request):
        return HttpResponse(
            "This needs the bearer token of METRICS_TOKEN.\n",
            status=401,
            content_type="text/plain; charset=utf-8",
            headers={"WWW-Authenticate": "Bearer"},
        )
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(scrape_registry()), content_type=content_type)  # type: ignore[arg-type]


@never_cache
@require_safe
def livez(request: HttpRequest) -> HttpResponse:
    """200 while this process answers at all; touches nothing else."""
    return HttpResponse("ok", content_type="text/plain; charset=utf-8")


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when this process can do its work: PostgreSQL answers and is migrated; 503 names the part that is not.

    Redis is named but does not count: pages, and the last known state, work without it.
    """
    database = probe_postgresql().ok
    parts = {
        "postgresql": "ok" if database else "unavailable",
        "migrations": "ok" if database and migrations_applied() else "unknown" if not database else "missing",
        "redis": "ok" if probe_redis().ok else "unavailable",
    }
    ready = parts["postgresql"] == parts["migrations"] == "ok"
    return JsonResponse({"ready": ready, "parts": parts}, status=200 if ready else 503)


@never_cache
@require_safe
def health(request: HttpRequest) -> JsonResponse:
    """The portal's own health in the platform's contract (HM-3).

    healthy with all its parts, degraded (200) without one, unhealthy (503) without both PostgreSQL and Redis.
    """
    servers = {"postgresql": probe_postgresql(), "redis": probe_redis()}
    probes = servers | probe_parts()
    nothing = not any(probe.ok for probe in servers.values())
    everything = all(probe.ok for probe in probes.values())
    return JsonResponse(
        {
            "status": "unhealthy" if nothing else "healthy" if everything else "degraded",
            "service": "opsportal",
            "version": opsportal.__version__,
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "details": {name: probe.as_json() for name, probe in probes.items()},
        },
        status=503 if nothing else 200,
    )


def _may_scrape(request: HttpRequest) -> bool:
    if not settings.METRICS_TOKEN:
        return True
    expected = f"Bearer {settings.METRICS_TOKEN}".encode()
    return hmac.compare_digest(request.headers.get("Authorization", "").encode(), expected)
