"""What the sweep has done in threads, because PostgreSQL and Redis make one wait. None of it raises."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from django.db import Error, close_old_connections

from health import archive, retention, store
from health.catalogue import Catalogue, load_catalogue
from health.store import Record

log = logging.getLogger(__name__)


def load() -> Catalogue | None:
    """The registry, None when PostgreSQL does not answer."""
    try:
        close_old_connections()
        return load_catalogue()
    except Error as error:
        log.warning("health_registry_not_read", extra={"cause": type(error).__name__})
        return None


def left_in_redis() -> tuple[Catalogue | None, dict[int, store.Stamped]]:
    """What an earlier sweeper left in Redis: the registry's copy and the records."""
    try:
        snapshot = store.read_snapshot()
    except store.HealthUnreachable:
        return None, {}
    return snapshot.catalogue, snapshot.records


def left_in_postgresql() -> dict[int, store.Stamped]:
    """What it left in PostgreSQL."""
    try:
        close_old_connections()
        return archive.read_records()[1]
    except Error:
        return {}


def write_snapshot(records: list[tuple[int, Record]], about: dict[str, Any], removed: set[int]) -> str | None:
    """Tell the dashboards; the registry's generation, None when Redis did not take it."""
    try:
        store.remove_records(removed)
        return store.write_records(records, about)
    except store.HealthUnreachable:
        return None


def copy_registry(catalogue: Catalogue) -> None:
    """The registry's copy in Redis, which may have been lost."""
    try:
        store.write_registry(catalogue)
    except store.HealthUnreachable:
        log.info("health_registry_not_copied")


def keep_partitions() -> None:
    """The tables' parts for now, not ten minutes later: the portal may have stood still for a day."""
    try:
        close_old_connections()
        retention.keep_partitions(datetime.now(UTC))
    except Error as error:
        log.warning("health_partitions_not_kept", extra={"cause": type(error).__name__})
