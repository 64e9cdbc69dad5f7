"""A value that somebody told us, wherever it came from: what rules are evaluated on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from alerting import keys
from alerting.models import Origin


@dataclass(frozen=True, slots=True)
class Signal:
    """One value of one metric with one set of labels.

    An alert from outside is one as well: the metric `external_alert`, 1 while it fires and 0 when it is resolved.
    """

    metric: str
    labels: Mapping[str, str]
    value: float
    #: When it was so, on the sender's clock; checked to be neither in the future nor ancient.
    at: datetime
    origin: Origin
    #: Only for this rule, whatever its condition: 1 fires it, 0 resolves it. None: for every rule of the metric whose
    #: labels match.
    rule_id: int | None = None
    #: One line for people; empty: made from rule and value.
    summary: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    generator_url: str = ""
    #: A severity that the sender gives; None: the rule's.
    severity: int | None = None
    #: The sender's own name for this alert (AD-3); empty: the event's id.
    alert_id: str = ""
    #: It resolves by itself then, unless it is told again.
    expires_at: datetime | None = None
    #: What people are shown as the value, where `value` only says that an alert fires.
    shown_value: float | None = None
    #: What it is known by where that is not `at`: a time that is not yet, of a sender whose clock runs ahead.
    told_at: datetime | None = None
    #: Tells the label set from others where `labels` are masked; empty: theirs does.
    fingerprint: str = ""

    @property
    def told(self) -> datetime:
        """The time that it was told with: told with it again, it is the same value."""
        return self.told_at or self.at

    @property
    def mark(self) -> str:
        """What tells the label set from others."""
        return self.fingerprint or keys.fingerprint(self.labels)
