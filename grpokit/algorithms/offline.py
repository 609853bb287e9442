"""Parts of ReST-EM: fine-tuning on the completions that are right (arXiv 2312.06585)."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from grpokit.algorithms import axes
from grpokit.algorithms.offline_config import CapConfig, ThresholdConfig
from grpokit.spec.flow import Advantages, Rollout, Scores, Selection

__all__ = ["above_threshold", "keep_capped", "positive", "threshold"]


def above_threshold(totals_PG: Tensor, valid_PG: Tensor, *, threshold: float = 1.0) -> Tensor:
    """1 where the total reaches the threshold, else 0: no baseline, the E step of ReST-EM.

    Degenerate: a group without a right answer has advantages 0; one with right answers only has 1s,
    since nothing is compared.
    """
    return torch.where(valid_PG & (totals_PG >= threshold), 1.0, 0.0).to(totals_PG.dtype)


def keep_capped(
    rollout: Rollout, scores: Scores, advantages: Advantages, *, cap: int = 10
) -> Selection:
    """Completions with a positive advantage, at most the first ``cap`` of each prompt.

    The cap keeps easy questions from outweighing the hard ones (10 of 32 in ReST-EM). Those left out
    count in no denominator. Degenerate: without a positive advantage nothing trains.
    """
    del scores
    advantages_PG: list[list[float]] = advantages.advantages_PG.tolist()
    rows: list[tuple[int, int]] = []
    for p, group in enumerate(rollout.completions):
        good = [(p, g) for g in range(len(group)) if advantages_PG[p][g] > 0]
        rows += good[:cap]
    return Selection(rows=tuple(rows), weights=(1.0,) * len(rows), denominator=len(rows))


def threshold(config: ThresholdConfig) -> axes.Advantage:
    return partial(above_threshold, threshold=config.threshold)


def positive(config: CapConfig) -> axes.Select:
    return partial(keep_capped, cap=config.cap)
