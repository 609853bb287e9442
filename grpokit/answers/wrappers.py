r"""Where the answer stands in a completion.

One policy for all: thinking blocks do not count, an open one means that there is no answer; the last
non-empty complete wrapper wins; nothing found is None. Everything is found with ``str.find`` and one
pass over the braces, so a hostile completion costs linear time.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["has_boxed", "last_boxed", "last_hash", "last_tag", "strip_thinking"]

OPEN, CLOSE = "<think>", "</think>"
BOXES = ("\\boxed", "\\fbox")


def strip_thinking(text: str) -> str | None:
    """The text without ``<think>...</think>``; None if a block is still open.

    A ``</think>`` without an opening (the chat template wrote it into the prompt) ends a block that
    began before the completion.
    """
    kept = []
    first_close, first_open = text.find(CLOSE), text.find(OPEN)
    position = 0
    if first_close >= 0 and (first_open < 0 or first_close < first_open):
        position = first_close + len(CLOSE)
    while True:
        start = text.find(OPEN, position)
        if start < 0:
            kept.append(text[position:])
            return "".join(kept)
        kept.append(text[position:start])
        end = text.find(CLOSE, start)
        if end < 0:
            return None
        position = end + len(CLOSE)


def last_boxed(text: str) -> str | None:
    r"""The content of the last non-empty ``\boxed{...}`` or ``\fbox{...}``; ``\boxed 5`` counts too."""
    partner = _braces(text)
    for start in _from_the_end(text, BOXES):
        content = _argument(text, start, partner)
        if content is not None and content.strip():
            return content.strip()
    return None


def has_boxed(text: str) -> bool:
    r"""Whether a box was begun, complete or not, empty or not."""
    return any(box in text for box in BOXES)


def last_hash(text: str) -> str | None:
    """What follows the last ``####`` on its line (the GSM8K convention), if it is not empty."""
    end = len(text)
    while (start := text.rfind("####", 0, end)) >= 0:
        newline = text.find("\n", start, end)
        content = text[start + 4 : end if newline < 0 else newline].strip()
        if content:
            return content
        end = start
    return None


def last_tag(text: str, tag: str) -> str | None:
    """The content of the last non-empty ``<tag>...</tag>``."""
    opening, closing = f"<{tag}>", f"</{tag}>"
    end = len(text)
    while (stop := text.rfind(closing, 0, end)) >= 0:
        start = text.rfind(opening, 0, stop)
        if start < 0:
            return None
        content = text[start + len(opening) : stop].strip()
        if content:
            return content
        end = start
    return None


def _from_the_end(text: str, words: tuple[str, ...]) -> Iterator[int]:
    """Positions behind each of the words, last first. Each word's search goes over the text once."""
    found = {word: text.rfind(word) for word in words}
    while True:
        word = max(found, key=found.__getitem__)
        start = found[word]
        if start < 0:
            return
        yield start + len(word)
        found[word] = text.rfind(word, 0, start)


def _braces(text: str) -> dict[int, int]:
    r"""Position of each ``{`` that is closed -> position of its ``}``. ``\{`` and ``\}`` are text."""
    partner: dict[int, int] = {}
    stack: list[int] = []
    escaped = False
    for position, char in enumerate(text):
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == "{":
            stack.append(position)
        elif char == "}" and stack:
            partner[stack.pop()] = position
    return partner


def _argument(text: str, position: int, partner: dict[int, int]) -> str | None:
    """The argument of a LaTeX command whose name ends at ``position``."""
    while position < len(text) and text[position] in " \t\n":
        position += 1
    if position == len(text):
        return None
    if text[position] == "{":
        end = partner.get(position)
        return None if end is None else text[position + 1 : end]
    # Without braces: one number or one letter, as people write it.
    end = position
    while end < len(text) and text[end].isalnum():
        end += 1
    return text[position:end] or None
