r"""Other graders on one completion, for ``docs/grading.py``, and the process that runs them.

The regular expressions are written after the published rules: lm-evaluation-harness' task gsm8k
(``strict-match`` takes the first ``#### ``, ``flexible-extract`` the last number; every comma, dollar
sign and final period is then deleted) and verl's gsm8k (the last ``#### `` of the last 300 characters,
commas and dollar signs deleted). math-verify and TRL are the packages themselves.
"""

from __future__ import annotations

import contextlib
import io
import logging
import multiprocessing
import re
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

__all__ = ["GRADERS", "Outcome", "Runner"]

HASH = re.compile(r"#### (\-?[0-9\.\,]+)")
FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
KILLED_AFTER = 15.0
START = 300.0

Outcome = tuple[bool | str, float]
"""Accepted or not, or what went wrong; and the seconds."""


def grpokit(extractor: str) -> Callable[[str, str], bool]:
    """The reward ``math/accuracy`` with one extractor."""
    from grpokit_math.rewards.accuracy import AccuracyConfig, accuracy
    from grpokit_math.verify import verify

    verify("\\sin 2x", "2\\sin x\\cos x", seconds=60)  # a worker has started
    score = accuracy(AccuracyConfig(extract=[extractor]))  # type: ignore[list-item]

    def grade(response: str, gold: str) -> bool:
        found = score(response, gold)
        return found is not None and found.value == 1

    return grade


def math_verify_extracted(extractor: str) -> Callable[[str, str], bool]:
    """math-verify on what our extractor found, so that only the comparison counts."""
    from math_verify import parse, verify

    from grpokit_math.extract import extract

    def grade(response: str, gold: str) -> bool:
        found = extract(response, [extractor])  # type: ignore[list-item]
        if found.answer is None:
            return False
        return bool(verify(parse(f"${gold}$"), parse(f"${found.answer}$")))

    return grade


def math_verify_whole(_form: str) -> Callable[[str, str], bool]:
    """math-verify on the whole completion, as its documentation calls it."""
    from math_verify import parse, verify

    return lambda response, gold: bool(verify(parse(f"${gold}$"), parse(response)))


def trl(_form: str) -> Callable[[str, str], bool]:
    """TRL's ``accuracy_reward``. None, a gold answer it cannot read, accepts nothing."""
    from trl.rewards import accuracy_reward

    return lambda response, gold: bool(
        accuracy_reward([[{"role": "assistant", "content": response}]], [f"${gold}$"])[0]
    )


def _lm_eval_form(text: str) -> str:
    text = re.sub(r"(?s).*#### ", "", text.replace(",", "").replace("$", ""))
    return re.sub(r"\.$", "", text).lower()


def lm_eval_strict(_form: str) -> Callable[[str, str], bool]:
    """lm-evaluation-harness, gsm8k, ``strict-match``."""

    def grade(response: str, gold: str) -> bool:
        found = HASH.search(response)
        answer = found.group(1).strip() if found else "[invalid]"
        return _lm_eval_form(answer) == _lm_eval_form(gold)

    return grade


def lm_eval_flexible(_form: str) -> Callable[[str, str], bool]:
    """lm-evaluation-harness, gsm8k, ``flexible-extract``."""

    def grade(response: str, gold: str) -> bool:
        found = FLEXIBLE.findall(response)
        answer = next(part for part in found[-1] if part).strip() if found else "[invalid]"
        return _lm_eval_form(answer) == _lm_eval_form(gold)

    return grade


def verl_strict(_form: str) -> Callable[[str, str], bool]:
    """verl, gsm8k, ``strict``."""

    def grade(response: str, gold: str) -> bool:
        found = HASH.findall(response[-300:])
        if not found:
            return False
        return bool(found[-1].replace(",", "").replace("$", "") == gold.replace(",", ""))

    return grade


GRADERS: dict[str, tuple[Callable[[str], Callable[[str, str], bool]], tuple[str, ...]]] = {
    "grpokit `math/accuracy`": (grpokit, ("boxed", "hash", "tag", "last-number")),
    "math-verify, extracted text": (math_verify_extracted, ("boxed", "hash", "tag", "last-number")),
    "math-verify, whole completion": (math_verify_whole, ("boxed", "hash")),
    "TRL `accuracy_reward`": (trl, ("boxed", "hash")),
    "lm-eval gsm8k strict": (lm_eval_strict, ("hash",)),
    "verl gsm8k strict": (verl_strict, ("hash",)),
    "lm-eval gsm8k flexible": (lm_eval_flexible, ("last-number",)),
}
"""Name -> how to build it for a form of the answer, and the forms that it is made for."""


class Runner:
    """One grader in a process that is ended when a case does not."""

    def __init__(self, name: str, extractor: str) -> None:
        self._task = (name, extractor)
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, *self._task))
        self._process.start()
        theirs.close()
        if not self._ours.poll(START):
            raise TimeoutError(f"{self._task[0]} did not start")
        self._ours.recv()

    def __call__(self, response: str, gold: str) -> Outcome:
        self._ours.send((response, gold))
        if self._ours.poll(KILLED_AFTER):
            found: Outcome = self._ours.recv()
            return found
        self.close()
        self._start()
        return "killed", KILLED_AFTER

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.join()


def _serve(pipe: Connection, name: str, extractor: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        grade = GRADERS[name][0](extractor)
    logging.disable(logging.CRITICAL)
    pipe.send("ready")
    while True:
        try:
            response, gold = pipe.recv()
        except EOFError:
            return
        pipe.send(_timed(grade, response, gold))


def _timed(grade: Callable[[str, str], Any], response: str, gold: str) -> Outcome:
    start = time.perf_counter()
    try:
        found: bool | str = bool(grade(response, gold))
    # Whatever a grader raises is what the table is about.
    except Exception as error:  # noqa: BLE001
        found = type(error).__name__
    return found, time.perf_counter() - start
