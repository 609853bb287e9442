"""An algorithm as one callable an axis."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from grpokit.algorithms import axes
from grpokit.algorithms.aggregate import total_scores
from grpokit.algorithms.build import unknown_axes
from grpokit.algorithms.correction import no_correction
from grpokit.algorithms.mask import completion_mask
from grpokit.algorithms.ratio import token_ratio
from grpokit.algorithms.regulariser import NoRegulariser, k3
from grpokit.algorithms.select import keep_all
from grpokit.spec.flow import Advantages, LossInputs, LossOutputs, Rollout, Scores, Selection

__all__ = ["DEAD", "Composition"]

DEAD = 1e-8
"""A group whose advantages are all smaller teaches nothing; they are set to exactly 0."""


@dataclass(frozen=True, kw_only=True)
class Composition:
    """One part an axis; together they implement the ``Algorithm`` contract.

    A relative of GRPO is this class with other parts. ``replace`` swaps one. The field of the axis
    ``select`` is called ``selector``, because ``select`` is the contract's method.
    """

    advantage: axes.Advantage
    clip: axes.Clip
    aggregation: axes.Aggregation
    aggregate: axes.Aggregate = total_scores
    selector: axes.Select = keep_all
    ratio: axes.Ratio = token_ratio
    mask: axes.Mask = completion_mask
    correction: axes.Correction = no_correction
    regulariser: axes.Regulariser = dataclasses.field(default_factory=NoRegulariser)

    def replace(self, axis: str, part: axes.Part) -> Composition:
        """The same algorithm with another part on one axis."""
        if axis not in axes.AXES:
            raise unknown_axes([axis])
        fields: dict[str, Any] = {"selector" if axis == "select" else axis: part}
        return dataclasses.replace(self, **fields)

    @property
    def needs_reference(self) -> bool:
        """A part asks for log-probs of the reference policy."""
        return self._any("needs_reference")

    @property
    def needs_entropy(self) -> bool:
        """A part asks for the entropy of the policy, with its gradient."""
        return self._any("needs_entropy")

    @property
    def skips_zero_advantage(self) -> bool:
        """Nothing but the advantage moves the policy, so a row without one adds exactly 0."""
        return bool(getattr(self.regulariser, "inert", False))

    def advantages(self, scores: Scores) -> Advantages:
        """Computed in float64, kept in float32. Degenerate groups: see ``advantage``."""
        totals_PG, valid_PG = self.aggregate(scores)
        advantages_PG = torch.where(valid_PG, self.advantage(totals_PG, valid_PG), 0.0)
        dead_P = (advantages_PG.abs() < DEAD).all(-1)
        advantages_PG = advantages_PG.masked_fill(dead_P.unsqueeze(-1), 0.0)
        return Advantages(advantages_PG=advantages_PG.float(), valid_PG=valid_PG, dead_P=dead_P)

    def select(self, rollout: Rollout, scores: Scores, advantages: Advantages) -> Selection:
        """What the selecting part says, less what can add nothing.

        Rows whose every token is masked leave; the denominator still counts them. Rows without
        advantage stay with weight 0 if nothing else could move the policy through them.
        """
        selection = self.selector(rollout, scores, advantages)
        truncated_N = torch.tensor(
            [rollout.completions[p][g].finish == "length" for p, g in selection.rows],
            dtype=torch.bool,
        )
        counts_N: list[bool] = (
            self.mask(torch.ones(len(selection.rows), 1), truncated_N).bool().any(-1).tolist()
        )
        advantages_PG: list[list[float]] = advantages.advantages_PG.tolist()
        skip = self.skips_zero_advantage
        kept = [
            ((p, g), 0.0 if skip and advantages_PG[p][g] == 0 else weight)
            for (p, g), weight, counts in zip(
                selection.rows, selection.weights, counts_N, strict=True
            )
            if counts
        ]
        return Selection(
            rows=tuple(row for row, _ in kept),
            weights=tuple(weight for _, weight in kept),
            denominator=selection.denominator,
        )

    def loss(self, inputs: LossInputs) -> LossOutputs:
        """The micro-batch's share of the step's loss, in the order that ``axes`` describes."""
        inputs = _clean(inputs, self.mask(inputs.mask_NT, inputs.truncated_N))
        mask_NT = inputs.mask_NT
        ratio_NT = self.ratio(inputs.logprobs_NT - inputs.old_logprobs_NT, mask_NT)
        clipped = self.clip(ratio_NT, inputs.advantages_N.unsqueeze(-1), inputs)
        policy_NT = -clipped.objective_NT
        weight_NT = self.correction(inputs.old_logprobs_NT, inputs.sampler_logprobs_NT, mask_NT)
        if weight_NT is not None:
            policy_NT = policy_NT * weight_NT
        penalty_NT = self.regulariser(inputs, ratio_NT)
        loss_NT = policy_NT if penalty_NT is None else policy_NT + penalty_NT
        share = self.aggregation(loss_NT, mask_NT, inputs.weights_N, inputs.totals)
        with torch.no_grad():
            values = {"policy_loss": policy_NT, "ratio": ratio_NT, **clipped.shares}
            sums = _sums(inputs, values)
        return LossOutputs(loss=share, sums=sums)

    def _any(self, attribute: str) -> bool:
        parts = (getattr(self, field.name) for field in dataclasses.fields(self))
        return any(getattr(part, attribute, False) for part in parts)


def _clean(inputs: LossInputs, mask_NT: Tensor) -> LossInputs:
    """The same inputs with every value at a masked position set to 0: exp and 0 * inf stay harmless."""
    off_NT = mask_NT == 0

    def clear(values_NT: Tensor | None) -> Tensor | None:
        return None if values_NT is None else values_NT.masked_fill(off_NT, 0.0)

    return dataclasses.replace(
        inputs,
        logprobs_NT=inputs.logprobs_NT.masked_fill(off_NT, 0.0),
        old_logprobs_NT=inputs.old_logprobs_NT.masked_fill(off_NT, 0.0),
        ref_logprobs_NT=clear(inputs.ref_logprobs_NT),
        sampler_logprobs_NT=clear(inputs.sampler_logprobs_NT),
        entropy_NT=clear(inputs.entropy_NT),
        mask_NT=mask_NT.to(inputs.logprobs_NT.dtype),
    )


def _sums(inputs: LossInputs, values: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Sums over tokens and their count, by metric. Rows of weight 0 are left out.

    ``kl`` is k3 against the reference, ``kl_old`` k3 against the policy of the last rollout,
    ``sampler_gap`` the mean absolute difference of sampler and trainer. 0 of 0 means: not measured.
    """
    logprobs_NT, old_NT = inputs.logprobs_NT, inputs.old_logprobs_NT
    found: dict[str, Tensor] = {**values, "kl_old": k3(old_NT, logprobs_NT)}
    if inputs.ref_logprobs_NT is not None:
        found["kl"] = k3(logprobs_NT, inputs.ref_logprobs_NT)
    if inputs.entropy_NT is not None:
        found["entropy"] = inputs.entropy_NT
    if inputs.sampler_logprobs_NT is not None:
        found["sampler_gap"] = (old_NT - inputs.sampler_logprobs_NT).abs()
    used_NT = inputs.mask_NT * (inputs.weights_N != 0).unsqueeze(-1)
    count = used_NT.sum()
    return {name: ((value_NT * used_NT).sum(), count) for name, value_NT in found.items()}
