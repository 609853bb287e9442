r"""Whether an answer equals the reference answer.

verdict    what a comparison says
tokens     text to tokens, one pass; the string normal form; marks: what means the same
units      units and currency signs
cursor     the place in the tokens; numbers, commands, grammar: tokens to a tree (node)
answer     an answer as a whole: label, unit, formula or text
cost       what may go to a worker
ring       exact arithmetic with roots, pi, i and variables
intervals  sets of real numbers
compare    tuples, sets, equations and so on, part by part
pool       the parent's end of the workers
worker     the killable process; proof: what sympy has to say there

The policy stands in docs/grading.md. Nothing is ever evaluated as Python, and no text reaches sympy.
"""

from __future__ import annotations

import atexit
from functools import lru_cache

from grpokit_math.verify.answer import Answer, read
from grpokit_math.verify.compare import Prover, compare
from grpokit_math.verify.node import Node
from grpokit_math.verify.pool import Failed, Pool, TooSlow
from grpokit_math.verify.verdict import Gate, Stage, Verdict

__all__ = ["Stage", "Verdict", "close", "verify"]

_POOL = Pool()
_NONE = Verdict(correct=False, stage="none", detail="no answer was found")
_TEXT = Verdict(correct=True, stage="text")
_NUMBER = (Verdict(correct=False, stage="number"), Verdict(correct=True, stage="number"))
CACHED = 65536
SHARE = 0.75
"""Of the seconds, the workers get so much; the rest is for stopping one that did not answer."""
LONGEST_CACHED = 512
LONGEST_NUMBER = 400


def verify(
    gold: str, answer: str | None, *, tolerance: float = 0.0, seconds: float = 2.0
) -> Verdict:
    """Whether ``answer`` (already extracted; None if nothing was found) equals ``gold``.

    ``tolerance`` is relative to the reference answer and 0 unless declared. ``seconds`` bounds one
    comparison, once a worker has started. No text raises: what costs too much, takes too long or breaks the comparison
    is a wrong answer with the stage ``gate``, ``timeout`` or ``error``.
    """
    if answer is None:
        return _NONE
    if gold == answer:
        return _TEXT if answer.strip() else _NONE
    if not tolerance and _digits(gold) and _digits(answer):
        return _NUMBER[gold.lstrip("0") == answer.lstrip("0")]
    return _decide_cached(gold, answer, tolerance, seconds)


def _digits(text: str) -> bool:
    return text.isdigit() and text.isascii() and len(text) <= LONGEST_NUMBER


def close() -> None:
    """Ends the worker processes. The next comparison that needs one starts it."""
    _POOL.close()


atexit.register(close)


class _Passing(Exception):
    """A verdict that another moment may change: it is not kept."""


def _decide_cached(gold: str, answer: str, tolerance: float, seconds: float) -> Verdict:
    if len(answer) > LONGEST_CACHED or len(gold) > LONGEST_CACHED:
        return _gated(gold, answer)
    try:
        return _decide(gold, answer, tolerance, seconds)
    except _Passing as passing:
        verdict: Verdict = passing.args[0]
        return verdict


def _gated(gold: str, answer: str) -> Verdict:
    if answer.strip() == gold.strip() and answer.strip():
        return _TEXT
    stage: Stage = "gate" if answer.strip() else "none"
    return Verdict(correct=False, stage=stage, detail=f"longer than {LONGEST_CACHED} characters")


@lru_cache(maxsize=CACHED)
def _decide(gold: str, answer: str, tolerance: float, seconds: float) -> Verdict:
    stripped = answer.strip()
    if not stripped:
        return _NONE
    if stripped == gold.strip():
        return _TEXT
    left = seconds * SHARE

    def prove(first: Node, second: Node, within: float) -> bool:
        nonlocal left
        if left <= 0:
            raise TooSlow("no answer in time")
        same, took = _POOL.ask_timed(first, second, tolerance=within, seconds=left)
        left -= took
        return same

    try:
        verdict = _compared(gold, answer, tolerance, prove)
    except RecursionError:
        verdict = Verdict(correct=False, stage="gate", detail="nested too deeply")
    except Gate as gate:
        verdict = Verdict(correct=False, stage="gate", detail=str(gate))
    except TooSlow as slow:
        raise _Passing(Verdict(correct=False, stage="timeout", detail=str(slow))) from None
    except Failed as failed:
        raise _Passing(Verdict(correct=False, stage="error", detail=str(failed))) from None
    # The promise is that no text raises. A fault of ours is a counted "error", never a zero in silence.
    except Exception as fault:
        what = f"{type(fault).__name__}: {fault}"[:200]
        raise _Passing(Verdict(correct=False, stage="error", detail=what)) from fault
    return verdict


def _compared(gold: str, answer: str, tolerance: float, prove: Prover) -> Verdict:
    reference = _gold(gold)
    found = read(answer)
    if not found.key:
        return _NONE
    verdict = compare(reference, found, tolerance, prove)
    if not verdict.correct and _several(reference) and _ambiguous(answer):
        return compare(reference, read(answer, separate=True), tolerance, prove)
    return verdict


@lru_cache(maxsize=4096)
def _gold(text: str) -> Answer:
    return read(text)


def _several(gold: Answer) -> bool:
    return gold.node is not None and gold.node[0] in ("list", "set", "tuple")


def _ambiguous(answer: str) -> bool:
    """A comma that could belong to a number: ``1,234``."""
    return "," in answer and not any(mark in answer for mark in ("{,}", ",\\!"))
