"""The confidence that a completion states, and whether its blocks stand in the declared order."""

from __future__ import annotations

import re
from collections.abc import Sequence

from grpokit.api import last_tag

__all__ = ["confidence_of", "in_order"]

NUMBER = re.compile(r"(?:\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})", re.ASCII)


def confidence_of(text: str, tag: str) -> float | None:
    """The number in the last ``<tag>``: 0 to 1, or a percentage with its sign; else None."""
    found = last_tag(text, tag)
    if found is None:
        return None
    percent = found.endswith("%")
    number = found[:-1].rstrip() if percent else found
    if NUMBER.fullmatch(number) is None:
        return None
    value = float(number) / (100 if percent else 1)
    return value if value <= 1 else None


def in_order(text: str, blocks: Sequence[str]) -> bool:
    """Whether ``<a>...</a><b>...</b>`` with nothing but space between them end the text.

    A first block ``think`` may have been opened by the prompt: only its end is looked for.
    """
    rest = text
    for place, block in enumerate(blocks):
        if place == 0 and block == "think":
            _, found, rest = rest.partition("</think>")
            if not found:
                return False
            continue
        rest = rest.lstrip()
        if not rest.startswith(f"<{block}>"):
            return False
        _, found, rest = rest.partition(f"</{block}>")
        if not found:
            return False
    return not rest.strip()
