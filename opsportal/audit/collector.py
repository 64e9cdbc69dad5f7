"""The chain's values at scrape time (AU-5)."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from opsportal.audit import chain, selectors


class ChainCollector:
    """What is read once at each scrape: the head, how far it is verified, and whether it is broken."""

    def collect(self) -> Iterator[Metric]:
        """Three numbers. Raises `django.db.Error` with PostgreSQL away: then they are missing, not wrong."""
        head, verified, problem = chain.head().seq, selectors.verified_up_to(), selectors.chain_problem()
        yield GaugeMetricFamily("audit_chain_head_seq", "Links of the audit chain.", head)
        yield GaugeMetricFamily("audit_chain_verified_seq", "Links of it that were verified.", verified)
        yield GaugeMetricFamily("audit_chain_broken", "1 when verification has found a problem.", float(bool(problem)))
