"""What a rule shall be: checked here for every door, all errors at once, each with its field in plain words (AL-1)."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from alerting.conditions import CONDITIONS, Condition, find_condition
from alerting.intake import LABEL_NAME_MAX, LABEL_VALUE_MAX, is_label_name, masked_name
from alerting.models import Comparison, Severity
from alerting.wording import value_words
from opsportal.accounts.records import plain_text
from opsportal.accounts.refusals import InvalidInput
from opsportal.observability.sanitise import mask_text

NAME_MAX = 100
DESCRIPTION_MAX = 500
OWNER_MAX = 100
URL_MAX = 500
FOR_MAX = 86_400
LABELS_MAX = 20
CHANNELS_MAX = 50
LARGEST_ID = 2**63 - 1

_COMPARISONS = {
    **{comparison.value: comparison for comparison in Comparison},
    ">": Comparison.GT, ">=": Comparison.GTE, "≥": Comparison.GTE,
    "<": Comparison.LT, "<=": Comparison.LTE, "≤": Comparison.LTE,
    "=": Comparison.EQ, "==": Comparison.EQ,
}  # fmt: skip
_SEVERITIES = {severity.word: severity for severity in Severity}


class InvalidFields(InvalidInput):
    """Several values are wrong. `errors` has a sentence for each field; `field` and `sentence` are of the first."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        self.errors = dict(errors)
        field, sentence = next(iter(self.errors.items()))
        super().__init__(field, sentence)


def wrong(sentence: str, field: str = "") -> PydanticCustomError:
    """An objection of a validator in plain words; `field` where it is not the validated one."""
    # Pydantic fills {…} in from its own values, so the sentence comes as one.
    return PydanticCustomError("alerting", "{sentence}", {"sentence": sentence, "field": field})


class RuleDraft(BaseModel):
    """Everything that people choose of a rule."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str = ""
    metric: str
    comparison: Comparison
    threshold: float
    severity: Severity = Severity.WARNING
    for_seconds: int = 0
    labels: dict[str, str] = Field(default_factory=dict)
    channels: tuple[int, ...] = ()
    enabled: bool = True
    notify_resolved: bool = True
    trips_breaker: bool = False
    owner: str = ""
    runbook_url: str = ""

    @field_validator("name", mode="before")
    @classmethod
    def _name(cls, value: Any) -> str:
        name = _line("name", value, NAME_MAX, "The name")
        if not name:
            raise wrong("Give the rule a name: it is the first thing that people read when it fires.")
        return name

    @field_validator("description", mode="before")
    @classmethod
    def _description(cls, value: Any) -> str:
        return _line("description", value, DESCRIPTION_MAX, "The description")

    @field_validator("owner", mode="before")
    @classmethod
    def _owner(cls, value: Any) -> str:
        return _line("owner", value, OWNER_MAX, "The owner")

    @field_validator("metric", mode="before")
    @classmethod
    def _metric(cls, value: Any) -> str:
        if not isinstance(value, str) or find_condition(value) is None:
            raise wrong(f"There is no such metric. There are: {', '.join(CONDITIONS)}.")
        return value

    @field_validator("comparison", mode="before")
    @classmethod
    def _comparison(cls, value: Any) -> Comparison:
        found = _COMPARISONS.get(value.strip().lower()) if isinstance(value, str) else None
        if found is None:
            raise wrong("Choose how to compare: gt (>), gte (≥), lt (<), lte (≤) or eq (=).")
        return found

    @field_validator("threshold", mode="before")
    @classmethod
    def _threshold(cls, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong("Give the threshold as a number.")
        try:
            number = float(value)
        except OverflowError:
            raise wrong("The threshold is far too large.") from None
        if not isfinite(number):
            raise wrong("The threshold must be a finite number.")
        return number + 0.0  # -0.0 is 0

    @field_validator("severity", mode="before")
    @classmethod
    def _severity(cls, value: Any) -> Severity:
        if isinstance(value, str) and value.lower() in _SEVERITIES:
            return _SEVERITIES[value.lower()]
        if isinstance(value, int) and not isinstance(value, bool) and value in Severity.values:
            return Severity(value)
        raise wrong(f"Choose a severity: {', '.join(_SEVERITIES)}.")

    @field_validator("for_seconds", mode="before")
    @classmethod
    def _for(cls, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= FOR_MAX:
            raise wrong("A condition may have to hold for 0 seconds to 24 hours, in whole seconds.")
        return value

    @field_validator("labels", mode="before")
    @classmethod
    def _labels(cls, value: Any) -> dict[str, str]:
        return checked_labels(value)

    @field_validator("channels", mode="before")
    @classmethod
    def _channels(cls, value: Any) -> tuple[int, ...]:
        ids: list[Any] = list(value) if isinstance(value, list | tuple | set | frozenset) else [None]
        if any(isinstance(one, bool) or not isinstance(one, int) or not 0 < one <= LARGEST_ID for one in ids):
            raise wrong("Give the channels by their numbers.")
        if len(ids) > CHANNELS_MAX:
            raise wrong(f"These are {len(ids):,} channels; a rule has at most {CHANNELS_MAX}.")
        return tuple(sorted(set(ids)))

    @field_validator("enabled", "notify_resolved", "trips_breaker", mode="before")
    @classmethod
    def _switch(cls, value: Any) -> bool:
        if not isinstance(value, bool):
            raise wrong("Choose yes or no (true or false).")
        return value

    @field_validator("runbook_url", mode="before")
    @classmethod
    def _runbook(cls, value: Any) -> str:
        return _web_address(value)

    @model_validator(mode="after")
    def _threshold_makes_sense(self) -> RuleDraft:
        condition = find_condition(self.metric)
        if condition is not None and not condition.low <= self.threshold <= condition.high:
            raise wrong(range_words(condition), "threshold")
        return self

    def condition(self) -> tuple[Any, ...]:
        """What decides when the rule fires."""
        return (self.metric, self.comparison.value, self.threshold, self.for_seconds, self.labels)


def range_words(condition: Condition) -> str:
    """The sane range of a threshold, as a sentence."""
    low, high = value_words(condition.name, condition.low), value_words(condition.name, condition.high)
    return f"A threshold of {condition.title} lies between {low} and {high}."


def drafted(values: Mapping[str, Any]) -> RuleDraft:
    """The checked draft. Raises `InvalidFields`."""
    try:
        return RuleDraft(**dict(values))
    except ValidationError as error:
        raise InvalidFields(errors_of(error)) from None


def errors_of(error: ValidationError) -> dict[str, str]:
    """Field to its first sentence."""
    found: dict[str, str] = {}
    for one in error.errors(include_url=False, include_input=False):
        place = str(one["loc"][0])[:64] if one["loc"] else ""
        field = str(one.get("ctx", {}).get("field", "")) or place or "name"
        found.setdefault(field, _sentence(dict(one), field))
    return found


def _sentence(one: dict[str, Any], field: str) -> str:
    if one["type"] == "missing":
        return f"Say the {field.replace('_', ' ')}: it is missing."
    if one["type"] == "extra_forbidden":
        return "A rule has no such field."
    return str(one["msg"])


def checked_labels(value: Any) -> dict[str, str]:
    """Labels to match. Raises an objection for a validator."""
    if not isinstance(value, Mapping) or not all(isinstance(part, str) for pair in value.items() for part in pair):
        raise wrong("Give the labels as names with their values.")
    if len(value) > LABELS_MAX:
        raise wrong(f"These are {len(value):,} labels; at most {LABELS_MAX} can be matched.")
    labels = {name: text.strip() for name, text in value.items()}
    for name, text in labels.items():
        _check_label(name, text)
    return labels


def _check_label(name: str, text: str) -> None:
    # As of what is taken in: a rule about any other label would never fire.
    if not is_label_name(name):
        raise wrong(f"A label's name is 1 to {LABEL_NAME_MAX} characters long, all of which can be shown.")
    if masked_name(name) != name:
        raise wrong(
            "The name of a label holds what looks like a key, a password or an e-mail address. Labels stand in lists "
            "and logs: match another one."
        )
    if not text:
        raise wrong(f"The label {name} has no value. Write it as {name}=value.")
    if len(text) > LABEL_VALUE_MAX:
        raise wrong(f"The value of the label {name} has {len(text):,} characters; at most {LABEL_VALUE_MAX} are kept.")
    if not text.isprintable():
        raise wrong(f"The value of the label {name} holds a character that cannot be shown. Type it again.")
    if mask_text(text) != text:
        raise wrong(
            f"The label {name} holds what looks like a key, a password, an e-mail address or a telephone number. "
            "Labels stand in lists and logs: match another one."
        )


def _line(field: str, value: Any, longest: int, name: str) -> str:
    if not isinstance(value, str):
        raise wrong(f"{name} must be text.")
    try:
        return plain_text(field, value, longest=longest, name=name)
    except InvalidInput as refusal:
        raise wrong(refusal.sentence) from None


def _web_address(value: Any) -> str:
    text = value.strip() if isinstance(value, str) else None
    if text == "":
        return ""
    if text is None or not text.isprintable() or " " in text:
        raise wrong("Give the runbook as an address such as https://wiki.example.com/runbook.")
    if len(text) > URL_MAX:
        raise wrong(f"The address has {len(text):,} characters; at most {URL_MAX} are kept.")
    try:
        parts = urlsplit(text)
        host, user = parts.hostname, parts.username or parts.password
        _ = parts.port
    except ValueError:
        host, user, parts = None, None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise wrong("The runbook's address must begin with http:// or https:// and name a host.")
    if user or mask_text(text) != text:
        raise wrong("The address holds what looks like a password or a key. It stands in every message: leave it out.")
    return text
