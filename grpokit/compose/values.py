"""What is wrong with one value: the usual slips of YAML get their own message."""

from __future__ import annotations

import math
import re
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from grpokit.compose.diagnostics import did_you_mean, shown
from grpokit.compose.fields import Slot, choices, is_number, members, nullable
from grpokit.compose.nodes import Node
from grpokit.compose.scalars import MAX_DIGITS, resolve

__all__ = ["mismatch"]

_RANGE = frozenset({"greater_than", "greater_than_equal", "less_than", "less_than_equal"})
_LENGTH = frozenset({"too_short", "too_long", "string_too_short", "string_too_long"})
_WORDS = {"yes": True, "y": True, "on": True, "no": False, "n": False, "off": False}

Finding = tuple[str, str, str]
"""Code, what is wrong, what to do."""


def mismatch(error: Any, node: Node, here: Slot) -> Finding:
    """What pydantic's error means for the person who wrote the value."""
    return _constraint(error, node) or _wrong_type(node, here)


def _constraint(error: Any, node: Node) -> Finding | None:
    """A value of the right type that breaks a limit or a rule."""
    kind: str = error["type"]
    context = error.get("ctx", {})
    value = node.value
    if kind in {"value_error", "assertion_error"}:
        return "K411", str(context.get("error", "this is not accepted")), ""
    if isinstance(value, float) and not math.isfinite(value):
        return "K407", f"{node.text or value} is no finite number", "write a finite number"
    if kind in _RANGE or kind.endswith("_size"):
        return (
            "K406",
            f"{node.text or shown(value)} is out of range",
            "choose a number within the limits",
        )
    if kind in _LENGTH:
        return "K409", *_length(kind, value)
    if kind == "string_pattern_mismatch":
        form = context.get("pattern", "")
        return "K410", f"{shown(value)} does not have the asked form", f"match {form}"
    return None


def _wrong_type(node: Node, here: Slot) -> Finding:
    wanted = members(here.annotation)
    options = choices(here)
    if node.value is None and not node.quoted:
        found = _nothing(here)
    elif is_number(here):
        found = _number(node, here)
    elif bool in wanted and str not in wanted:
        found = _boolean(node)
    elif options and not isinstance(node.value, dict | list):
        found = _choice(node, options)
    elif any(isinstance(member, type) and issubclass(member, BaseModel) for member in wanted):
        found = _section(node, here)
    elif str in wanted:
        found = _text(node)
    else:
        found = _collection(node, wanted)
    return found


def _length(kind: str, value: Any) -> tuple[str, str]:
    if not value:
        return "this is empty", "write at least one"
    return f"this is too {'short' if 'short' in kind else 'long'}", "keep within the limits"


def _nothing(here: Slot) -> Finding:
    remedy = "write a value after the `:`"
    if not here.required:
        remedy += ", or remove the key to get the default"
    return "K403", "there is no value", remedy


def _number(node: Node, here: Slot) -> Finding:
    value = node.value
    if isinstance(value, str):
        return "K404", *_text_for_number(node, here)
    if isinstance(value, bool):
        return "K403", f"{shown(value)} is no number", "write a number"
    if isinstance(value, float):
        whole = f"write {int(value)}" if value.is_integer() else f"write {round(value)}"
        return "K403", f"{node.text or value} is no whole number", whole
    return "K403", f"this is {shown(value)}, not a number", "write one number"


def _text_for_number(node: Node, here: Slot) -> tuple[str, str]:
    text = node.value.strip()
    if node.quoted and _numeric(text):
        return f"the number {text} is in quotes, so it is text", "remove the quotes"
    plain = re.sub(r"(?<=\d)[_,' ](?=\d{3}\b)", "", text)
    if plain != text and _numeric(plain):
        return f"{shown(text)} is text, because of its separators", f"write {plain}"
    if text.endswith("%") and _numeric(text[:-1]):
        return f"{shown(text)} is text", f"write {float(text[:-1]) / 100:g}"
    if text.lower() in {"none", "nil", "nan", "inf", "-inf", "infinity"} and nullable(here):
        return f"{shown(text)} is text", "write null"
    if re.fullmatch(r"\d+,\d+", text):
        return f"{shown(text)} is text", f"write {text.replace(',', '.')}"
    return f"{shown(node.value)} is text", "write a number"


def _numeric(text: str) -> bool:
    if not text or len(text) > MAX_DIGITS:
        return False
    value = resolve(text)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _boolean(node: Node) -> Finding:
    value = node.value
    if isinstance(value, str):
        word = value.strip().lower()
        if word in {"true", "false"}:
            cure = "remove the quotes" if node.quoted else f"write {word}"
            return "K405", f"{shown(value)} is text", cure
        if word in _WORDS:
            fact = f"`{value}` is text in YAML 1.2, not true or false"
            return "K405", fact, f"write {shown(_WORDS[word])}"
    if value in {0, 1} and not isinstance(value, bool | str):
        return "K405", f"{value} is a number", f"write {shown(bool(value))}"
    return "K405", f"{shown(value)} is neither true nor false", "write true or false"


def _choice(node: Node, options: tuple[Any, ...]) -> Finding:
    value = node.value
    if isinstance(value, bool):
        return "K408", f"{shown(value)} is none of the choices", "write one of them"
    near = did_you_mean(str(value), [str(option) for option in options])
    return "K408", f"{shown(value)} is none of the choices", near or "write one of them"


def _section(node: Node, here: Slot) -> Finding:
    value = node.value
    if isinstance(value, dict):
        return "K403", "the mapping does not fit", "see the reference"
    fact = f"{shown(value)} stands where a mapping is asked for"
    for member in members(here.annotation):
        keys = getattr(member, "model_fields", {})
        first = next((key for key in ("use", "id") if key in keys), None)
        if first and isinstance(value, str):
            return "K403", fact, f"write {{{first}: {value[:60]}}}"
    if isinstance(value, bool) and nullable(here):
        cure = "leave the key out to get the defaults" if value else "write null to switch it off"
        return "K403", fact, cure
    if isinstance(value, list):
        return "K403", fact, "remove the `- ` before its keys"
    return "K403", fact, "write its keys below it, indented"


def _text(node: Node) -> Finding:
    value = node.value
    if isinstance(value, dict):
        empty = [key for key, child in value.items() if child.value is None and not child.text]
        if len(value) == 1 and empty:
            fact = f"YAML reads {{{empty[0]}}} as a mapping"
            return "Y216", fact, f"put the text in quotes: '{{{empty[0]}}}'"
        return "K403", "this is a mapping, not text", "write one text; quote it if it holds `: `"
    if isinstance(value, list):
        return "K403", "this is a list, not text", "write one text; quote it if it begins with ["
    return "K403", f"{node.text or shown(value)} is no text", f'put it in quotes: "{node.text}"'


def _collection(node: Node, wanted: tuple[Any, ...]) -> Finding:
    value = node.value
    fact = f"{shown(value)} has the wrong type"
    for member in wanted:
        if get_origin(member) in {list, tuple, set, frozenset}:
            inner = members(get_args(member)[0])
            component = any("use" in getattr(kind, "model_fields", {}) for kind in inner)
            if isinstance(value, dict):
                return "K403", fact, "write a list: begin each item with `- `"
            item = f"{{use: {value}}}" if component else f"{value}"
            return "K403", fact, f"write a list: [{item}]"
        if get_origin(member) is dict:
            return "K403", fact, "write `key: value` lines below it, indented"
    return "K403", fact, "correct it"
