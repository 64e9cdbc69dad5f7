"""Rules as people look for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, OuterRef, Prefetch, Q, QuerySet, Subquery

from alerting.models import Channel, Episode, Event, EventState, Rule, Severity, Silence
from alerting.wording import condition_words


@dataclass(frozen=True)
class RuleRow:
    """A rule as the list shows it. `firing`: how many of its alerts are open now."""

    rule: Rule
    condition: str
    severity: Severity
    channels: tuple[Channel, ...]
    last_fired: datetime | None
    firing: int

    @property
    def reaches_nobody(self) -> bool:
        """Whether nobody would be told: there is no channel that is switched on."""
        return not any(channel.enabled for channel in self.channels)


def shown_rules() -> QuerySet[Rule]:
    """Every rule by name with its channels, without what is sealed."""
    channels = Channel.objects.defer("sealed").order_by("name")
    return Rule.objects.prefetch_related(Prefetch("channels", queryset=channels)).order_by("name", "pk")


def rule_row(rule: Rule, *, last_fired: datetime | None, firing: int) -> RuleRow:
    """One row."""
    return RuleRow(
        rule=rule,
        condition=condition_words(rule.metric, rule.comparison, rule.threshold, rule.for_seconds, rule.labels),
        severity=Severity(rule.severity),
        channels=tuple(rule.channels.all()),
        last_fired=last_fired,
        firing=firing,
    )


def rule_rows(rules: list[Rule]) -> list[RuleRow]:
    """The rows of these rules, in two queries more."""
    ids = [rule.pk for rule in rules]
    newest = Event.objects.filter(rule_id=OuterRef("pk"), triggered_at__isnull=False).order_by("-started_at", "-id")
    fired = dict(
        Rule.objects.filter(pk__in=ids)
        .annotate(fired=Subquery(newest.values("triggered_at")[:1]))
        .values_list("pk", "fired")
        .order_by()
    )
    firing = dict(
        Episode.objects.filter(rule_id__in=ids, firing=True)
        .values("rule_id")
        .annotate(number=Count("key"))
        .values_list("rule_id", "number")
    )
    return [rule_row(rule, last_fired=fired.get(rule.pk), firing=firing.get(rule.pk, 0)) for rule in rules]


def rule_events(rule: Rule, *, newest: int = 10) -> list[Event]:
    """The newest events of a rule, open or not."""
    return list(Event.objects.filter(rule_id=rule.pk).order_by("-started_at", "-id")[:newest])


def open_events(rule: Rule, *, most: int = 50) -> list[Event]:
    """Those that are not resolved, newest first."""
    events = Event.objects.filter(rule_id=rule.pk).exclude(state=EventState.RESOLVED)
    return list(events.order_by("-started_at", "-id")[:most])


def silences_of(rule: Rule, now: datetime) -> list[Silence]:
    """Silences that name this rule and have not ended."""
    return list(rule.silences.filter(ends_at__gt=now, ended_at__isnull=True).order_by("starts_at"))


def count_telling_nobody() -> int:
    """How many rules are switched on and have no channel that is."""
    reached = Rule.objects.filter(channels__enabled=True).values("pk")
    return Rule.objects.filter(enabled=True).exclude(pk__in=reached).count()


def matching_rules(text: str) -> Q:
    """Rules whose name, description or owner holds this text."""
    return Q(name__icontains=text) | Q(description__icontains=text) | Q(owner__icontains=text)


def filtered_rules(values: Mapping[str, str]) -> QuerySet[Rule]:
    """The rules that the list's filters let through. `values`: q, metric, severity, enabled, channel; empty for any."""
    found = shown_rules()
    if values["q"]:
        found = found.filter(matching_rules(values["q"]))
    if values["metric"]:
        found = found.filter(metric=values["metric"])
    if values["severity"]:
        found = found.filter(severity=next(one.value for one in Severity if one.word == values["severity"]))
    if values["enabled"]:
        found = found.filter(enabled=values["enabled"] == "yes")
    if values["channel"] == "none":
        found = found.filter(channels__isnull=True)
    elif values["channel"]:
        found = found.filter(channels=int(values["channel"]))
    return found
