"""The configuration's values at scrape time."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from sysconf.errors import StoredInvalid
from sysconf.sections import all_sections
from sysconf.selectors import stored_reading


class ConfigurationCollector:
    """How many sections hold something that is not valid; read from PostgreSQL once a scrape."""

    def collect(self) -> Iterator[Metric]:
        """One gauge. With the database away `django.db.Error`: then there is no value, and an error is counted."""
        broken = 0
        for section in all_sections():
            try:
                stored_reading(section)
            except StoredInvalid:
                broken += 1
        yield GaugeMetricFamily("sysconfig_invalid_sections", "Sections whose stored values are not valid.", broken)
