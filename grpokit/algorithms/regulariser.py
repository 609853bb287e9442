"""Axis ``regulariser``: a penalty a token beside the clipped objective.

With x = log pi_ref - log pi, the three estimators of KL(pi || pi_ref) on a sampled token are
k1 = -x, k2 = x^2 / 2 and k3 = exp(x) - x - 1. As numbers k1 and k3 are unbiased; k2 and k3 are never
negative. As losses only k2 has the gradient of the divergence on average; the gradient of k1 is zero
on average, and that of k3 is that of the opposite divergence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from grpokit.algorithms.axes import Regulariser
from grpokit.spec.flow import LossInputs

__all__ = [
    "ESTIMATORS",
    "EntropyBonus",
    "KlPenalty",
    "NoRegulariser",
    "Sum",
    "k1",
    "k2",
    "k3",
    "ref_weighted",
]


def k1(logprobs_NT: Tensor, ref_logprobs_NT: Tensor) -> Tensor:
    """The log-ratio itself: log pi - log pi_ref. Zero where the policies agree; can be negative."""
    return logprobs_NT - ref_logprobs_NT


def k2(logprobs_NT: Tensor, ref_logprobs_NT: Tensor) -> Tensor:
    """Half the squared log-ratio: (log pi_ref - log pi)^2 / 2."""
    return (ref_logprobs_NT - logprobs_NT).square() / 2


def k3(logprobs_NT: Tensor, ref_logprobs_NT: Tensor) -> Tensor:
    """The estimator of GRPO (arXiv 2402.03300): exp(x) - x - 1, with x = log pi_ref - log pi."""
    x_NT = ref_logprobs_NT - logprobs_NT
    return x_NT.exp() - x_NT - 1


def ref_weighted(logprobs_NT: Tensor, ref_logprobs_NT: Tensor) -> Tensor:
    """A token's term of KL(pi_ref || pi): pi_ref (log pi_ref - log pi). OpenPipe's loss has it.

    No estimate of KL(pi || pi_ref): it is the sampled token's share of the opposite divergence, and can
    be negative. It weighs tokens by the reference's probability.
    """
    return ref_logprobs_NT.exp() * (ref_logprobs_NT - logprobs_NT)


ESTIMATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "k1": k1,
    "k2": k2,
    "k3": k3,
    "ref-weighted": ref_weighted,
}


@dataclass(frozen=True)
class NoRegulariser:
    """Nothing is added. Rows without advantage can then be skipped."""

    inert = True

    def __call__(self, inputs: LossInputs, ratio_NT: Tensor) -> Tensor | None:
        del inputs, ratio_NT
        return None


@dataclass(frozen=True)
class KlPenalty:
    """Pulls the policy towards the reference: beta * k(log pi, log pi_ref).

    ``times_ratio`` multiplies by the ratio, with its gradient (DeepSeek-V3.2, arXiv 2512.02556): the
    gradient of k3 then is that of KL(pi || pi_ref). It is TRL's default and not the GRPO paper's.
    ``limit`` clamps the estimate to [-limit, limit] as verl does for k3 at 10; beyond it there is no
    gradient. None means never, as in TRL. Degenerate: beta 0 adds nothing and needs no reference.
    """

    beta: float
    estimator: Literal["k1", "k2", "k3", "ref-weighted"] = "k3"
    times_ratio: bool = False
    limit: float | None = None

    @property
    def inert(self) -> bool:
        return self.beta == 0

    @property
    def needs_reference(self) -> bool:
        return self.beta != 0

    def __call__(self, inputs: LossInputs, ratio_NT: Tensor) -> Tensor | None:
        if self.inert:
            return None
        if inputs.ref_logprobs_NT is None:
            raise ValueError("the KL penalty was given no log-probs of the reference policy")
        kl_NT = ESTIMATORS[self.estimator](inputs.logprobs_NT, inputs.ref_logprobs_NT)
        if self.limit is not None:
            kl_NT = kl_NT.clamp(-self.limit, self.limit)
        return self.beta * (kl_NT * ratio_NT if self.times_ratio else kl_NT)


@dataclass(frozen=True)
class EntropyBonus:
    """Rewards a policy that keeps its options open: -coefficient * H(pi) a token.

    ``mean`` objective aggregates it like the objective (verl). Tokens takes the mean of the step's
    tokens under every aggregation: TRL's, without its dependence on the split into micro-batches.
    Degenerate: coefficient 0 adds nothing and needs no entropy.
    """

    coefficient: float
    mean: Literal["objective", "tokens"] = "objective"

    @property
    def inert(self) -> bool:
        return self.coefficient == 0

    @property
    def needs_entropy(self) -> bool:
        return self.coefficient != 0

    def __call__(self, inputs: LossInputs, ratio_NT: Tensor) -> Tensor | None:
        del ratio_NT
        return self._term(inputs) if self.mean == "objective" else None

    def apart(self, inputs: LossInputs) -> Tensor | None:
        """The micro-batch's share of what is not aggregated like the objective."""
        if self.mean == "objective" or (term_NT := self._term(inputs)) is None:
            return None
        return (term_NT * inputs.mask_NT).sum() / max(inputs.totals.tokens, 1)

    def _term(self, inputs: LossInputs) -> Tensor | None:
        if self.inert:
            return None
        if inputs.entropy_NT is None:
            raise ValueError("the entropy bonus was given no entropies")
        return -self.coefficient * inputs.entropy_NT


@dataclass(frozen=True)
class Sum:
    """Several regularisers together. Of none it is none."""

    terms: tuple[Regulariser, ...]

    @property
    def inert(self) -> bool:
        return all(getattr(term, "inert", False) for term in self.terms)

    @property
    def needs_reference(self) -> bool:
        return any(getattr(term, "needs_reference", False) for term in self.terms)

    @property
    def needs_entropy(self) -> bool:
        return any(getattr(term, "needs_entropy", False) for term in self.terms)

    def __call__(self, inputs: LossInputs, ratio_NT: Tensor) -> Tensor | None:
        found = [value for term in self.terms if (value := term(inputs, ratio_NT)) is not None]
        if not found:
            return None
        penalty_NT = found[0]
        for value_NT in found[1:]:
            penalty_NT = penalty_NT + value_NT
        return penalty_NT

    def apart(self, inputs: LossInputs) -> Tensor | None:
        """The sum of what the terms keep apart."""
        terms = [term.apart(inputs) for term in self.terms if hasattr(term, "apart")]
        found = [value for value in terms if value is not None]
        return torch.stack(found).sum() if found else None
