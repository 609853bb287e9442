r"""Where the inside of an answer's wrapper begins.

The policy is that of grpokit's readers of answers: thinking blocks do not count, an open one means that
there is no answer, and the last complete wrapper that is not empty wins. One pass over the text each.
"""

from __future__ import annotations

from typing import Literal

__all__ = ["Wrapper", "inside", "opening"]

Wrapper = Literal["boxed", "tag", "hash"]
BOX = "\\boxed{"
HASH = "####"
OPEN, CLOSE = "<think>", "</think>"


def opening(wrapper: Wrapper, tag: str) -> str:
    """What stands before an answer that is wrapped in the plainest way."""
    return {"boxed": BOX, "tag": f"<{tag}>", "hash": f"{HASH} "}[wrapper]


def inside(text: str, wrapper: Wrapper, tag: str) -> int | None:
    """Position at which the last wrapped answer begins, spaces behind the opening passed over; None without one."""
    start = text.rfind(CLOSE) + len(CLOSE) if CLOSE in text else 0
    if text.find(OPEN, start) >= 0:
        return None
    found = _find(text, start, wrapper, tag)
    if found is None:
        return None
    begin, end = found
    return begin + len(text[begin:end]) - len(text[begin:end].lstrip())


def _find(text: str, start: int, wrapper: Wrapper, tag: str) -> tuple[int, int] | None:
    if wrapper == "boxed":
        return _box(text, start)
    if wrapper == "tag":
        return _tag(text, start, f"<{tag}>", f"</{tag}>")
    return _hash(text, start)


def _box(text: str, start: int) -> tuple[int, int] | None:
    r"""The closed, non-empty box that begins last. ``\{`` and ``\}`` are text."""
    best: tuple[int, int] | None = None
    stack: list[int] = []
    escaped = False
    for position in range(start, len(text)):
        char = text[position]
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == "{":
            stack.append(position + 1)
        elif char == "}" and stack:
            begin = stack.pop()
            later = best is None or begin > best[0]
            is_box = text.endswith(BOX, max(start, begin - len(BOX)), begin)
            if later and is_box and text[begin:position].strip():
                best = begin, position
    return best


def _tag(text: str, start: int, open_tag: str, close_tag: str) -> tuple[int, int] | None:
    end = len(text)
    while (stop := text.rfind(close_tag, start, end)) >= 0:
        begin = text.rfind(open_tag, start, stop)
        if begin < 0:
            return None
        if text[begin + len(open_tag) : stop].strip():
            return begin + len(open_tag), stop
        end = begin
    return None


def _hash(text: str, start: int) -> tuple[int, int] | None:
    end = len(text)
    while (begin := text.rfind(HASH, start, end)) >= 0:
        newline = text.find("\n", begin, end)
        stop = end if newline < 0 else newline
        if text[begin + len(HASH) : stop].strip():
            return begin + len(HASH), stop
        end = begin
    return None
