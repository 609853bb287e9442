"""Algorithms that steer what a step asks and keeps: DAPO, SRPO, POLARIS."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from grpokit.algorithms import axes
from grpokit.algorithms.advantage import group_zscore
from grpokit.algorithms.aggregate import total_scores
from grpokit.algorithms.aggregation import token_mean
from grpokit.algorithms.allocate import rescue
from grpokit.algorithms.compose import Composition
from grpokit.algorithms.grpo import around, clip_of, ratio_of, zscore_of
from grpokit.algorithms.part_config import ZscoreConfig
from grpokit.algorithms.sampler_history import EasyDrop
from grpokit.algorithms.shaping import Overlong
from grpokit.algorithms.steered_config import DapoConfig, PolarisConfig, SrpoConfig
from grpokit.algorithms.step_parts import dynamic_sampling, history, stages_of
from grpokit.spec.flow import Rollout

__all__ = ["StoppedOnly", "dapo", "polaris", "srpo", "zscore_stopped"]


def dapo(config: DapoConfig) -> Composition:
    """Decoupled clip and dynamic sampling policy optimisation (arXiv 2503.14476).

    L = -sum_it min(w A_i, clip(w, 1 - .2, 1 + .28) A_i) / sum_i L_i, over groups with std(metric) > 0

    No divergence. ``metric`` should be the accuracy, not a total that length shapes. The soft overlong
    punishment is ``overlong_cache``; leaving truncated completions out is ``mask_truncated``, which the
    authors' best run did not use.
    """
    cache = config.overlong_cache
    return around(
        config,
        aggregate=total_scores if cache is None else Overlong(cache, config.overlong_weight),
        advantage=zscore_of(config),
        allocator=dynamic_sampling(config),
        ratio=ratio_of(config),
        clip=clip_of(config),
        aggregation=token_mean,
    )


def srpo(config: SrpoConfig) -> Composition:
    """Two-staged history-resampling policy optimisation (arXiv 2504.14286).

    Rows whose completions were all correct leave the next epochs, rows that were all wrong stay; a
    completion that ran into the limit has advantage 0; token mean, no divergence. The two stages of
    the paper are ``stages``, such as ``[{steps: 100, where: {domain: math}}, {where: {domain: code}}]``.

    ``again_after`` is not the paper's: a solved row is asked again after so many steps.
    """
    return around(
        config,
        sampler=history(config),
        advantage=StoppedOnly(zscore_of(config)),
        ratio=ratio_of(config),
        clip=clip_of(config),
        aggregation=token_mean,
    )


def polaris(config: PolarisConfig) -> Composition:
    """POLARIS (its authors' report of 2025): longer and hotter in stages, on rows that still teach.

    From the report: clip-higher, no divergence and no entropy bonus; rows with a mean score above .9
    are dropped between stages; the temperature rises from stage to stage; groups without signal are
    replaced by copies of informative ones. Not verified against their code: the token mean, and which
    rollouts the mean score counts (here all since the last border). Left out: their buffer of earlier
    right answers for groups that are all wrong, and the choice of data by difficulty, which is the
    sampler ``band``.
    """
    borders = frozenset(stage.from_ - 1 for stage in config.stages if stage.from_ > 1)
    return around(
        config,
        sampler=EasyDrop(config.metric, config.drop_above, config.drop_every, borders),
        rollout=stages_of(config.stages),
        advantage=zscore_of(config),
        allocator=rescue,
        ratio=ratio_of(config),
        clip=clip_of(config),
        aggregation=token_mean,
    )


@dataclass
class StoppedOnly:
    """The advantages of ``base``, and 0 for completions that ran into the limit.

    Their totals still count in the group's statistics.
    """

    base: axes.Advantage
    needs_rollout: bool = True

    def __call__(self, totals_PG: Tensor, valid_PG: Tensor, rollout: Rollout, /) -> Tensor:
        stopped_PG = torch.tensor(
            [[one.finish != "length" for one in group] for group in rollout.completions]
        )
        return torch.where(stopped_PG, self.base(totals_PG, valid_PG), 0.0)


def zscore_stopped(config: ZscoreConfig) -> axes.RolloutAdvantage:
    """The part ``zscore-stopped``."""
    zscore = partial(group_zscore, std_ddof=config.std_ddof, std_eps=config.std_eps)
    return StoppedOnly(zscore)
