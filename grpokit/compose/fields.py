"""What a configuration model allows at a path: its keys, its type in words, its description."""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from grpokit.compose.nodes import Path

__all__ = [
    "Slot",
    "allowed",
    "choices",
    "is_number",
    "known_keys",
    "members",
    "model_at",
    "nullable",
    "slot",
]


@dataclass(frozen=True)
class Slot:
    """A place in a model: its annotation, the constraints on it, and the sentence about it."""

    annotation: Any
    metadata: tuple[Any, ...] = ()
    description: str = ""
    required: bool = False


def slot(model: type[BaseModel], path: Path) -> Slot | None:
    """What stands at ``path`` of the model; None where nothing can."""
    here = Slot(model)
    for step in path:
        below = _step(here.annotation, step)
        if below is None:
            return None
        here = below
    return here


def _step(annotation: Any, step: str | int) -> Slot | None:
    for member in members(annotation):
        origin = get_origin(member)
        if member is Any:
            return Slot(Any)
        if isinstance(member, type) and issubclass(member, BaseModel):
            info = _fields(member).get(str(step))
            if info is not None:
                return _of(info)
        elif origin is dict and isinstance(step, str):
            return _plain(get_args(member)[1])
        elif origin is list and isinstance(step, int):
            return _plain(get_args(member)[0])
        elif origin is tuple and isinstance(step, int):
            items = get_args(member)
            if items[-1] is Ellipsis or step < len(items):
                return _plain(items[0] if items[-1] is Ellipsis else items[step])
    return None


def _plain(annotation: Any) -> Slot:
    """An item of a collection; ``Annotated[float, Field(ge=0)]`` brings its limits along."""
    if get_origin(annotation) is not Annotated:
        return Slot(annotation)
    inner, *extras = get_args(annotation)
    limits: list[Any] = []
    for extra in extras:
        limits += extra.metadata if isinstance(extra, FieldInfo) else [extra]
    return Slot(inner, tuple(limits))


def _of(info: FieldInfo) -> Slot:
    return Slot(
        info.annotation, tuple(info.metadata), info.description or "", required=info.is_required()
    )


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Fields under the names that a recipe writes."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def members(annotation: Any) -> tuple[Any, ...]:
    """The parts of a union, Annotated unwrapped."""
    if get_origin(annotation) is Annotated:
        return members(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        return tuple(part for member in get_args(annotation) for part in members(member))
    return (annotation,)


def known_keys(model: type[BaseModel], path: Path) -> tuple[str, ...] | None:
    """The keys a mapping at ``path`` may have; empty for what is no mapping, None for any key."""
    here = slot(model, path)
    if here is None:
        return ()
    keys: list[str] = []
    for member in members(here.annotation):
        if member is Any or get_origin(member) is dict:
            return None
        if isinstance(member, type) and issubclass(member, BaseModel):
            keys += _fields(member)
    return tuple(keys)


def model_at(model: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """The model class at ``path``, where there is one."""
    here = slot(model, path)
    for member in members(here.annotation) if here else ():
        if isinstance(member, type) and issubclass(member, BaseModel):
            return member
    return None


def choices(here: Slot) -> tuple[Any, ...]:
    """The values of a Literal."""
    return tuple(
        value
        for member in members(here.annotation)
        if get_origin(member) is Literal
        for value in get_args(member)
    )


def nullable(here: Slot) -> bool:
    return any(member is type(None) or member is Any for member in members(here.annotation))


def is_number(here: Slot) -> bool:
    """Whether a number, and no text, is asked for."""
    kinds = members(here.annotation)
    return (int in kinds or float in kinds) and str not in kinds


def allowed(here: Slot) -> str:
    """The type and its limits in words: ``a whole number from 1 to 1024, or null``."""
    parts: list[str] = []
    for member in members(here.annotation):
        words = _words(member, here.metadata)
        if words and words not in parts:
            parts.append(words)
    null = "null" in parts
    words = " or ".join(part for part in parts if part != "null")
    return f"{words}, or null" if null and words else words


def _words(member: Any, metadata: tuple[Any, ...]) -> str:
    origin = get_origin(member)
    if origin is Literal:
        return ", ".join(_choice(value) for value in get_args(member))
    if origin is dict:
        return "a mapping"
    if origin in {list, tuple, set, frozenset}:
        return _list_words(member, metadata)
    if isinstance(member, type) and issubclass(member, BaseModel):
        keys = ", ".join(_fields(member))
        return f"a mapping of {keys}" if keys else "an empty mapping"
    simple = {
        bool: "true or false",
        str: "text",
        type(None): "null",
        int: "a whole number",
        float: "a number",
    }
    words = simple.get(member, "")
    return words + _limits(metadata) if member in {int, float} else words


def _list_words(member: Any, metadata: tuple[Any, ...]) -> str:
    items = get_args(member)
    if get_origin(member) is tuple and items[-1] is not Ellipsis:
        return f"a list of {len(items)} values"
    least = next((meta.min_length for meta in metadata if isinstance(meta, MinLen)), 0)
    inner = _words(items[0], ()) if items else ""
    what = f"a list of {_plural(inner)}" if inner else "a list"
    return f"{what}, with at least {least}" if least else what


def _plural(words: str) -> str:
    if words.startswith("a mapping of use"):
        return "components, each `{use: NAME}`"
    known = {"text": "texts", "a whole number": "whole numbers", "a number": "numbers"}
    return known.get(words, "mappings" if words.startswith("a mapping") else words)


def _choice(value: Any) -> str:
    return f"`{value}`" if isinstance(value, str) else str(value)


def _limits(metadata: tuple[Any, ...]) -> str:
    low = high = ""
    for meta in metadata:
        match meta:
            case Ge(ge=bound):
                low = f"from {bound}"
            case Gt(gt=bound):
                low = f"above {bound}"
            case Le(le=bound):
                high = f"up to {bound}"
            case Lt(lt=bound):
                high = f"below {bound}"
            case MinLen() | MaxLen():
                pass
    if low.startswith("from") and high.startswith("up to"):
        high = high.removeprefix("up ")
        return f" {low} {high}"
    if low.startswith("from") and not high:
        low = low.removeprefix("from ") + " or more"
        return f", {low}"
    joined = " and ".join(part for part in (low, high) if part)
    return f" {joined}" if joined else ""
