"""What every section is: a Pydantic class that registers itself (CF-6)."""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

from sysconf.sections.marks import Dangerous, Unit

_KEY = re.compile(r"[a-z][a-z0-9_]{0,63}")
_registry: dict[str, type[Section]] = {}


def objection(field: str, sentence: str) -> PydanticCustomError:
    """What a rule over several fields raises: the sentence is shown beside `field`."""
    return PydanticCustomError("objection", "{sentence}", {"field": field, "sentence": sentence})


class Section(BaseModel):
    """One section. A subclass with `key`, `title`, `description` and fields with defaults is all that it needs.

    Form, review page, history, API and cache come from it. Values are strict JSON: a number is not a text, and nothing
    unknown is accepted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    key: ClassVar[str] = ""
    title: ClassVar[str] = ""
    description: ClassVar[str] = ""

    @classmethod
    def __pydantic_init_subclass__(cls, **_kwargs: Any) -> None:
        """Register the section. Raises `TypeError` for one that could not work."""
        if not _KEY.fullmatch(cls.key) or not cls.title:
            raise TypeError(f"{cls.__name__}: a section needs a key like `trading_hours` and a title")
        if cls.key in _registry:
            raise TypeError(f"{cls.__name__}: there is already a section “{cls.key}”")
        required = [name for name, field in cls.model_fields.items() if field.is_required()]
        if required:
            raise TypeError(f"{cls.__name__}: without a default there is no value to begin with: {', '.join(required)}")
        _registry[cls.key] = cls

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> Self:
        """The section out of JSON values. Raises `pydantic.ValidationError`, and `ValueError` for what is no JSON."""
        return cls.model_validate_json(json.dumps(values))

    def to_values(self) -> dict[str, Any]:
        """JSON values, all of them."""
        return self.model_dump(mode="json")

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """The JSON values that hold before anybody has saved."""
        return cls().to_values()

    @classmethod
    def dangers(cls, name: str) -> tuple[Dangerous, ...]:
        """What makes an edit of the field dangerous."""
        return tuple(mark for mark in cls.model_fields[name].metadata if isinstance(mark, Dangerous))

    @classmethod
    def unit(cls, name: str) -> Unit | None:
        """The field's unit, if it has one."""
        return next((mark for mark in cls.model_fields[name].metadata if isinstance(mark, Unit)), None)

    @classmethod
    def label(cls, name: str) -> str:
        """The field's name for people."""
        return cls.model_fields[name].title or name.replace("_", " ").capitalize()


def all_sections() -> tuple[type[Section], ...]:
    """Every section, by title."""
    return tuple(sorted(_registry.values(), key=lambda section: section.title))


def find_section(key: str) -> type[Section] | None:
    """The section of this key, or None."""
    return _registry.get(key)


def forget_section(key: str) -> None:
    """Take a section out again; for tests that made one."""
    _registry.pop(key, None)
