"""Decides, from results alone, what a service's status is: flap control (HM-10), age (HM-4) and cause (HM-12). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from health.models import Status

#: How bad a status is, for flap control: a worse result needs more of its kind than a better one.
_SEVERITY = {
    Status.UNKNOWN: 0,
    Status.HEALTHY: 0,
    Status.DEGRADED: 1,
    Status.UNHEALTHY: 2,
    Status.VIOLATION: 3,
    Status.UNREACHABLE: 4,
}
DOWN = frozenset({Status.UNHEALTHY, Status.UNREACHABLE})
_CAN_BE_CAUSED = frozenset({Status.DEGRADED, Status.UNHEALTHY, Status.UNREACHABLE})


@dataclass(slots=True)
class Track:
    """The recorded status of one service, and the results that may be about to change it.

    `since` and `candidate_since` are readings of one monotonic clock, in seconds.
    """

    status: Status = Status.UNKNOWN
    since: float | None = None
    candidate: Status = Status.UNKNOWN
    seen: int = 0
    needed: int = 0
    candidate_since: float = 0.0

    def take(self, result: Status, now: float, *, down_after: int, up_after: int) -> Status | None:
        """Count one result; the former status if this result changes the recorded one, else None.

        A change for the worse needs `down_after` consecutive results that are worse than the recorded status, one
        for the better `up_after` that are better; the last of them is the new status. From UNKNOWN a good result
        counts as better, any other as worse.
        """
        if result == self.status:
            self.seen = 0
            return None
        worse = _SEVERITY[result] > _SEVERITY[self.status]
        if not self.seen or worse != (_SEVERITY[self.candidate] > _SEVERITY[self.status]):
            self.seen, self.candidate_since = 0, now
        self.candidate = result
        self.seen += 1
        self.needed = down_after if worse else up_after
        if self.seen < self.needed:
            return None
        former, self.status, self.since, self.seen = self.status, result, self.candidate_since, 0
        return former

    @property
    def unconfirmed(self) -> bool:
        """Whether the newest result differs from the recorded status and waits for more of its kind."""
        return self.seen > 0


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a service at the moment of looking. Ages in seconds; None: there never was one."""

    status: Status
    unconfirmed: Status | None
    reply_age: float | None
    probe_age: float | None
    interval: float
    timeout: float


def shown_status(seen: Seen) -> Status:
    """The status for people and machines (HM-4): a good word only while it is at most two intervals old.

    A reply at hand is shown at once, also while flap control waits; a fetch that failed once turns the cached
    status STALE until the failure is confirmed.
    """
    if seen.status == Status.UNKNOWN and seen.unconfirmed is None:
        return Status.UNKNOWN
    if seen.status == Status.UNREACHABLE:
        # A probe that waits in vain takes two tries; only after that is its absence a sign of a stopped sweep.
        longest = 2 * seen.interval + 2 * seen.timeout + 1.0
        fresh = seen.probe_age is not None and 0 <= seen.probe_age <= longest
        return Status.UNREACHABLE if fresh else Status.STALE
    if seen.reply_age is None:
        return Status.UNKNOWN
    if not 0 <= seen.reply_age <= 2 * seen.interval or seen.unconfirmed == Status.UNREACHABLE:
        return Status.STALE
    if seen.unconfirmed is not None and _SEVERITY[seen.unconfirmed] > _SEVERITY[seen.status]:
        return seen.unconfirmed
    return seen.status


def explains(parent: Status, child: Status) -> bool:
    """Whether a parent in this state accounts for a child in that one.

    A broken contract is the service's own doing, so it neither explains nor is explained.
    """
    return child in _CAN_BE_CAUSED and (parent in DOWN or parent == child == Status.DEGRADED)


def root_causes(statuses: Mapping[int, Status], parents: Mapping[int, Iterable[int]]) -> dict[int, int]:
    """Service to the service at the root of its trouble, for those whose trouble has a cause (HM-12).

    Follows dependencies upwards as long as each parent's state explains the child's. Of several failing parents the
    worst counts, then the lowest id. A cycle, which the forms refuse, ends the walk.
    """
    return {
        service: root
        for service, status in statuses.items()
        if status in _CAN_BE_CAUSED and (root := root_cause(service, statuses, parents)) != service
    }


def root_cause(service: int, statuses: Mapping[int, Status], parents: Mapping[int, Iterable[int]]) -> int:
    """The service at the root of this one's trouble: itself where no parent explains it."""
    walked = {service}
    while True:
        status = statuses.get(service, Status.UNKNOWN)
        failing = [
            parent
            for parent in parents.get(service, ())
            if parent not in walked and explains(statuses.get(parent, Status.UNKNOWN), status)
        ]
        if not failing:
            return service
        service = min(failing, key=lambda parent: (-_SEVERITY[statuses[parent]], parent))
        walked.add(service)
