"""Axis ``advantage``, parts that look at lengths: GFPO, its adaptive form, and OPO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from grpokit.algorithms import axes
from grpokit.algorithms.advantage import kept_zscore, length_weighted
from grpokit.algorithms.lengthwise_config import (
    AdaptiveFilterConfig,
    FilterConfig,
    KeptConfig,
)
from grpokit.algorithms.select import Metric, kept_rows
from grpokit.algorithms.sketch import Digest
from grpokit.spec.flow import Advantages, Outcome, Rollout, Scores, Selection

__all__ = [
    "AdaptiveFilter",
    "GroupFilter",
    "LengthWeighted",
    "adaptive_filter",
    "filtered_rows",
    "filtered_zscore",
    "group_filter",
    "keep_filtered",
    "kept_mask",
    "length_weighted_baseline",
]


def kept_mask(
    totals_PG: Tensor, valid_PG: Tensor, lengths_PG: Tensor, keep_P: Sequence[int], metric: Metric
) -> Tensor:
    """kept_PG: the ``keep`` best of each group, by length or by total a token (``select.kept_rows``)."""
    kept_PG = torch.zeros_like(valid_PG)
    lengths: list[list[int]] = lengths_PG.tolist()
    for p, (totals, valid) in enumerate(zip(totals_PG.tolist(), valid_PG.tolist(), strict=True)):
        known = [total if good else None for total, good in zip(totals, valid, strict=True)]
        best = kept_rows(lengths[p], known, keep=keep_P[p], metric=metric)
        kept_PG[p, sorted(best)] = True
    return kept_PG & valid_PG


def filtered_zscore(
    totals_PG: Tensor,
    valid_PG: Tensor,
    lengths_PG: Tensor,
    *,
    keep_P: Sequence[int],
    metric: Metric = "shortest",
    std_ddof: int = 0,
    std_eps: float = 0.0,
) -> Tensor:
    """Z-scores among the best of each group, 0 for the others (GFPO, arXiv 2508.09726).

    S   = the k best of the group: shortest L_i, or largest r_i / L_i (efficiency)
    A_i = (r_i - mean_S r) / (std_S r + std_eps) for i in S, else 0

    The paper has the population's deviation and nothing added; the GFPO that TRL once had, the sample's
    and 1e-4. Degenerate: if all of S have one total the group teaches nothing. Under ``efficiency``
    with totals of 0 and 1 that is so wherever k answers are right; give it totals that know length.
    """
    kept_PG = kept_mask(totals_PG, valid_PG, lengths_PG, keep_P, metric)
    return kept_zscore(totals_PG, kept_PG, std_ddof=std_ddof, std_eps=std_eps)


def lengths_of(rollout: Rollout) -> Tensor:
    """lengths_PG in tokens, with the end of sequence."""
    return torch.tensor([[len(one.token_ids) for one in group] for group in rollout.completions])


def half(keep: int | None, group: int) -> int:
    """``keep``, or half of the group where it is None; at least 2, which is what a deviation needs."""
    return max(2, group // 2) if keep is None else keep


@dataclass
class GroupFilter:
    """``filtered_zscore`` with one k for every group; None keeps half of a group."""

    keep: int | None = None
    metric: Metric = "shortest"
    std_ddof: int = 0
    std_eps: float = 0.0
    needs_rollout: bool = True

    def __call__(self, totals_PG: Tensor, valid_PG: Tensor, rollout: Rollout, /) -> Tensor:
        return filtered_zscore(
            totals_PG,
            valid_PG,
            lengths_of(rollout),
            keep_P=[half(self.keep, rollout.group)] * len(rollout.prompts),
            metric=self.metric,
            std_ddof=self.std_ddof,
            std_eps=self.std_eps,
        )


@dataclass
class AdaptiveFilter:
    """``filtered_zscore`` that keeps more of hard groups than of easy ones (GFPO, algorithm 2).

    k = shares[q] of the group, q the quarter in which the mean total of the group lies among those of all
        groups of the steps before: very hard (below the first quartile), hard, medium, easy

    Quartiles come from a t-digest. Until it holds ``warmup`` groups every group counts as very hard. A
    group all of whose rewards abstained has no mean; it is very hard and adds nothing. Degenerate: among
    groups of equal means every one is easy, because it lies below no quartile.
    """

    shares: tuple[float, float, float, float] = (0.5, 0.5, 0.375, 0.25)
    warmup: int = 32
    metric: Metric = "shortest"
    std_ddof: int = 0
    std_eps: float = 0.0
    digest: Digest = field(default_factory=Digest)
    needs_rollout: bool = True

    def __call__(self, totals_PG: Tensor, valid_PG: Tensor, rollout: Rollout, /) -> Tensor:
        count_P = valid_PG.sum(-1)
        means_P = torch.where(valid_PG, totals_PG, 0.0).sum(-1) / count_P.clamp(min=1)
        pairs = zip(means_P.tolist(), count_P.tolist(), strict=True)
        return filtered_zscore(
            totals_PG,
            valid_PG,
            lengths_of(rollout),
            keep_P=[self.keep(mean if count else None, rollout.group) for mean, count in pairs],
            metric=self.metric,
            std_ddof=self.std_ddof,
            std_eps=self.std_eps,
        )

    def keep(self, mean: float | None, group: int) -> int:
        """K for a group of that mean total."""
        quarter = 0
        if mean is not None and self.digest.count >= self.warmup:
            quarter = sum(mean >= self.digest.quantile(share) for share in (0.25, 0.5, 0.75))
        return max(2, round(self.shares[quarter] * group))

    def observe(self, outcome: Outcome) -> None:
        """Every group that was drawn counts, also one that did not train."""
        known = [[one for one in group if one is not None] for group in outcome.scores.total]
        self.digest.add(sum(group) / len(group) for group in known if group)

    def state(self) -> dict[str, Any]:
        return self.digest.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.digest.load_state(state)


@dataclass
class LengthWeighted:
    """``advantage.length_weighted`` with the lengths of the rollout (OPO, arXiv 2505.23585)."""

    needs_rollout: bool = True

    def __call__(self, totals_PG: Tensor, valid_PG: Tensor, rollout: Rollout, /) -> Tensor:
        return length_weighted(totals_PG, valid_PG, lengths_of(rollout))


def keep_filtered(
    rollout: Rollout,
    scores: Scores,
    advantages: Advantages,
    *,
    keep: int | None = None,
    metric: Metric = "shortest",
) -> Selection:
    """The best of each group alone, so that no denominator counts the others (GFPO as TRL once had it).

    ``group-filter`` on the axis ``advantage`` keeps the same ones if it has the same settings. Totals are
    the weighted sums of the recipe's rewards. Completions without a score are left out.
    """
    del advantages
    rows: list[tuple[int, int]] = []
    for p, group in enumerate(rollout.completions):
        lengths = [len(one.token_ids) for one in group]
        totals = scores.total[p]
        best = kept_rows(lengths, totals, keep=half(keep, len(group)), metric=metric)
        rows += [(p, g) for g in sorted(best) if totals[g] is not None]
    return Selection(rows=tuple(rows), weights=(1.0,) * len(rows), denominator=len(rows))


def group_filter(config: FilterConfig) -> axes.RolloutAdvantage:
    return GroupFilter(config.keep, config.metric, config.std_ddof, config.std_eps)


def adaptive_filter(config: AdaptiveFilterConfig) -> axes.RolloutAdvantage:
    return AdaptiveFilter(
        config.shares, config.warmup, config.metric, config.std_ddof, config.std_eps
    )


def length_weighted_baseline() -> axes.RolloutAdvantage:
    return LengthWeighted()


def filtered_rows(config: KeptConfig) -> axes.Select:
    return partial(keep_filtered, keep=config.keep, metric=config.metric)
