"""The axes of an algorithm, and what a part of each axis must look like.

Nearly every relative of GRPO changes one or two of these. A part is a callable; it is a plain
function, a ``functools.partial`` of one, or a frozen dataclass with ``__call__`` where it also has
something to say about itself. Suffixes: P prompts, G completions a prompt, N rows, T tokens. Tensors
shaped ``N1`` broadcast over tokens.

A step asks the parts in the order of ``AXES``. Some are asked only where a part needs more than most:

* ``needs_rollout`` (aggregate, advantage): the rollout comes as a last argument, for lengths or columns
* ``needs_inputs`` (mask): all loss inputs come in place of ``truncated_N``, for token ids
* ``needs_reference``, ``needs_entropy`` (any part of the loss): log-probs of the reference policy, or the
  entropy with its gradient, are computed
* ``observe(outcome)``, ``state()``, ``load_state(state)``: the part remembers finished steps. It changes
  in ``observe`` only; ``state`` is JSON and goes into every checkpoint.

The loss of a step is built in this order:

    ratio_NT   = ratio(logprobs_NT - old_logprobs_NT, mask_NT)
    policy_NT  = -clip(ratio_NT, advantages_N1, inputs).objective_NT * correction(...)
    loss       = aggregation(policy_NT + regulariser(inputs, ratio_NT), mask_NT, weights_N, totals)

``Composition`` clears every tensor at masked positions before a part sees it, so that a part never
meets an infinity in the padding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from grpokit.spec.contracts import Walk
    from grpokit.spec.flow import (
        Advantages,
        Allocation,
        Draw,
        Gathered,
        LossInputs,
        LossTotals,
        Resets,
        Rollout,
        Sampling,
        Scores,
        Selection,
    )

__all__ = [
    "AXES",
    "Advantage",
    "Aggregate",
    "Aggregation",
    "Allocate",
    "Clip",
    "Clipped",
    "Correction",
    "InputsMask",
    "Mask",
    "Ratio",
    "Regulariser",
    "Reset",
    "RolloutAdvantage",
    "RolloutAggregate",
    "RolloutWay",
    "Sampler",
    "Select",
]

AXES: Mapping[str, str] = {
    "sampler": "which rows of the data set a step asks",
    "rollout": "how the completions of a step are drawn",
    "aggregate": "scores of all rewards to one total a completion",
    "advantage": "totals of a group to advantages",
    "allocate": "which groups go on, and whether the step asks more",
    "select": "which completions train, with what weight",
    "ratio": "how far the policy moved from the one that sampled",
    "clip": "ratio and advantage to the clipped objective",
    "mask": "which tokens count",
    "correction": "weight for the mismatch of sampler and trainer",
    "regulariser": "penalty a token beside the objective",
    "aggregation": "losses of tokens to one number",
    "reset": "what begins anew in the course of a run",
}
"""Axes that ``algorithm.parts`` of a recipe can replace."""


class Sampler(Protocol):
    """``(walk, position, count, step) -> Draw`` of ``count`` rows."""

    def __call__(self, walk: Walk, position: int, count: int, step: int, /) -> Draw: ...


class RolloutWay(Protocol):
    """``(sampling) -> sampling`` of the step ``sampling.step``; seed, step and group stay as they are."""

    def __call__(self, sampling: Sampling, /) -> Sampling: ...


class Aggregate(Protocol):
    """``(scores) -> totals_PG, valid_PG``; totals are float64 and 0 where invalid."""

    def __call__(self, scores: Scores, /) -> tuple[Tensor, Tensor]: ...


class RolloutAggregate(Protocol):
    """``(scores, rollout) -> totals_PG, valid_PG``, for a part with ``needs_rollout``."""

    needs_rollout: bool

    def __call__(self, scores: Scores, rollout: Rollout, /) -> tuple[Tensor, Tensor]: ...


class Advantage(Protocol):
    """``(totals_PG, valid_PG) -> advantages_PG``; invalid rows get 0 and touch no statistics."""

    def __call__(self, totals_PG: Tensor, valid_PG: Tensor, /) -> Tensor: ...


class RolloutAdvantage(Protocol):
    """``(totals_PG, valid_PG, rollout) -> advantages_PG``, for a part with ``needs_rollout``."""

    needs_rollout: bool

    def __call__(self, totals_PG: Tensor, valid_PG: Tensor, rollout: Rollout, /) -> Tensor: ...


class Allocate(Protocol):
    """``(gathered) -> Allocation``, after each round of generating and scoring.

    May have a method ``first(prompts) -> int``: prompts of the first round where it asks for another
    number than the recipe.
    """

    def __call__(self, gathered: Gathered, /) -> Allocation: ...


class Select(Protocol):
    """``(rollout, scores, advantages) -> Selection``."""

    def __call__(
        self, rollout: Rollout, scores: Scores, advantages: Advantages, /
    ) -> Selection: ...


class Ratio(Protocol):
    """``(log_ratio_NT, mask_NT) -> ratio_NT``; one value a row is expanded to T."""

    def __call__(self, log_ratio_NT: Tensor, mask_NT: Tensor, /) -> Tensor: ...


class Clipped(NamedTuple):
    """The objective to be maximised, and shares of clipped tokens by metric name (0 or 1)."""

    objective_NT: Tensor
    shares: Mapping[str, Tensor]


class Clip(Protocol):
    """``(ratio_NT, advantages_N1, inputs) -> Clipped``; the objective is 0 where the advantage is 0.

    Most parts need the ratio and the advantage only. ``inputs`` has log-probs and the mask, for
    objectives that are no function of a single token's ratio.
    """

    def __call__(
        self, ratio_NT: Tensor, advantages_N1: Tensor, inputs: LossInputs, /
    ) -> Clipped: ...


class Mask(Protocol):
    """``(mask_NT, truncated_N) -> mask_NT``; looks at structure only, never at probabilities.

    Rows that it masks wholly leave the selection before the forward, but stay in its denominator.
    """

    def __call__(self, mask_NT: Tensor, truncated_N: Tensor, /) -> Tensor: ...


class InputsMask(Protocol):
    """``(mask_NT, inputs) -> mask_NT``, for a part with ``needs_inputs``; masks no row wholly."""

    needs_inputs: bool

    def __call__(self, mask_NT: Tensor, inputs: LossInputs, /) -> Tensor: ...


class Correction(Protocol):
    """``(old_logprobs_NT, sampler_logprobs_NT, mask_NT) -> weight_NT``, or None for no weight.

    May have a method ``shrink(inputs, rows=) -> inputs`` that takes tokens out of the mask and out of
    the denominators before the ratio is computed, and with ``rows`` also rows that have none left.
    """

    def __call__(
        self, old_logprobs_NT: Tensor, sampler_logprobs_NT: Tensor | None, mask_NT: Tensor, /
    ) -> Tensor | None: ...


class Regulariser(Protocol):
    """``(inputs, ratio_NT) -> penalty_NT``, or None for nothing.

    May have attributes ``needs_reference`` and ``needs_entropy`` (bool, taken as False when absent)
    and ``inert`` (bool): it never adds anything, so rows without advantage can be skipped. A method
    ``apart(inputs) -> share`` or None adds what is not aggregated like the objective.
    """

    def __call__(self, inputs: LossInputs, ratio_NT: Tensor, /) -> Tensor | None: ...


class Aggregation(Protocol):
    """``(loss_NT, mask_NT, weights_N, totals) -> share``, the micro-batch's share of the step's loss."""

    def __call__(
        self, loss_NT: Tensor, mask_NT: Tensor, weights_N: Tensor, totals: LossTotals, /
    ) -> Tensor: ...


class Reset(Protocol):
    """``(step) -> Resets`` that are done just before the update of ``step``."""

    def __call__(self, step: int, /) -> Resets: ...


Part = Any
"""A part of any axis."""
