"""What a service and planned work must be like. A `clean_…` gives the value as it is kept, or raises `InvalidInput`."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict, deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

from django.core.exceptions import ValidationError

from health.models import MAINTENANCE_MAX, Service
from health.probes.addresses import refusal
from opsportal.accounts.refusals import InvalidInput
from opsportal.observability.sanitise import mask_text

#: What can be edited of a service, but for what it depends on.
PLAIN_FIELDS = ("name", "base_url", "owner", "runbook_url", "interval", "timeout", "enabled")
URL_MAX = 500
REASON_MAX = 300
#: Further ahead than this, a mistyped year is likelier than a plan.
AHEAD_MAX = timedelta(days=366)
Node = TypeVar("Node", bound=Hashable)
_HEALTH = "/health"
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_PATH = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")


def clean_name(text: str) -> str:
    """The name that the service gives itself: at most 100 letters, digits, dots, hyphens and underscores."""
    try:
        return str(Service._meta.get_field("name").clean(text.strip(), None))
    except ValidationError as error:
        raise InvalidInput("name", error.messages[0]) from None


def clean_base_url(text: str) -> str:
    """An http or https address without credentials, query, fragment and closing `/health` (the portal adds that)."""
    field = "base_url"
    url = text.strip()
    if not url:
        raise InvalidInput(field, "Give the address of the service, for example http://orders:8080.")
    parts = _split(field, url)
    if "?" in url or "#" in url:
        raise InvalidInput(field, "Leave out “?” or “#” and what follows: the portal asks for /health only.")
    host = _host(field, parts)
    if problem := refusal(host):
        raise InvalidInput(field, problem[0].upper() + problem[1:])
    if not _PATH.fullmatch(parts.path):
        raise InvalidInput(field, "The path has a character that no address may have; write it as % and two digits.")
    path = parts.path.rstrip("/").removesuffix(_HEALTH).rstrip("/")
    shown = f"[{host}]" if ":" in host else host
    port = f":{parts.port}" if parts.port else ""
    return _without_secrets(field, f"{parts.scheme.lower()}://{shown}{port}{path}")


def clean_runbook_url(text: str) -> str:
    """An http or https address without credentials; may be empty."""
    field = "runbook_url"
    url = text.strip()
    if not url:
        return ""
    _host(field, _split(field, url))
    return _without_secrets(field, url)


def clean_owner(text: str) -> str:
    """The name of a team, at most 100 characters; may be empty. No person's address or number (AC-5)."""
    owner = _one_line("owner", text)
    if len(owner) > 100:
        raise InvalidInput("owner", f"The name has {len(owner)} characters; at most 100 are kept.")
    if mask_text(owner) != owner:
        raise InvalidInput(
            "owner", "Give a team's name, not an e-mail address or a telephone number: everybody here can read it."
        )
    return owner


def clean_interval(seconds: int) -> int:
    """Whole seconds, 1 to 3600."""
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not 1 <= seconds <= 3600:
        raise InvalidInput("interval", "The interval must be a whole number of seconds from 1 to 3600.")
    return seconds


def clean_timeout(seconds: float) -> float:
    """Seconds, 0.1 to 60."""
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not 0.1 <= seconds <= 60:  # false of NaN too
        raise InvalidInput("timeout", "The timeout must be from 0.1 to 60 seconds.")
    return float(seconds)


def check_dependencies(service: Service | None, parents: Iterable[Service]) -> None:
    """Refuse a dependency on itself, directly or through others; the sentence names the path. One query."""
    if service is None:
        return  # nothing depends yet on a service that does not exist
    graph: dict[int, list[int]] = defaultdict(list)
    for child, parent in Service.depends_on.through.objects.values_list("from_service_id", "to_service_id"):
        graph[child].append(parent)
    graph[service.pk] = [parent.pk for parent in parents]
    circle = find_circle(service.pk, graph)
    if len(circle) == 2:
        raise InvalidInput("depends_on", "A service cannot depend on itself.")
    if circle:
        names = dict(Service.objects.filter(pk__in=circle).values_list("pk", "name"))
        path = " → ".join(names.get(pk, "?") for pk in circle)
        raise InvalidInput("depends_on", f"This would make a circle: {path}. Nothing can depend on itself.")


def find_circle(start: Node, graph: Mapping[Node, Sequence[Node]]) -> list[Node]:
    """The shortest way from `start` over its parents back to itself, both ends included; empty if there is none."""
    came_from: dict[Node, Node] = {}
    waiting = deque([start])
    while waiting:
        at = waiting.popleft()
        for parent in graph.get(at, ()):
            if parent == start:
                way = [start, at]
                while way[-1] != start:
                    way.append(came_from[way[-1]])
                return way[::-1]
            if parent not in came_from:
                came_from[parent] = at
                waiting.append(parent)
    return []


def clean_reason(text: str) -> str:
    """Why the work is done: one line of at most 300 characters, with addresses, numbers and keys masked (AC-5)."""
    field = "reason"
    reason = mask_text(_one_line(field, text))
    if not reason:
        raise InvalidInput(field, "Say what is being done: everybody on the desk will see it.")
    if len(reason) > REASON_MAX:
        raise InvalidInput(field, f"The reason has {len(reason):,} characters; at most {REASON_MAX} are kept.")
    return reason


def check_window(starts_at: datetime, ends_at: datetime, now: datetime) -> None:
    """Refuse a window that is empty, over, longer than 7 days, or more than a year ahead."""
    if ends_at <= starts_at:
        raise InvalidInput("ends_at", "The end must come after the start.")
    if ends_at <= now:
        raise InvalidInput("ends_at", f"That has passed already: it is {now:%Y-%m-%d %H:%M} UTC.")
    if ends_at - starts_at > MAINTENANCE_MAX:
        raise InvalidInput(
            "ends_at", f"At most {MAINTENANCE_MAX.days} days at a time; plan longer work as several windows."
        )
    if starts_at - now > AHEAD_MAX:
        raise InvalidInput("starts_at", f"That is more than a year ahead. Is {starts_at.year} the right year?")


def _one_line(field: str, text: str) -> str:
    line = " ".join(text.split())
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in line):
        raise InvalidInput(field, "There is a character in it that cannot be stored. Type it again.")
    return line


def _split(field: str, url: str) -> SplitResult:
    """The parts of an http or https address; its port, if any, is valid."""
    # urlsplit drops tabs and line ends silently, so they are looked for before.
    if any(character.isspace() or not character.isprintable() for character in url):
        raise InvalidInput(field, "An address has no spaces or control characters in it.")
    if len(url) > URL_MAX:
        raise InvalidInput(field, f"The address has {len(url):,} characters; at most {URL_MAX} are kept.")
    if not url.lower().startswith(("http://", "https://")):
        raise InvalidInput(field, "The address must begin with http:// or https://.")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InvalidInput(field, "The host is not written as an address: check its brackets.") from None
    if "@" in parts.netloc:
        raise InvalidInput(
            field, "Leave user name and password out: everybody who may look at the services can read the address."
        )
    try:
        valid = parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise InvalidInput(field, "The port must be a number from 1 to 65535.")
    return parts


def _host(field: str, parts: SplitResult) -> str:
    """The host in lower case, an IPv6 address without its brackets."""
    host = parts.hostname or ""
    if not host:
        raise InvalidInput(field, "The host is missing: http://HOST:PORT.")
    if ":" in host:
        try:
            return str(ip_address(host))
        except ValueError:
            raise InvalidInput(field, f"{host} is not an IPv6 address.") from None
    if len(host) > 253 or not _HOST.fullmatch(host):
        raise InvalidInput(field, "The host may have only letters a to z, digits, hyphens, underscores and dots.")
    return host


def _without_secrets(field: str, url: str) -> str:
    if mask_text(url) != url:
        raise InvalidInput(
            field, "This looks as if it held a password, a key or personal data, and everybody here can read it."
        )
    return url
