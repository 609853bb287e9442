"""An algorithm as one callable an axis."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from grpokit.algorithms import axes
from grpokit.algorithms.aggregate import total_scores
from grpokit.algorithms.allocate import fixed
from grpokit.algorithms.build import unknown_axes
from grpokit.algorithms.correction import no_correction
from grpokit.algorithms.mask import completion_mask
from grpokit.algorithms.ratio import token_ratio
from grpokit.algorithms.regulariser import NoRegulariser, k3
from grpokit.algorithms.reset import never
from grpokit.algorithms.rollout import as_given
from grpokit.algorithms.sampler import in_order
from grpokit.algorithms.select import keep_all
from grpokit.errors import CheckpointError
from grpokit.spec.contracts import Walk
from grpokit.spec.flow import (
    Advantages,
    Allocation,
    Draw,
    Gathered,
    LossInputs,
    LossOutputs,
    Outcome,
    Resets,
    Rollout,
    Sampling,
    Scores,
    Selection,
)

__all__ = ["DEAD", "Composition"]

FIELDS = {"select": "selector", "allocate": "allocator"}
"""Fields of ``Composition`` that are not called like their axis."""

DEAD = 1e-8
"""A group whose advantages are all smaller teaches nothing; they are set to exactly 0."""


@dataclass(frozen=True, kw_only=True)
class Composition:
    """One part an axis; together they implement the ``Algorithm`` contract.

    A relative of GRPO is this class with other parts. ``replace`` swaps one. The fields of the axes
    ``select`` and ``allocate`` are called ``selector`` and ``allocator``, because the contract has
    methods of those names. ``empty_rows`` is no part: row means count completions whose every token
    is masked, or leave them out.
    """

    advantage: axes.Advantage | axes.RolloutAdvantage
    clip: axes.Clip
    aggregation: axes.Aggregation
    sampler: axes.Sampler = in_order
    rollout: axes.RolloutWay = as_given
    aggregate: axes.Aggregate | axes.RolloutAggregate = total_scores
    allocator: axes.Allocate = fixed
    selector: axes.Select = keep_all
    ratio: axes.Ratio = token_ratio
    mask: axes.Mask | axes.InputsMask = completion_mask
    correction: axes.Correction = no_correction
    regulariser: axes.Regulariser = dataclasses.field(default_factory=NoRegulariser)
    reset: axes.Reset = never
    empty_rows: Literal["count", "leave-out"] = "count"

    def replace(self, axis: str, part: axes.Part) -> Composition:
        """The same algorithm with another part on one axis."""
        if axis not in axes.AXES:
            raise unknown_axes([axis])
        fields: dict[str, Any] = {FIELDS.get(axis, axis): part}
        return dataclasses.replace(self, **fields)

    def part(self, axis: str) -> axes.Part:
        """What stands on one axis."""
        return getattr(self, FIELDS.get(axis, axis))

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
        """Nothing but the advantage moves the policy, so a row without one adds exactly 0.

        A clip may deny it for itself with an attribute ``zero_moves``.
        """
        return bool(getattr(self.regulariser, "inert", False)) and not getattr(
            self.clip, "zero_moves", False
        )

    def sampling(self, sampling: Sampling) -> Sampling:
        """How this step draws its completions."""
        return self.rollout(sampling)

    def first(self, prompts: int) -> int:
        """Prompts of the first round: those of the recipe, unless the allocation wants another number."""
        own = getattr(self.allocator, "first", None)
        return own(prompts) if own else prompts

    def draw(self, walk: Walk, position: int, count: int, step: int) -> Draw:
        """The next rows of the data set."""
        return self.sampler(walk, position, count, step)

    def advantages(self, rollout: Rollout, scores: Scores) -> Advantages:
        """Computed in float64, kept in float32. Degenerate groups: see ``advantage``."""
        totals_PG, valid_PG = _call(self.aggregate, scores, rollout=rollout)
        found_PG = _call(self.advantage, totals_PG, valid_PG, rollout=rollout)
        advantages_PG = torch.where(valid_PG, found_PG, 0.0)
        dead_P = (advantages_PG.abs() < DEAD).all(-1)
        advantages_PG = advantages_PG.masked_fill(dead_P.unsqueeze(-1), 0.0)
        return Advantages(advantages_PG=advantages_PG.float(), valid_PG=valid_PG, dead_P=dead_P)

    def allocate(self, gathered: Gathered) -> Allocation:
        """The groups that go on, or another round."""
        return self.allocator(gathered)

    def select(self, rollout: Rollout, scores: Scores, advantages: Advantages) -> Selection:
        """What the selecting part says, less what can add nothing.

        Rows whose every token is masked leave; ``empty_rows`` says whether the denominator counts
        them. Rows without advantage stay with weight 0 if nothing else could move the policy through
        them.
        """
        selection = self.selector(rollout, scores, advantages)
        truncated = [rollout.completions[p][g].finish == "length" for p, g in selection.rows]
        counts_N = self._rows_that_count(torch.tensor(truncated, dtype=torch.bool))
        advantages_PG: list[list[float]] = advantages.advantages_PG.tolist()
        skip = self.skips_zero_advantage
        kept = [
            ((p, g), 0.0 if skip and advantages_PG[p][g] == 0 else weight)
            for (p, g), weight, counts in zip(
                selection.rows, selection.weights, counts_N, strict=True
            )
            if counts
        ]
        masked = len(counts_N) - len(kept) if self.empty_rows == "leave-out" else 0
        return Selection(
            rows=tuple(row for row, _ in kept),
            weights=tuple(weight for _, weight in kept),
            denominator=max(selection.denominator - masked, 0),
        )

    def _rows_that_count(self, truncated_N: Tensor) -> list[bool]:
        if getattr(self.mask, "needs_inputs", False):
            return [True] * len(truncated_N)
        mask: Any = self.mask
        counts_N: list[bool] = mask(torch.ones(len(truncated_N), 1), truncated_N).any(-1).tolist()
        return counts_N

    def resets(self, step: int) -> Resets:
        """What begins anew before the update of ``step``."""
        return self.reset(step)

    def loss(self, inputs: LossInputs) -> LossOutputs:
        """The micro-batch's share of the step's loss, in the order that ``axes`` describes."""
        mask: Any = self.mask
        extra = inputs if getattr(mask, "needs_inputs", False) else inputs.truncated_N
        inputs = _clean(inputs, mask(inputs.mask_NT, extra))
        before_NT = inputs.mask_NT
        if shrink := getattr(self.correction, "shrink", None):
            inputs = shrink(inputs, rows=self.empty_rows == "leave-out")
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
        apart: Any = getattr(self.regulariser, "apart", None)
        if apart is not None and (own := apart(inputs)) is not None:
            share = share + own
        with torch.no_grad():
            values = {"policy_loss": policy_NT, "ratio": ratio_NT, **clipped.shares}
            sums = _sums(inputs, values)
            if weight_NT is not None:
                sums["rejected"] = _rejected(inputs, weight_NT, before_NT)
        return LossOutputs(loss=share, sums=sums)

    def observe(self, outcome: Outcome) -> None:
        """Lets every part that remembers take note of a finished step."""
        for part in self._parts().values():
            if hasattr(part, "observe"):
                part.observe(outcome)

    def state(self) -> dict[str, Any]:
        """Axis to what its part remembers."""
        return {
            axis: part.state() for axis, part in self._parts().items() if hasattr(part, "state")
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Gives every part back what it remembered.

        Raises:
            CheckpointError: the state is of other parts.
        """
        own = {axis: part for axis, part in self._parts().items() if hasattr(part, "state")}
        if set(own) != set(state):
            raise CheckpointError(
                f"the algorithm remembers {_names(own)}, the checkpoint holds {_names(state)}",
                remedy="resume with the recipe of the run",
            )
        for axis, part in own.items():
            part.load_state(state[axis])

    def _parts(self) -> dict[str, axes.Part]:
        return {axis: self.part(axis) for axis in axes.AXES}

    def _any(self, attribute: str) -> bool:
        return any(getattr(part, attribute, False) for part in self._parts().values())


def _call(part: Any, *args: Any, rollout: Rollout) -> Any:
    """A part of the axes ``aggregate`` and ``advantage``, with the rollout if it asks for it."""
    return part(*args, rollout) if getattr(part, "needs_rollout", False) else part(*args)


def _names(states: Mapping[str, Any]) -> str:
    return ", ".join(sorted(states)) or "nothing"


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


def _rejected(inputs: LossInputs, weight_NT: Tensor, before_NT: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens that the correction leaves out, and those that there were before it."""
    drawn_NT = before_NT * (inputs.weights_N != 0).unsqueeze(-1)
    kept_NT = inputs.mask_NT * (weight_NT > 0)
    return (drawn_NT * (1 - kept_NT)).sum(), drawn_NT.sum()


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
