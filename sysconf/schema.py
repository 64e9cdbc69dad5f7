"""How OpenAPI describes the sections: made from their classes, in the words of OpenAPI 3.0."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.utils import PolymorphicProxySerializer
from pydantic import BaseModel, create_model

from sysconf.sections import Section, all_sections


class Answer(BaseModel):
    """What the API says of one section; see `answer_of`."""


class AnswerExtension(OpenApiSerializerExtension):
    """As drf-spectacular's own for Pydantic, which writes JSON Schema where OpenAPI 3.0 differs."""

    target_class = Answer
    match_subclasses = True
    priority = 1

    def get_name(self, auto_schema: Any, direction: Any) -> str:
        """The class's name."""
        return str(self.target.__name__)

    def map_serializer(self, auto_schema: Any, direction: Any) -> Any:
        """The shape, with what it refers to as components of their own."""
        shape = as_openapi(_shape(self.target))
        for name, part in shape.pop("$defs", {}).items():
            component = ResolvedComponent(name=name, type=ResolvedComponent.SCHEMA, object=name, schema=part)
            auto_schema.registry.register_on_missing(component)
        return shape


def _shape(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema(ref_template="#/components/schemas/{model}", mode="serialization")


def as_openapi(schema: Any) -> Any:
    """JSON Schema as OpenAPI 3.0 writes it: constants, values that may be null, bounds that do not belong."""
    if isinstance(schema, list):
        return [as_openapi(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: as_openapi(part) for name, part in schema.items()}
    if "const" in found:
        found["enum"] = [found.pop("const")]
    for bound, edge in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(found.get(edge), int | float) and not isinstance(found[edge], bool):
            found[bound], found[edge] = found[edge], True
    options = found.get("anyOf", [])
    if {"type": "null"} in options:
        rest = [option for option in options if option != {"type": "null"}]
        found.pop("anyOf")
        found |= rest[0] if len(rest) == 1 and "$ref" not in rest[0] else {"anyOf": rest}
        found["nullable"] = True
    return found


def answer_of(section: type[Section]) -> type[Answer]:
    """The shape of the answer for one section. Only described with, never filled."""
    name: Any = f"{section.__name__}Config"
    fields: dict[str, Any] = {
        "section": (Literal[section.key], ...),
        "version": (int, ...),
        "values": (section, ...),
        "changed_at": (datetime | None, ...),
    }
    text = f"{section.title}. Version 0 are the defaults: nobody has saved the section yet."
    return create_model(name, __base__=Answer, __doc__=text, **fields)


_SHAPES: Any = {section.key: answer_of(section) for section in all_sections()}
ANSWERS = PolymorphicProxySerializer(component_name="Config", serializers=_SHAPES, resource_type_field_name="section")
