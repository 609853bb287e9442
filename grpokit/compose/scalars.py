"""Plain scalars by the YAML 1.2 core schema.

PyYAML implements YAML 1.1, where ``1e-6`` is text, ``no`` is false, ``012`` is ten, ``1_000`` is a
number and ``1:30`` is ninety. Here ``1e-6`` is a float, ``no``, ``1_000`` and ``1:30`` are text,
and ``012`` is twelve, as 1.2 says, but reported, since most tools disagree.
"""

from __future__ import annotations

import re

__all__ = ["MAX_DIGITS", "has_leading_zero", "reads_as_text", "resolve"]

MAX_DIGITS = 60
"""Characters of a number. Longer ones are a mistake, and slow to convert."""

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INF = re.compile(r"[-+]?\.(inf|Inf|INF)")
_NAN = frozenset({".nan", ".NaN", ".NAN"})


def resolve(text: str) -> bool | int | float | str | None:  # noqa: PLR0911  (one return a rule)
    """The value of a plain scalar. Numbers longer than ``MAX_DIGITS`` raise ValueError."""
    if text in _NULL:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if text in _NAN:
        return float("nan")
    if _INF.fullmatch(text):
        return float(text.replace(".", ""))
    if text[0] not in "+-.0123456789":
        return text
    kind = next((kind for kind in (_INT, _OCTAL, _HEX, _FLOAT) if kind.fullmatch(text)), None)
    if kind is None:
        return text
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} characters")
    if kind is _INT:
        return int(text)
    return float(text) if kind is _FLOAT else int(text, 0)


def has_leading_zero(text: str) -> bool:
    """``012`` and ``-007``, which YAML 1.1 reads as octal."""
    digits = text.lstrip("+-")
    return bool(_INT.fullmatch(text)) and len(digits) > 1 and digits[0] == "0"


def reads_as_text(text: str) -> bool:
    """Whether a plain scalar with these characters is text and not null, a boolean or a number."""
    try:
        return isinstance(resolve(text), str)
    except ValueError:
        return False
