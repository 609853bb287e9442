r"""The accuracy reward of CPPO's experiments on MATH, by the package math-verify.

math-verify is an extra, ``grpokit-cppo[math]``, and is imported when the reward is built. Its time
limits are alarms of the process, which fail outside the main thread, so they are off: a comparison
that does not end is ended by the deadline of the scoring worker, and that completion has no score.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any

from grpokit.api import ComponentError, Config

__all__ = ["MathConfig", "math_accuracy"]


class MathConfig(Config):
    """Settings of the reward `math-accuracy`."""

    legacy: bool = False
    """As the released code: the arguments of the comparison are the other way round, every completion to a row whose gold answer cannot be read earns 1, and an error earns 0."""


def math_accuracy(config: MathConfig) -> Callable[[str, Any], float]:
    r"""Builds the reward: 2 if the completion's answer equals that of the ``solution``, else 0.

    The answer is what math-verify finds in the whole completion: a ``\boxed{}``, else LaTeX behind words
    such as "the final answer is". Tags are not looked at, and a number outside LaTeX is no answer.
    ``\frac12`` is malformed and equals nothing, as in the authors' code.

    A row whose gold answer cannot be read, and a comparison that raises, are failures: such a
    completion has no total and does not train.
    """
    tools = Tools()

    def score(completion: str, solution: Any) -> float:
        gold = tools.gold(str(solution))
        if not gold:
            if config.legacy:
                return 1.0
            raise ValueError(f"no gold answer can be read in this row: {str(solution)[-80:]!r}")
        found = tools.answer(completion)
        if config.legacy:
            return 2.0 * tools.equal_legacy(gold, found)
        return 2.0 * (bool(found) and tools.equal(gold, found))

    return score


class Tools:
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
            raise ComponentError(
                f"it needs the package math-verify: {error}",
                place="reward cppo/math-accuracy",
                remedy="run `pip install 'grpokit-cppo[math]'`",
            ) from error
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

    def equal(self, gold: list[Any], found: list[Any]) -> bool:
        return bool(self._verify(gold, found, timeout_seconds=None, raise_on_error=True))

    def equal_legacy(self, gold: list[Any], found: list[Any]) -> bool:
        return bool(self._verify(found, gold, timeout_seconds=None))
