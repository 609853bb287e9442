"""The reward ``brier`` (RLCR, arXiv 2507.16806)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from grpokit.api import Score
from grpokit_math.rewards.answer import AnswerConfig, Judged, gold_text, judge
from grpokit_rewards_intrinsic.confidence import confidence_of, in_order

__all__ = ["BrierConfig", "brier", "stated_confidence"]

WEIGHTS = (0.5, 0.5, 0.5)


class BrierConfig(AnswerConfig):
    """Settings of the reward `brier`."""

    form: Literal["paper", "released"] = "paper"
    """`paper`: correctness less the squared error of the confidence. `released`: the sum of the authors' code, in which format, correctness and 1 - squared error have a weight each, and a format failure earns 0."""
    weights: tuple[float, float, float] = WEIGHTS
    """Weights of format, correctness and calibration in the form `released`."""
    confidence: str = Field(default="confidence", pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")
    """The tag with the confidence: a number from 0 to 1, or a percentage with its sign."""
    blocks: list[str] = Field(default=[])
    """Blocks that must end the completion in this order, such as `[think, answer, analysis, confidence]` in the authors' code; empty asks for none."""
    missing: Literal["worst", "abstain"] = "worst"
    """A completion in another form, or without a readable confidence, earns what the worst confidence would (`paper`: 0 if it is right, else -1; `released`: 0, as in the authors' code), or has no score."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.form == "paper" and self.weights != WEIGHTS:
            raise ValueError("weights belong to form: released")
        if not all(math.isfinite(weight) and weight >= 0 for weight in self.weights):
            raise ValueError("weights are numbers from 0 up")
        return self


def brier(config: BrierConfig) -> Callable[[str, Any], Score | None]:
    """Builds the reward: c - (q - c)^2 with c 1 for a right answer, else 0, and q the confidence.

    Its best strategy is to be right and to state the true chance of it. Silence must not pay: without
    a confidence a right answer earns 0 and a wrong one -1, as if the worst had been stated. 0 for both
    would be better than an honest 0.1 on a wrong answer. Abstains on a row without a gold answer.
    """

    def score(completion: str, answer: Any) -> Score | None:
        gold = gold_text(answer)
        if gold is None:
            return None
        judged = judge(completion, gold, config)
        said = confidence_of(completion, config.confidence)
        right = float(judged.verdict.correct)
        fits = _fits_format(completion, judged, config) and said is not None
        parts = {"format": float(fits), "right": right}
        if said is not None:
            parts |= {"confidence": said, "squared-error": (said - right) ** 2}
        if not fits or said is None:
            worst = right - 1.0 if config.form == "paper" else 0.0
            value = worst if config.missing == "worst" else None
            return Score(value=value, components=parts, note="another form, or no confidence")
        return Score(value=_value(right, said, config), components=parts)

    return score


def stated_confidence(config: BrierConfig) -> Callable[[str], float | None]:
    """The chance of being right that a completion states, for the calibration of an evaluation."""
    return lambda completion: confidence_of(completion, config.confidence)


def _fits_format(completion: str, judged: Judged, config: BrierConfig) -> bool:
    return judged.found.answer is not None and (
        not config.blocks or in_order(completion, config.blocks)
    )


def _value(right: float, said: float, config: BrierConfig) -> float:
    error = (said - right) ** 2
    if config.form == "paper":
        return right - error
    whole, correct, calibrated = config.weights
    return whole + correct * right + calibrated * (1 - error)
