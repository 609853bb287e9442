r"""The chain of extractors.

The policy is that of core: a thinking block does not count, one that is still open means that there is
no answer, and the last complete wrapper that is not empty wins. The chain goes on only where a wrapper
was not used at all. A box that was begun and not closed ends the search: looking further would make an
answer up.

Every extractor goes over the text a bounded number of times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Literal, NamedTuple

from grpokit.api import has_boxed, last_boxed, last_hash, last_number, last_tag, strip_thinking
from grpokit_math.extract.nearest import denied, nearest

__all__ = ["EXTRACTORS", "Extracted", "Extractor", "as_text", "extract"]

Extractor = Literal["boxed", "tag", "hash", "nearest", "last-number"]
Reason = Literal["", "thinking", "missing", "empty", "several", "negated"]


class Extracted(NamedTuple):
    """An answer as text, or why there is none.

    Attributes:
        answer: None if nothing was found.
        by: the extractor whose wrapper the completion used; "" if it used none.
        reason: "" with an answer. ``thinking``: a thinking block is open. ``missing``: no wrapper of the
            chain was used. ``empty``: one was, and it is empty or not closed. ``several``: what
            follows "answer" names more than one number or a bound. ``negated``: the number stands behind a "not".
    """

    answer: str | None
    by: str
    reason: Reason


def extract(
    text: str, chain: Sequence[Extractor] = ("boxed",), *, tag: str = "answer"
) -> Extracted:
    """The answer of a completion, by the first extractor of the chain whose wrapper it uses.

    Args:
        text: the completion.
        chain: names of extractors, in order.
        tag: the tag of the extractor ``tag``.

    Raises:
        KeyError: the chain names no extractor.
    """
    visible = strip_thinking(text)
    if visible is None:
        return Extracted(None, "", "thinking")
    for name in chain:
        answer, reason = EXTRACTORS[name](visible, tag)
        if reason != "missing":
            return Extracted(answer, name, reason)
    return Extracted(None, "", "missing")


def as_text(value: Fraction) -> str:
    """A number as people write it: ``18``, ``0.5``, and ``1/3`` where decimals do not end."""
    if value.denominator == 1:
        return str(value.numerator)
    places, below = 0, value.denominator
    for prime in (2, 5):
        count = 0
        while below % prime == 0:
            below //= prime
            count += 1
        places = max(places, count)
    if below != 1:
        return f"{value.numerator}/{value.denominator}"
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"


Found = tuple[str | None, Reason]


def _wrapped(content: str | None) -> Found:
    return (None, "empty") if content is None else (content, "")


def _boxed(text: str, _: str) -> Found:
    return _wrapped(last_boxed(text)) if has_boxed(text) else (None, "missing")


def _tag(text: str, tag: str) -> Found:
    return _wrapped(last_tag(text, tag)) if f"<{tag}>" in text else (None, "missing")


def _hash(text: str, _: str) -> Found:
    return _wrapped(last_hash(text)) if "####" in text else (None, "missing")


def _nearest(text: str, _: str) -> Found:
    value, reason = nearest(text)
    return (None if value is None else as_text(value)), reason


def _last_number(text: str, _: str) -> Found:
    value = last_number(text)
    if value is None:
        return None, "missing"
    return (None, "negated") if denied(text) else (as_text(value), "")


EXTRACTORS: dict[str, Callable[[str, str], Found]] = {
    "boxed": _boxed,
    "tag": _tag,
    "hash": _hash,
    "nearest": _nearest,
    "last-number": _last_number,
}
"""The extractors by name: each says what it found, or why it found nothing."""
