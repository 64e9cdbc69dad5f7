"""Rules, channels and silences as evaluation needs them: read once for each revision, kept in the process."""

from __future__ import annotations

import json
import logging
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db import connection

from alerting import keys
from alerting.channels.opening import CannotUse, recipients_of
from alerting.metrics import EVALUATION_FAILURES
from alerting.models import Channel, Rule, Silence
from opsportal.secrets import keyring

log = logging.getLogger(__name__)

#: The channel that a trip of the breaker goes over, and its one recipient: an action, no message.
BREAKER = "breaker"


@dataclass(frozen=True, slots=True)
class RuleSpec:
    """An enabled rule."""

    id: int
    name: str
    metric: str
    comparison: str
    threshold: float
    severity: int
    for_seconds: int
    labels: Mapping[str, str]
    channel_ids: tuple[int, ...]
    notify_resolved: bool
    trips_breaker: bool
    owner: str
    runbook_url: str


@dataclass(frozen=True, slots=True)
class Target:
    """One recipient of a channel, as a delivery row holds it."""

    channel_id: int
    kind: str
    hash: str
    sealed: str
    shown: str
    #: Hashes under the secret before the present one: a delivery made under it counts as the same (AD-9).
    earlier_hashes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SilenceSpec:
    """A silence that has not ended when the catalogue was read."""

    id: int
    rule_id: int | None
    service: str
    labels: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All of it at one revision. A channel that is disabled or cannot be used has no targets, and is in `unusable`.

    `unusable` says why, in a sentence. `disabled`: those of them that somebody switched off, which is no mishap.
    `kinds`: the kind of every channel. `breaker`: the target of a trip.
    """

    revision: int
    rules: Mapping[int, RuleSpec]
    by_metric: Mapping[str, tuple[RuleSpec, ...]]
    targets: Mapping[int, tuple[Target, ...]]
    silences: tuple[SilenceSpec, ...]
    unusable: Mapping[int, str]
    disabled: frozenset[int] = frozenset()
    kinds: Mapping[int, str] = field(default_factory=dict)
    breaker: Target = Target(0, BREAKER, "", "", "circuit breaker")


@dataclass(frozen=True, slots=True)
class Seen:
    """What the database said of its revision. `stamp` tells apart two revisions of one number after a rollback."""

    number: int
    stamp: str
    #: Too many deliveries wait: what fires now is told when there is room again (AD-8).
    full: bool
    #: Planned work is going on, on some service (HM-11).
    planned: bool
    #: Of the episodes that were asked for, those that are open: what `alerting.episodes.opened` reads.
    episodes: Sequence[Sequence[Any]]


_lock = threading.Lock()
_kept: tuple[int, str, Catalogue] | None = None


def current() -> Catalogue:
    """The catalogue of the revision that the current transaction sees. Raises `django.db.Error`."""
    return of(look(datetime.now(UTC)))


def remembered() -> Catalogue | None:
    """The catalogue that this process used last, if any; `is_of` tells whether it still holds."""
    return None if _kept is None else _kept[2]


def is_of(catalogue: Catalogue | None, seen: Seen) -> bool:
    """Whether this remembered catalogue is of that revision."""
    kept = _kept
    return kept is not None and kept[2] is catalogue and kept[:2] == (seen.number, seen.stamp)


def look(now: datetime, keys: Sequence[str] = ()) -> Seen:
    """The revision that the current transaction sees, and what else evaluation must know; one query."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM alerting_look(%s, %s::text[])", [now, list(keys)])
        number, stamp, full, planned, found = cursor.fetchone()
        return Seen(number, stamp, full, planned, json.loads(found) if found else ())


def of(seen: Seen) -> Catalogue:
    """The catalogue of this revision, or a newer one: what is read now cannot be older. Raises `django.db.Error`."""
    global _kept
    kept = _kept
    if kept is not None and kept[:2] == (seen.number, seen.stamp):
        return kept[2]
    catalogue = _load(seen.number)
    with _lock:
        _kept = (seen.number, seen.stamp, catalogue)
    return catalogue


def _load(revision: int) -> Catalogue:
    rules = {rule.id: rule for rule in _rules()}
    by_metric: dict[str, list[RuleSpec]] = defaultdict(list)
    for rule in rules.values():
        by_metric[rule.metric].append(rule)
    channels = list(Channel.objects.order_by("pk"))
    targets, unusable = {}, {}
    for channel in channels:
        try:
            targets[channel.pk] = _targets(channel)
        except Exception as error:  # whatever is wrong with one channel is no matter of the others
            unusable[channel.pk] = _why_unusable(channel, error)
    return Catalogue(
        revision=revision,
        rules=rules,
        by_metric={metric: tuple(found) for metric, found in by_metric.items()},
        targets=targets,
        silences=tuple(_silences()),
        unusable=unusable,
        disabled=frozenset(channel.pk for channel in channels if not channel.enabled),
        kinds={channel.pk: channel.kind for channel in channels},
        breaker=Target(
            0, BREAKER, keys.recipient_hash(BREAKER, BREAKER), keyring.seal(BREAKER), "circuit breaker"
        ),
    )  # fmt: skip


def _rules() -> Iterable[RuleSpec]:
    channels: dict[int, list[int]] = defaultdict(list)
    for rule_id, channel_id in Rule.channels.through.objects.order_by("channel_id").values_list(
        "rule_id", "channel_id"
    ):
        channels[rule_id].append(channel_id)
    for rule in Rule.objects.filter(enabled=True).order_by("pk"):
        labels = _labels_of(rule)
        if labels is None:
            continue
        yield RuleSpec(
            id=rule.pk,
            name=rule.name,
            metric=rule.metric,
            comparison=rule.comparison,
            threshold=rule.threshold,
            severity=rule.severity,
            for_seconds=rule.for_seconds,
            labels=labels,
            channel_ids=tuple(channels[rule.pk]),
            notify_resolved=rule.notify_resolved,
            trips_breaker=rule.trips_breaker,
            owner=rule.owner,
            runbook_url=rule.runbook_url,
        )


def _labels_of(row: Rule | Silence) -> dict[str, str] | None:
    """None for what no form would have let through: the row is set aside, the others go on."""
    if isinstance(row.labels, dict):
        return {str(name): str(text) for name, text in row.labels.items()}
    EVALUATION_FAILURES.inc()
    log.error("alert_row_set_aside", extra={"table": row._meta.db_table, "row_id": row.pk})
    return None


def _targets(channel: Channel) -> tuple[Target, ...]:
    if not channel.enabled:
        raise CannotUse(f"The channel “{channel.name}” is switched off.")
    found = []
    for recipient in recipients_of(channel):
        present, *earlier = keys.recipient_hashes(channel.kind, recipient.address)
        sealed = keyring.seal(recipient.address)
        found.append(Target(channel.pk, channel.kind, present, sealed, recipient.shown[:100], tuple(earlier)))
    return tuple(found)


def _why_unusable(channel: Channel, error: Exception) -> str:
    if channel.enabled:
        log.error(
            "alert_channel_unusable",
            extra={"channel_id": channel.pk, "channel_kind": channel.kind, "cause": type(error).__name__},
        )
    sentence = str(error) if isinstance(error, CannotUse) else ""
    return (sentence or f"The channel “{channel.name}” cannot be used as it is set up.")[:300]


def _silences() -> Iterable[SilenceSpec]:
    now = datetime.now(UTC)
    rows = Silence.objects.filter(ends_at__gt=now, ended_at__isnull=True).order_by("pk")
    for silence in rows:
        labels = _labels_of(silence)
        if labels is None:
            continue
        yield SilenceSpec(silence.pk, silence.rule_id, silence.service, labels, silence.starts_at, silence.ends_at)
