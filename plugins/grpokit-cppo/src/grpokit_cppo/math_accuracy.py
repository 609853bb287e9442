r"""The accuracy reward of CPPO's experiments on MATH.

Answers are compared by the verifier of grpokit-math (``grpokit-cppo[math]``), which ends a comparison
that costs too much. ``legacy: true`` asks the package math-verify as the authors do
(``grpokit-cppo[math-legacy]``). Its time limits are alarms of the process, which fail outside the main
thread, so they are off: a comparison that does not end is ended by the deadline of the scoring worker,
and that completion has no score. Both are imported when the reward is built.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any

from grpokit.api import (
    ComponentError,
    Config,
    RowError,
    Score,
    last_boxed,
    normal_answer,
    strip_thinking,
)

__all__ = ["MathConfig", "math_accuracy", "math_answer"]


class MathConfig(Config):
    """Settings of the reward `math-accuracy`."""

    legacy: bool = False
    """As the released code, by math-verify: a box in the thinking counts, the arguments of the comparison are the other way round, every completion to a row whose gold answer cannot be read earns 1, and an error earns 0. Needs `grpokit-cppo[math-legacy]`."""


def math_accuracy(config: MathConfig) -> Callable[[str, Any], Score | float | None]:
    r"""Builds the reward: 2 if the completion's answer equals that of the ``solution``, else 0.

    Both stand in the last ``\boxed{}``; that of the completion outside of its thinking. They are
    compared as ``math/accuracy`` does, whose components are those of this reward. A row without a box
    is a failure: such a completion has no total and does not train.

    With ``legacy`` the answer is what math-verify finds in the whole completion: a ``\boxed{}``, else
    LaTeX behind words such as "the final answer is". ``\frac12`` is malformed there and equals nothing.
    """
    return _as_released() if config.legacy else _by_verifier()


def math_answer(config: MathConfig) -> Callable[[str], str | None]:
    """What the completion boxes, for votes; with ``legacy`` also in its thinking."""

    def read(completion: str) -> str | None:
        text = completion if config.legacy else strip_thinking(completion)
        found = None if text is None else last_boxed(text)
        return None if found is None else normal_answer(found)

    return read


def _by_verifier() -> Callable[[str, Any], Score | None]:
    try:
        from grpokit_math.rewards.accuracy import AccuracyConfig, accuracy
    except ImportError as error:
        raise _missing("grpokit-math", "math", error) from error
    judge = accuracy(AccuracyConfig(right=2.0))

    def score(completion: str, solution: Any) -> Score | None:
        gold = last_boxed(str(solution))
        if gold is None:
            raise RowError(
                f"no \\boxed{{}} is in the solution of this row: {str(solution)[-80:]!r}",
                remedy="repair the row, or compare a column of final answers with `math/accuracy`",
            )
        return judge(completion, gold)

    return score


def _as_released() -> Callable[[str, Any], float]:
    tools = Released()

    def score(completion: str, solution: Any) -> float:
        gold = tools.gold(str(solution))
        return 2.0 * tools.equal(tools.answer(completion), gold) if gold else 1.0

    return score


def _missing(package: str, extra: str, error: ImportError) -> ComponentError:
    return ComponentError(
        f"it needs the package {package}: {error}",
        place="reward cppo/math-accuracy",
        remedy=f"run `pip install 'grpokit-cppo[{extra}]'`",
    )


class Released:
    """math-verify with the authors' settings.

    Raises:
        ComponentError: it is not installed.
    """

    def __init__(self) -> None:
        for name in ("math_verify", "latex2sympy2_extended"):  # they warn that time limits are off
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            verifier = import_module("math_verify")
            latex = import_module("latex2sympy2_extended")
        except ImportError as error:
            raise _missing("math-verify", "math-legacy", error) from error
        self._parse, self._verify = verifier.parse, verifier.verify
        self._gold_form = [verifier.LatexExtractionConfig()]
        self._answer_form = [
            verifier.LatexExtractionConfig(
                normalization_config=latex.NormalizationConfig(
                    basic_latex=True,
                    units=True,
                    malformed_operators=False,
                    nits=False,
                    boxed="all",
                    equations=False,  # True in their code; the parser does it by itself since then
                ),
                boxed_match_priority=0,
                try_extract_without_anchor=False,
            )
        ]
        self.gold = lru_cache(maxsize=1024)(self._gold)

    def _gold(self, solution: str) -> list[Any]:
        return self._read(solution, self._gold_form)

    def answer(self, completion: str) -> list[Any]:
        """What can be read as an answer; empty if nothing can."""
        return self._read(completion, self._answer_form)

    def _read(self, text: str, form: list[Any]) -> list[Any]:
        found: list[Any] = self._parse(
            text, extraction_config=form, extraction_mode="first_match", parsing_timeout=None
        )
        return found

    def equal(self, found: list[Any], gold: list[Any]) -> bool:
        """The answer stands where math-verify expects the gold answer, as released."""
        return bool(self._verify(found, gold, timeout_seconds=None))
