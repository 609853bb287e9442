"""CPPO, the algorithm: GRPO's composition with another selection."""

from __future__ import annotations

from functools import partial

from grpokit.api import Algorithm, algorithms
from grpokit_cppo.allocate import Allocate
from grpokit_cppo.config import CppoConfig
from grpokit_cppo.prune import Prune

__all__ = ["AGGREGATIONS", "build"]

AGGREGATIONS = {
    "token-mean": algorithms.token_mean,
    "sequence-mean": algorithms.sequence_mean,
    "constant-length": algorithms.constant_length,
}


def build(config: CppoConfig) -> Algorithm:
    """Completion pruning policy optimisation (arXiv 2503.22342).

    A_i = (r_i - mean r) / (std r + std_eps) over the whole group, then GRPO's loss over the
    completions that stay:

    L = -1/sum_{i in I} L_i  sum_{i in I} sum_t [min(w A_i, clip(w, 1-eps, 1+eps) A_i) - beta k3]

    as in the authors' code; ``aggregation: sequence-mean`` is the paper's 1/k sum_i 1/L_i sum_t.
    With ``allocation`` further questions take the places that pruning frees (``Allocate``).
    Degenerate: see ``Prune``; with rate 0 it is GRPO.
    """
    composition = algorithms.Composition(
        advantage=partial(
            algorithms.group_zscore, std_ddof=config.std_ddof, std_eps=config.std_eps
        ),
        selector=Prune(config=config, place="algorithm.with"),
        clip=partial(
            algorithms.clip_ratio, epsilon=config.epsilon, epsilon_high=config.epsilon_high
        ),
        regulariser=algorithms.KlPenalty(config.beta),
        aggregation=AGGREGATIONS[config.aggregation],
    )
    allocating = config.allocating()
    if allocating is None:
        return composition
    return composition.replace("allocate", Allocate(config=allocating, place="algorithm.with"))
