"""What the judge answered, read strictly: a number in its declared place, bound to the nonce, or nothing."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["UnreadableError", "Verdict", "read_verdict"]

_NUMBER = r"-?[0-9]{1,12}(?:\.[0-9]{1,12})?"
_FENCE = re.compile(r"\A```(?:json)?\n(.*)\n```\Z", re.DOTALL)


class UnreadableError(Exception):
    """The answer holds no verdict; the text says why."""


@dataclass(frozen=True)
class Verdict:
    """The judge's number, on its own scale, and what it said for it."""

    grade: float
    reason: str


def read_verdict(
    answer: str, nonce: str, output: Literal["line", "json"], lowest: float, highest: float
) -> Verdict:
    """The verdict of an answer.

    ``line``: the last line that is not empty is ``VERDICT nonce: number``, and no other line says a
    different one. ``json``: the answer is one object with the keys ``verdict`` (the nonce), ``score`` and, if
    it wants, ``reason``; a fence of back-quotes around it is allowed.

    Raises:
        UnreadableError: anything else, also a number that is not on the scale.
    """
    grade, reason = (_line if output == "line" else _json)(answer.strip(), nonce)
    if not lowest <= grade <= highest:  # NaN compares false
        raise UnreadableError(f"the grade {grade:g} is not between {lowest:g} and {highest:g}")
    return Verdict(grade, reason)


def _line(answer: str, nonce: str) -> tuple[float, str]:
    form = re.compile(rf"VERDICT {re.escape(nonce)}: ({_NUMBER})")
    *before, last = answer.split("\n")
    found = form.fullmatch(last.strip())
    if found is None:
        raise UnreadableError("its last line is not the verdict that it was asked for")
    grade = float(found[1])
    others = filter(None, (form.fullmatch(line.strip()) for line in before))
    if any(float(other[1]) != grade for other in others):
        raise UnreadableError("it gives several verdicts that differ")
    return grade, "\n".join(before).strip()


def _json(answer: str, nonce: str) -> tuple[float, str]:
    fenced = _FENCE.match(answer)
    try:
        data = json.loads(fenced[1] if fenced else answer, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise UnreadableError("it is not one JSON object") from error
    if not isinstance(data, dict) or not {"verdict", "score"} <= data.keys():
        raise UnreadableError("it is not one JSON object with `verdict` and `score`")
    if data.keys() - {"verdict", "score", "reason"}:
        raise UnreadableError("its JSON object has keys that were not asked for")
    score, reason = data["score"], data.get("reason", "")
    if data["verdict"] != nonce:
        raise UnreadableError("its JSON object does not carry this request's code")
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise UnreadableError("its `score` is no number")
    try:
        grade = float(score)
    except OverflowError:
        grade = math.inf
    return grade, reason if isinstance(reason, str) else ""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)
