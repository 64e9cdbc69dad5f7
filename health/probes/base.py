"""What every kind of probe is given and gives back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from health.models import Status


class Cause(StrEnum):
    """Why a probe found no valid, healthy answer. A metric label and a column: never free text."""

    NONE = ""
    TIMEOUT = "timeout"
    REFUSED = "refused"
    CONNECTION = "connection"
    DNS = "dns"
    TLS = "tls"
    ADDRESS = "address"
    HTTP_STATUS = "http_status"
    REDIRECT = "redirect"
    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    FIELD = "field"
    NAME = "name"
    SAID_SO = "said_so"


@dataclass(frozen=True, slots=True)
class Target:
    """One service as a probe needs it. `url`: the full address of its health reply. `timeout`: seconds for each try."""

    service_id: int
    name: str
    url: str
    timeout: float


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What one probe found; never an exception.

    `status` is HEALTHY, DEGRADED, UNHEALTHY, VIOLATION or UNREACHABLE. `latency_us`: microseconds from the request to
    the last byte of the reply, of the try that was answered; None when none was (UNREACHABLE). `sentence`: for people,
    masked, at most 300 characters; empty when healthy. `field`: the field of the contract that is broken, for
    VIOLATION. `tries`: 1 or 2.
    """

    status: Status
    latency_us: int | None
    cause: Cause = Cause.NONE
    field: str = ""
    sentence: str = ""
    version: str = ""
    last_operation_at: datetime | None = None
    last_operation: str = ""
    tries: int = 1

    @property
    def answered(self) -> bool:
        """Whether a reply came, be it good or bad."""
        return self.status != Status.UNREACHABLE
