"""Metrics of API keys."""

from prometheus_client import Counter

REQUESTS = Counter("api_key_requests_total", "Requests that came with a bearer key, by what became of it.", ["outcome"])
