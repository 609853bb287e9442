"""What a component lets its user set: name, type, default, limits and sentence of each setting."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from grpokit.spec.config import Config, documented

__all__ = ["Setting", "describe"]

_WORDS: dict[object, str] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
    Path: "path",
    type(None): "null",
    Any: "anything",
}
_LIMITS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "multiple_of": "multiple of"}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One key under ``with:``. ``default`` is JSON text, empty for a required key."""

    name: str
    type: str
    required: bool
    default: str
    doc: str


def describe(model: type[Config], prefix: str = "") -> tuple[Setting, ...]:
    """The settings of a model in its own order; a nested section's keys are dotted."""
    return tuple(_settings(documented(model), prefix))


def _settings(model: type[Config], prefix: str) -> Iterator[Setting]:
    for field_name, field in model.model_fields.items():
        name = prefix + (field.alias or field_name)
        required = field.is_required()
        yield Setting(
            name=name,
            type=_type_text(field.annotation) + _limits(field),
            required=required,
            default="" if required else _default(field),
            doc=" ".join((field.description or "").split()),
        )
        for section in _sections(field.annotation):
            yield from _settings(section, f"{name}.")


def _sections(annotation: Any) -> Iterator[type[Config]]:
    if isinstance(annotation, type) and issubclass(annotation, Config):
        yield annotation
    elif get_origin(annotation) in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from _sections(part)


def _type_text(annotation: Any) -> str:
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation in _WORDS:
        text = _WORDS[annotation]
    elif origin is Literal:
        text = " | ".join(json.dumps(arg) for arg in args)
    elif origin in (Union, types.UnionType):
        text = " | ".join(_type_text(arg) for arg in args)
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        text = f"map of {_type_text(args[0])} to {_type_text(args[1])}"
    elif origin is tuple and Ellipsis not in args:
        text = "list of " + ", ".join(_type_text(arg) for arg in args)
    elif isinstance(origin, type) and issubclass(origin, Sequence | set | frozenset):
        text = f"list of {_type_text(args[0])}"
    elif isinstance(annotation, type) and issubclass(annotation, Config):
        text = "section"
    elif origin is not None and hasattr(annotation, "__metadata__"):
        text = _type_text(args[0])  # Annotated[...]
    else:
        text = getattr(annotation, "__name__", str(annotation))
    return text


def _limits(field: FieldInfo) -> str:
    found = []
    for item in field.metadata:
        for key, sign in _LIMITS.items():
            value = getattr(item, key, None)
            if value is not None:
                found.append(f"{sign} {value}")
        low, high = getattr(item, "min_length", None), getattr(item, "max_length", None)
        if low:
            found.append(f"at least {low} long")
        if high is not None:
            found.append(f"at most {high} long")
        pattern = getattr(item, "pattern", None)
        if pattern:
            found.append(f"matching {pattern}")
    return f" ({', '.join(found)})" if found else ""


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, Config):
        value = value.model_dump(mode="json", by_alias=True)
    elif isinstance(value, set | frozenset):
        value = sorted(value)
    return json.dumps(value, default=str)
