"""Forms of tags, found in one pass.

Each function says in its docstring which regular expression it stands for. The expressions themselves
backtrack, some of them for minutes on a hostile completion.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["after_spaces", "between", "each_once", "soft_form", "strict_form"]

OPEN, CLOSE, ANSWER, END = "<reasoning>", "</reasoning>", "<answer>", "</answer>"


def _positions(text: str, word: str, start: int = 0) -> Iterator[int]:
    """Where the word begins, first to last, without overlaps."""
    position = text.find(word, start)
    while position >= 0:
        yield position
        position = text.find(word, position + len(word))


def after_spaces(text: str, position: int) -> int:
    """The first position from here on that is no white space."""
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def each_once(text: str, words: tuple[str, ...]) -> bool:
    """Whether each word occurs exactly once, in this order."""
    found = [text.find(word) for word in words]
    return (
        all(text.count(word) == 1 for word in words) and -1 not in found and found == sorted(found)
    )


def between(text: str, opening: str, closing: str) -> str | None:
    """The content of the last complete pair that is not empty."""
    end = len(text)
    while (stop := text.rfind(closing, 0, end)) >= 0:
        start = text.rfind(opening, 0, stop)
        if start < 0:
            return None
        content = text[start + len(opening) : stop]
        if content.strip():
            return content
        end = start
    return None


def strict_form(text: str, *, legacy: bool = False) -> bool:
    r"""``^<reasoning>\n.*?\n</reasoning>\n<answer>\n.*?\n</answer>\n$``.

    The legacy form is that expression without ``DOTALL``: reasoning and answer are one line each, and
    the text ends with one line break or two. Otherwise they may have many lines, each tag stands once,
    and the break at the end may be missing.
    """
    if legacy:
        lines = text.split("\n")
        tail = lines[6:]
        frame = [*lines[0:1], *lines[2:4], *lines[5:6]]
        return frame == [OPEN, CLOSE, ANSWER, END] and tail in ([""], ["", ""])
    if not each_once(text, (OPEN, CLOSE, ANSWER, END)):
        return False
    body = text.removesuffix("\n")
    reasoning, joint, answer = body.partition(f"\n{CLOSE}\n{ANSWER}\n")
    return (
        bool(joint)
        and reasoning.startswith(f"{OPEN}\n")
        and answer.endswith(f"\n{END}")
        and bool(reasoning[len(OPEN) :].strip())
        and bool(answer[: -len(END)].strip())
    )


def soft_form(text: str, *, legacy: bool = False) -> bool:
    r"""``<reasoning>.*?</reasoning>\s*<answer>.*?</answer>`` at the start of the text.

    The legacy form is that expression without ``DOTALL``: the reasoning is one line, and so is the
    answer. Otherwise they may have many lines, and white space may stand before the first tag. Text may
    follow in both.
    """
    text = text if legacy else text.lstrip()
    if not text.startswith(OPEN):
        return False
    line_end = text.find("\n") if legacy else -1
    last = len(text) if line_end < 0 else line_end
    last_end = text.rfind(END, 0, last)
    for close in _positions(text, CLOSE, len(OPEN)):
        if close + len(CLOSE) > last:
            return False
        start = after_spaces(text, close + len(CLOSE))
        if not text.startswith(ANSWER, start):
            continue
        inside = start + len(ANSWER)
        if start < last:
            if last_end >= inside:
                return True
            if not legacy:
                return False
            continue
        # Legacy, and the white space held line breaks: the answer has a line of its own.
        newline = text.find("\n", inside)
        if text.find(END, inside, len(text) if newline < 0 else newline) >= 0:
            return True
    return False
