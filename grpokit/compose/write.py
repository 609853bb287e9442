"""Recipe data to YAML text that every YAML reader reads alike, also one of version 1.1.

Text that some version of YAML takes for a number, a boolean or a date is put in quotes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["annotated", "scalar_text", "to_yaml"]

_PLAIN = re.compile(r"[A-Za-z_./][\w./+@=-]*(?: [\w./+@=,()'-]+)*", re.ASCII)
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"})
_ESCAPES = {"\n": "\\n", "\t": "\\t", '"': '\\"', "\\": "\\\\", "\r": "\\r"}


def to_yaml(data: Mapping[str, Any]) -> str:
    """Block style, one value a line, keys in the order given."""
    return "".join(f"{line}\n" for line, _ in _lines(data, "", ()))


def annotated(data: Mapping[str, Any], origins: Mapping[str, str]) -> str:
    """The same with the origin of each value in a comment; ``origins`` is by dotted key."""
    lines = list(_lines(data, "", ()))
    width = min(48, max((len(line) for line, key in lines if key), default=0))
    return "".join(
        f"{line.ljust(width)}  # {origins[key]}\n" if key in origins else f"{line}\n"
        for line, key in lines
    )


def _lines(value: Any, indent: str, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Lines with the dotted key of the value on each (empty where there is none)."""
    pairs: list[tuple[str, Any, tuple[str, ...]]]
    if isinstance(value, Mapping):
        pairs = [(f"{scalar_text(key)}:", item, (*path, key)) for key, item in value.items()]
    else:
        pairs = [("-", item, (*path, str(index))) for index, item in enumerate(value)]
    for head, item, place in pairs:
        if not isinstance(item, Mapping | list | tuple) or not item:
            yield f"{indent}{head} {_leaf(item)}", ".".join(place)
        elif head == "-":
            first, *rest = _lines(item, indent + "  ", place)
            yield f"{indent}- {first[0].lstrip()}", first[1]
            yield from rest
        else:
            yield f"{indent}{head}", ""
            yield from _lines(item, indent + "  ", place)


def _leaf(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{}"
    return "[]" if isinstance(value, list | tuple) else scalar_text(value)


def scalar_text(value: Any) -> str:
    """One scalar as YAML."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float_text(value)
    if isinstance(value, int):
        return str(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS and not text.startswith("."):
        return text
    return '"' + "".join(_escaped(char) for char in text) + '"'


def _float_text(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    mantissa, e, exponent = repr(value).partition("e")
    # YAML 1.1 takes 1e-06 for text.
    return f"{mantissa}.0e{exponent}" if e and "." not in mantissa else repr(value)


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    return (
        f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
    )
