"""Lists of services as they are written down: the setting `SERVICES`, and files of JSON or TOML (HM-1)."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from health.models import DEFAULT_INTERVAL, DEFAULT_TIMEOUT
from opsportal.observability.sanitise import clip


@dataclass(frozen=True)
class ServiceEntry:
    """One service of a list. `interval` and `timeout` in seconds; `depends_on` by name."""

    name: str
    base_url: str
    owner: str = ""
    runbook_url: str = ""
    interval: int = DEFAULT_INTERVAL
    timeout: float = DEFAULT_TIMEOUT
    depends_on: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listed:
    """What a list holds: its good entries, and a sentence for each part that is none."""

    entries: tuple[ServiceEntry, ...] = ()
    problems: tuple[str, ...] = ()

    def __add__(self, other: Listed) -> Listed:
        return Listed(self.entries + other.entries, self.problems + other.problems)


class UnreadableList(Exception):
    """The file cannot be read at all. `sentence` is for people."""

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence
        super().__init__(sentence)


class _FileEntry(BaseModel):
    """An entry as a file has it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    base_url: str
    owner: str = ""
    runbook_url: str = ""
    interval: int = DEFAULT_INTERVAL
    timeout: float = DEFAULT_TIMEOUT
    depends_on: list[str] = []


def parse_services(text: str) -> Listed:
    """The setting `SERVICES`: `orders=http://orders:8080, risk=http://risk:8080`."""
    entries, problems = [], []
    for piece in text.replace("\n", ",").split(","):
        if not piece.strip():
            continue
        name, equals, url = (part.strip() for part in piece.partition("="))
        if equals and name and url:
            entries.append(ServiceEntry(name, url))
        else:
            problems.append(f"“{clip(piece.strip(), 80)}” is not written as name=http://host:port.")
    return Listed(tuple(entries), tuple(problems))


def read_services_file(path: Path) -> Listed:
    """A list of objects in JSON, or `[[services]]` tables in TOML (by the ending `.toml`). Raises `UnreadableList`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text in UTF-8"
        raise UnreadableList(f"{path} cannot be read: {reason}.") from None
    try:
        found = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (ValueError, RecursionError) as error:
        kind = "TOML" if path.suffix == ".toml" else "JSON"
        raise UnreadableList(f"{path} is not {kind}: {error}.") from None
    if isinstance(found, dict):
        found = found.get("services")
    if not isinstance(found, list):
        raise UnreadableList(f"{path} must hold a list of services, or an object with such a list under “services”.")
    listed = Listed()
    for number, value in enumerate(found, start=1):
        listed += _entry(number, value)
    return listed


def in_dependency_order(
    entries: Sequence[ServiceEntry], known: Collection[str]
) -> tuple[list[ServiceEntry], list[str]]:
    """The entries, each after those it depends on, and a sentence for each that cannot be placed.

    `known` names what is there already. An entry cannot be placed when its name stands twice, or when what it depends
    on is not there, cannot be placed itself, or depends on it in turn.
    """
    counted = Counter(entry.name for entry in entries)
    problems = [f"{name}: it stands {times} times in the list." for name, times in counted.items() if times > 1]
    waiting = {entry.name: entry for entry in entries if counted[entry.name] == 1}
    ordered: list[ServiceEntry] = []
    placed = set(known)
    while ready := [entry for entry in waiting.values() if entry.name in known or placed.issuperset(entry.depends_on)]:
        for entry in ready:
            ordered.append(waiting.pop(entry.name))
            placed.add(entry.name)
    for entry in waiting.values():
        missing = [name for name in entry.depends_on if name not in placed]
        problems.append(f"{entry.name}: {_why_not_placed(missing, waiting)}")
    return ordered, problems


def _why_not_placed(missing: Iterable[str], waiting: Collection[str]) -> str:
    unknown = [name for name in missing if name not in waiting]
    if unknown:
        return f"it depends on {', '.join(unknown)}, which is no service that is there or could be made."
    return f"it depends on {', '.join(missing)}, and that on it in turn or on something that could not be made."


def _entry(number: int, value: Any) -> Listed:
    label = f"entry {number}"
    if isinstance(value, dict) and isinstance(value.get("name"), str) and value["name"].strip():
        label = clip(value["name"].strip(), 100)
    try:
        entry = _FileEntry.model_validate(value)
    except ValidationError as error:
        problems = [_in_words(found) for found in error.errors(include_url=False, include_input=False)]
        return Listed(problems=(f"{label}: {'; '.join(problems)}.",))
    return Listed(
        entries=(
            ServiceEntry(
                name=entry.name.strip(),
                base_url=entry.base_url,
                owner=entry.owner,
                runbook_url=entry.runbook_url,
                interval=entry.interval,
                timeout=entry.timeout,
                depends_on=tuple(dict.fromkeys(name.strip() for name in entry.depends_on)),
            ),
        )
    )


def _in_words(found: Any) -> str:
    name = ".".join(str(part) for part in found["loc"])
    if found["type"] == "missing":
        return f"“{name}” is missing"
    if found["type"] == "extra_forbidden":
        return f"“{clip(name, 80)}” is not known (known are {', '.join(_FileEntry.model_fields)})"
    if not name:
        return "it is not an object with “name” and “base_url”"
    return f"“{name}”: {found['msg'][0].lower()}{found['msg'][1:]}"
