r"""The reward ``reference-probability`` (RLPR, arXiv 2506.18254)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from grpokit.api import Config, Continuation, Score
from grpokit_math.rewards.answer import gold_text
from grpokit_rewards_intrinsic.wrappers import Wrapper, inside, opening

__all__ = ["ReferenceConfig", "continuations", "reference_probability"]

LogProbs = Sequence[Sequence[float] | None]


class ReferenceConfig(Config):
    """Settings of the reward `reference-probability`."""

    wrapper: Wrapper = "boxed"
    r"""What the completion's own answer stands in: `boxed` (`\boxed{5}`), `tag` (`<answer>5</answer>`) or `hash` (`#### 5`). The reference answer takes the place of what is inside."""
    tag: str = Field(default="answer", pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")
    """The tag of the wrapper `tag`."""
    aggregate: Literal["mean", "product", "geometric", "mean-log"] = "mean"
    """How the probabilities of its tokens become one number; `mean` is the paper's."""
    debias: Literal["wrapper", "nothing", "off"] = "wrapper"
    """Take off how probable the answer is without reasoning: right behind the wrapper's opening, or, as the authors' code does, right behind the prompt. `off` takes nothing off."""
    missing: Literal["zero", "abstain"] = "zero"
    """A completion without a complete wrapper scores 0, as in the authors' code, or has no score."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.aggregate == "mean-log":
            if self.debias != "off":
                raise ValueError("aggregate: mean-log is no probability; set debias: off with it")
            if self.missing == "zero":
                raise ValueError("0 is the best mean-log there is; set missing: abstain with it")
        return self


def continuations(config: ReferenceConfig) -> Callable[[str, Any], list[Continuation]]:
    """The reference answer in the place of the completion's own, and, to debias, without the reasoning."""

    def ask(completion: str, answer: Any) -> list[Continuation]:
        gold = gold_text(answer)
        begin = inside(completion, config.wrapper, config.tag)
        if gold is None or begin is None:
            return []
        asked = [Continuation(before=completion[:begin], target=gold)]
        if config.debias != "off":
            bare = opening(config.wrapper, config.tag) if config.debias == "wrapper" else " "
            asked.append(Continuation(before=bare, target=gold))
        return asked

    return ask


def reference_probability(
    config: ReferenceConfig,
) -> Callable[[Any, LogProbs], Score | None]:
    """Builds the reward: clip(r - r', 0, 1), where r is the aggregate of p over the answer's tokens.

    With p_t the policy's probability of token t of the reference answer y*, at temperature 1: `mean`
    is 1/n sum p_t, `product` prod p_t, `geometric` its n-th root, `mean-log` 1/n sum log p_t. r' is
    the same without the reasoning; a score below it is 0. Abstains on a row without an answer, and
    where prompt, reasoning and answer are longer than the model reads.
    """

    def score(answer: Any, continuation_logprobs: LogProbs) -> Score | None:
        if gold_text(answer) is None:
            return None
        if not continuation_logprobs:
            value = 0.0 if config.missing == "zero" else None
            return Score(value=value, components={"wrapped": 0.0}, note="no complete wrapper")
        if any(each is None for each in continuation_logprobs):
            return Score(value=None, components={"wrapped": 1.0}, note="too long for the model")
        found = [aggregate(each or (), config.aggregate) for each in continuation_logprobs]
        parts = {"wrapped": 1.0, "with-reasoning": found[0]}
        if config.debias == "off":
            return Score(value=found[0], components=parts)
        value = min(1.0, max(0.0, found[0] - found[1]))
        return Score(value=value, components={**parts, "without-reasoning": found[1]})

    return score


def aggregate(logprobs: Sequence[float], how: str) -> float:
    """One number out of the log-probs of an answer's tokens."""
    if how == "mean":
        return fmean(map(math.exp, logprobs))
    if how == "product":
        return math.exp(math.fsum(logprobs))
    mean = fmean(logprobs)
    return math.exp(mean) if how == "geometric" else mean
