"""What alerting keeps. The tables that grow (events, deliveries, attempts, observations) are parted by time in SQL."""

from alerting.models.channels import Channel, Rest
from alerting.models.deliveries import Attempt, Delivery, Notice, Outcome, Priority, Status
from alerting.models.events import Episode, Event, EventState, Origin, Series
from alerting.models.rules import Comparison, Rule, Severity
from alerting.models.silences import SILENCE_MAX, Silence
from alerting.models.singles import Gate, Revision

__all__ = [
    "SILENCE_MAX",
    "Attempt",
    "Channel",
    "Comparison",
    "Delivery",
    "Episode",
    "Event",
    "EventState",
    "Gate",
    "Notice",
    "Origin",
    "Outcome",
    "Priority",
    "Rest",
    "Revision",
    "Rule",
    "Series",
    "Severity",
    "Silence",
    "Status",
]
