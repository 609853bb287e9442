"""The axes of an algorithm, and what a part of each axis must look like.

Nearly every relative of GRPO changes one or two of these. A part is a callable; it is a plain
function, a ``functools.partial`` of one, or a frozen dataclass with ``__call__`` where it also has
something to say about itself. Suffixes: P prompts, G completions a prompt, N rows, T tokens. Tensors
shaped ``N1`` broadcast over tokens.

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

    from grpokit.spec.flow import Advantages, LossInputs, LossTotals, Rollout, Scores, Selection

__all__ = [
    "AXES",
    "Advantage",
    "Aggregate",
    "Aggregation",
    "Clip",
    "Clipped",
    "Correction",
    "Mask",
    "Ratio",
    "Regulariser",
    "Select",
]

AXES: Mapping[str, str] = {
    "aggregate": "scores of all rewards to one total a completion",
    "advantage": "totals of a group to advantages",
    "select": "which completions train, with what weight",
    "ratio": "how far the policy moved from the one that sampled",
    "clip": "ratio and advantage to the clipped objective",
    "mask": "which tokens count",
    "correction": "weight for the mismatch of sampler and trainer",
    "regulariser": "penalty a token beside the objective",
    "aggregation": "losses of tokens to one number",
}
"""Axes that ``algorithm.parts`` of a recipe can replace."""


class Aggregate(Protocol):
    """``(scores) -> totals_PG, valid_PG``; totals are float64 and 0 where invalid."""

    def __call__(self, scores: Scores, /) -> tuple[Tensor, Tensor]: ...


class Advantage(Protocol):
    """``(totals_PG, valid_PG) -> advantages_PG``; invalid rows get 0 and touch no statistics."""

    def __call__(self, totals_PG: Tensor, valid_PG: Tensor, /) -> Tensor: ...


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


class Correction(Protocol):
    """``(old_logprobs_NT, sampler_logprobs_NT, mask_NT) -> weight_NT``, or None for no weight."""

    def __call__(
        self, old_logprobs_NT: Tensor, sampler_logprobs_NT: Tensor | None, mask_NT: Tensor, /
    ) -> Tensor | None: ...


class Regulariser(Protocol):
    """``(inputs, ratio_NT) -> penalty_NT``, or None for nothing.

    May have attributes ``needs_reference`` and ``needs_entropy`` (bool, taken as False when absent)
    and ``inert`` (bool): it never adds anything, so rows without advantage can be skipped.
    """

    def __call__(self, inputs: LossInputs, ratio_NT: Tensor, /) -> Tensor | None: ...


class Aggregation(Protocol):
    """``(loss_NT, mask_NT, weights_N, totals) -> share``, the micro-batch's share of the step's loss."""

    def __call__(
        self, loss_NT: Tensor, mask_NT: Tensor, weights_N: Tensor, totals: LossTotals, /
    ) -> Tensor: ...


Part = Any
"""A part of any axis."""
