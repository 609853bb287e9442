"""Axis ``aggregate``, parts that look at how long a completion is.

Each takes the totals of another part (``base``, the weighted sum unless told otherwise) and changes
them, so that they can stand on one another: ``StopProperly(0.0, base=CosineLength(...))``. Lengths are
tokens with the end-of-sequence token, the limit is that of the step's own rollout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from grpokit.algorithms import axes
from grpokit.algorithms.aggregate import table, total_scores
from grpokit.algorithms.metric import metric_of
from grpokit.errors import ComponentError
from grpokit.spec.flow import Rollout, Scores

__all__ = [
    "CosineLength",
    "Cycle",
    "Overlong",
    "StopProperly",
    "cosine_scores",
    "overlong_penalty",
    "shape_truncated",
]

Base = axes.Aggregate | axes.RolloutAggregate


def overlong_penalty(lengths_PG: Tensor, max_tokens: int, cache: int) -> Tensor:
    """DAPO's soft punishment of overlong completions (arXiv 2503.14476, equation 13).

    0 up to max_tokens - cache, then ((max_tokens - cache) - length) / cache down to -1 at max_tokens
    and beyond.
    """
    over_PG = (lengths_PG.double() - (max_tokens - cache)).clamp(min=0.0, max=cache)
    return -over_PG / cache


def cosine_scores(
    lengths_PG: Tensor,
    correct_PG: Tensor,
    max_tokens: int,
    *,
    correct: tuple[float, float] = (1.0, 0.5),
    wrong: tuple[float, float] = (-1.0, -0.5),
) -> Tensor:
    """A score by length and correctness that falls along half a cosine (arXiv 2502.03373).

    at max_tokens + (at 0 - at max_tokens) (1 + cos(pi length / max_tokens)) / 2

    ``correct`` and ``wrong`` are the values at lengths 0 and max_tokens. A right answer is worth more
    when short, a wrong one costs less when long: it tried.
    """
    share_PG = lengths_PG.double().clamp(max=max_tokens) / max_tokens
    fall_PG = (1 + (math.pi * share_PG).cos()) / 2
    right_PG = correct[1] + (correct[0] - correct[1]) * fall_PG
    wrong_PG = wrong[1] + (wrong[0] - wrong[1]) * fall_PG
    return torch.where(correct_PG, right_PG, wrong_PG)


def shape_truncated(totals_PG: Tensor, truncated_PG: Tensor, coefficient: float) -> Tensor:
    """ProRL v2's punishment of completions that did not stop: their total times ``coefficient``.

    A negative coefficient is the total itself (OpenRLHF). 0 takes all they earned, 1 changes nothing.
    Beware of negative totals: a factor below 1 brings them nearer to 0.
    """
    shaped_PG = totals_PG * coefficient if coefficient >= 0 else coefficient
    return torch.where(truncated_PG, shaped_PG, totals_PG)


@dataclass(frozen=True, kw_only=True)
class Cycle:
    """Steps in which something acts: from ``start`` on, ``on`` steps with it and ``off`` without.

    ``off`` 0 never turns it off. Steps count from 1.
    """

    start: int = 1
    on: int = 1
    off: int = 0

    def __call__(self, step: int) -> bool:
        return step >= self.start and (step - self.start) % (self.on + self.off) < self.on


@dataclass
class Overlong:
    """total + weight * ``overlong_penalty``; ``cache`` None is a fifth of the limit, as in the paper.

    Raises:
        ComponentError: the cache does not fit into the step's ``max_tokens``.
    """

    cache: int | None = None
    weight: float = 1.0
    base: Base = total_scores
    needs_rollout: bool = True

    def __call__(self, scores: Scores, rollout: Rollout, /) -> tuple[Tensor, Tensor]:
        limit = rollout.sampling.max_tokens
        cache = max(1, limit // 5) if self.cache is None else self.cache
        if cache > limit:
            raise ComponentError(
                f"the soft overlong penalty begins {cache} tokens before the limit, "
                f"which is {limit}",
                place="algorithm",
                remedy=f"set the cache to at most {limit}; a fifth of rollout.max_tokens is usual",
            )
        totals_PG, valid_PG = totals_of(self.base, scores, rollout)
        penalty_PG = overlong_penalty(_lengths(rollout), limit, cache)
        return _where(valid_PG, totals_PG + self.weight * penalty_PG), valid_PG


@dataclass(kw_only=True)
class CosineLength:
    """total + weight * ``cosine_scores`` in the steps that ``active`` says (ProRL v2).

    A completion is correct if ``metric`` ("total", or the name of a reward) reaches ``threshold``; one
    whose metric abstained keeps its total.

    Raises:
        ComponentError: no reward is called ``metric``.
    """

    metric: str = "total"
    threshold: float = 1.0
    weight: float = 1.0
    correct: tuple[float, float] = (1.0, 0.5)
    wrong: tuple[float, float] = (-1.0, -0.5)
    active: Cycle = field(default_factory=Cycle)
    base: Base = total_scores
    needs_rollout: bool = True

    def __call__(self, scores: Scores, rollout: Rollout, /) -> tuple[Tensor, Tensor]:
        values_PG, known_PG = table(metric_of(scores, self.metric, "cosine-length"))
        totals_PG, valid_PG = totals_of(self.base, scores, rollout)
        if not self.active(rollout.sampling.step):
            return totals_PG, valid_PG
        added_PG = cosine_scores(
            _lengths(rollout),
            values_PG >= self.threshold,
            rollout.sampling.max_tokens,
            correct=self.correct,
            wrong=self.wrong,
        )
        added_PG = _where(known_PG, self.weight * added_PG)
        return _where(valid_PG, totals_PG + added_PG), valid_PG


@dataclass
class StopProperly:
    """The totals after ``shape_truncated``."""

    coefficient: float = 0.0
    base: Base = total_scores
    needs_rollout: bool = True

    def __call__(self, scores: Scores, rollout: Rollout, /) -> tuple[Tensor, Tensor]:
        totals_PG, valid_PG = totals_of(self.base, scores, rollout)
        truncated_PG = torch.tensor(
            [[one.finish == "length" for one in group] for group in rollout.completions]
        )
        shaped_PG = shape_truncated(totals_PG, truncated_PG, self.coefficient)
        return _where(valid_PG, shaped_PG), valid_PG


def totals_of(base: Base, scores: Scores, rollout: Rollout) -> tuple[Tensor, Tensor]:
    """What a part of axis ``aggregate`` says, with the rollout if it asks for it."""
    part: Any = base
    found: tuple[Tensor, Tensor] = (
        part(scores, rollout) if getattr(part, "needs_rollout", False) else part(scores)
    )
    return found


def _lengths(rollout: Rollout) -> Tensor:
    return torch.tensor([[len(one.token_ids) for one in group] for group in rollout.completions])


def _where(valid_PG: Tensor, values_PG: Tensor) -> Tensor:
    return torch.where(valid_PG, values_PG, 0.0)
