"""Pure tensor functions, one file an axis, and the named compositions. Importing this loads no torch.

    axes          the axes and what a part of each must look like: READ FIRST
    sampler       which rows a step asks (sampler_history: by what was scored); rollout: how they are drawn
    allocate      which groups go on, and whether the step asks more; reset: what begins anew
    aggregate     scores -> totals_PG, valid_PG: weighted sum, z-scores summed, power
    shaping       on the same axis: totals by length (soft overlong, cosine, stop properly); metric
    advantage     group z-score, group centred, leave one out, pass@k
    advantage_batch  scaled over the batch: batch std, REINFORCE++-baseline, Beta-normalised
    lengthwise    on the same axis: GFPO (sketch: quantiles of a stream), OPO; quantile: QRPO, with its loss
    offline       on the same axis, and select: ReST-EM
    gae           for a critic, not wired: generalised advantages, clipped value loss
    select        all rows, without those that teach nothing, or k of each group
    ratio         new to old policy, by token or by sequence
    clip          symmetric, asymmetric, two-sided, dual, off-policy rows out
    objective     on the same axis: CISPO, SAPO, GMPO, VESPO
    covariance    on the same axis: KL-Cov; token_clip: Clip-Cov, top entropy, the spared end
    mask          completion tokens, truncated completions out; token_mask: the last, or not after a marker
    aggregation   sequence mean, token mean (global, local), constant length, sequence sum
    regulariser   k1, k2, k3 divergence from the reference policy, entropy bonus; adaptive_entropy
    correction    mismatch of sampler and trainer: none, truncated, masked
    logprobs      log-probs of tokens from hidden states, without the full logits
    compose       Composition: one callable an axis, together an Algorithm
    build         a named algorithm with replaced parts
    parts         factories of single parts for recipes; part_config holds their settings
    advantage_parts  the same for more parts of advantage, aggregate, select; advantage_config
    loss_parts    the same for parts of the loss beyond GRPO's own; loss_config
    step_parts    the same for parts of sampler, rollout, allocate, reset; step_config
    shaping_parts  the same for totals by length; shaping_config
    grpo          the algorithm GRPO; grpo_config holds its settings
    relatives, objectives, baselines  the other named algorithms; named_config holds their settings
    steered       DAPO, SRPO, POLARIS; steered_config
    further       GFPO, OPO, QRPO, ReST-EM, OpenPipe; prolonged: ProRL; settings beside each
    gpg           parts of GPG
    *_config      settings beside the file they are named after; remember_config: of parts with a memory
    like          conventions of other frameworks, for ``like: trl`` and ``like: verl``

Functions are found on first use: ``grpokit.algorithms.token_logprobs`` imports torch, ``import
grpokit.algorithms`` does not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grpokit.algorithms.adaptive_entropy import AdaptiveEntropy
    from grpokit.algorithms.advantage import (
        group_centred,
        group_zscore,
        kept_zscore,
        leave_one_out,
        length_weighted,
        pass_at_k,
    )
    from grpokit.algorithms.advantage_batch import batch_std, beta_normalised, reinforce_baseline
    from grpokit.algorithms.aggregate import normalised_sum, power_scores, total_scores
    from grpokit.algorithms.aggregation import (
        constant_length,
        sequence_mean,
        sequence_sum,
        token_mean,
        token_mean_local,
    )
    from grpokit.algorithms.allocate import DynamicSampling, Rounds, StdFilter, fixed, rescue
    from grpokit.algorithms.axes import AXES, Clipped
    from grpokit.algorithms.build import build_algorithm
    from grpokit.algorithms.certainty import token_certainty
    from grpokit.algorithms.clip import clip_off_policy, clip_ratio, dual_clip
    from grpokit.algorithms.compose import Composition
    from grpokit.algorithms.correction import importance_weight, no_correction, truncated_weight
    from grpokit.algorithms.covariance import kl_cov
    from grpokit.algorithms.gae import (
        clipped_value_loss,
        generalised_advantages,
        length_adaptive_lambda,
        whiten_tokens,
    )
    from grpokit.algorithms.lengthwise import filtered_zscore
    from grpokit.algorithms.logprobs import token_logprobs
    from grpokit.algorithms.mask import completion_mask, finished_mask
    from grpokit.algorithms.metric import metric_of
    from grpokit.algorithms.objective import cispo, gmpo, sapo, vespo
    from grpokit.algorithms.offline import above_threshold, keep_capped
    from grpokit.algorithms.quantile import beta_log_partition, quantile_rewards, regression_loss
    from grpokit.algorithms.ratio import sequence_ratio, sequence_token_ratio, token_ratio
    from grpokit.algorithms.regulariser import (
        EntropyBonus,
        KlPenalty,
        NoRegulariser,
        Sum,
        k1,
        k2,
        k3,
    )
    from grpokit.algorithms.reset import Prolong, Restart
    from grpokit.algorithms.rollout import SamplingStages
    from grpokit.algorithms.sampler import Band, Hardest, OneExample, Stage, Staged, in_order, scan
    from grpokit.algorithms.sampler_history import EasyDrop, History, Variance
    from grpokit.algorithms.select import drop_zero, keep_all, top_k
    from grpokit.algorithms.shaping import CosineLength, Cycle, Overlong, StopProperly
    from grpokit.algorithms.sketch import Digest
    from grpokit.algorithms.token_clip import cov_clip, high_entropy, spared_end
    from grpokit.algorithms.token_mask import after_marker, only_last

__all__ = [
    "AXES",
    "AdaptiveEntropy",
    "Band",
    "Clipped",
    "Composition",
    "CosineLength",
    "Cycle",
    "Digest",
    "DynamicSampling",
    "EasyDrop",
    "EntropyBonus",
    "Hardest",
    "History",
    "KlPenalty",
    "NoRegulariser",
    "OneExample",
    "Overlong",
    "Prolong",
    "Restart",
    "Rounds",
    "SamplingStages",
    "Stage",
    "Staged",
    "StdFilter",
    "StopProperly",
    "Sum",
    "Variance",
    "above_threshold",
    "after_marker",
    "batch_std",
    "beta_log_partition",
    "beta_normalised",
    "build_algorithm",
    "cispo",
    "clip_off_policy",
    "clip_ratio",
    "clipped_value_loss",
    "completion_mask",
    "constant_length",
    "cov_clip",
    "drop_zero",
    "dual_clip",
    "filtered_zscore",
    "finished_mask",
    "fixed",
    "generalised_advantages",
    "gmpo",
    "group_centred",
    "group_zscore",
    "high_entropy",
    "importance_weight",
    "in_order",
    "k1",
    "k2",
    "k3",
    "keep_all",
    "keep_capped",
    "kept_zscore",
    "kl_cov",
    "leave_one_out",
    "length_adaptive_lambda",
    "length_weighted",
    "metric_of",
    "no_correction",
    "normalised_sum",
    "only_last",
    "pass_at_k",
    "power_scores",
    "quantile_rewards",
    "regression_loss",
    "reinforce_baseline",
    "rescue",
    "sapo",
    "scan",
    "sequence_mean",
    "sequence_ratio",
    "sequence_sum",
    "sequence_token_ratio",
    "spared_end",
    "token_certainty",
    "token_logprobs",
    "token_mean",
    "token_mean_local",
    "token_ratio",
    "top_k",
    "total_scores",
    "truncated_weight",
    "vespo",
    "whiten_tokens",
]

_HOMES = {
    "advantage": (
        "group_centred",
        "group_zscore",
        "kept_zscore",
        "leave_one_out",
        "length_weighted",
        "pass_at_k",
    ),
    "advantage_batch": ("batch_std", "beta_normalised", "reinforce_baseline"),
    "aggregate": ("normalised_sum", "power_scores", "total_scores"),
    "aggregation": (
        "constant_length",
        "sequence_mean",
        "sequence_sum",
        "token_mean",
        "token_mean_local",
    ),
    "axes": ("AXES", "Clipped"),
    "build": ("build_algorithm",),
    "certainty": ("token_certainty",),
    "clip": ("clip_off_policy", "clip_ratio", "dual_clip"),
    "compose": ("Composition",),
    "correction": ("importance_weight", "no_correction", "truncated_weight"),
    "covariance": ("kl_cov",),
    "gae": (
        "clipped_value_loss",
        "generalised_advantages",
        "length_adaptive_lambda",
        "whiten_tokens",
    ),
    "logprobs": ("token_logprobs",),
    "mask": ("completion_mask", "finished_mask"),
    "objective": ("cispo", "gmpo", "sapo", "vespo"),
    "ratio": ("sequence_ratio", "sequence_token_ratio", "token_ratio"),
    "regulariser": ("EntropyBonus", "KlPenalty", "NoRegulariser", "Sum", "k1", "k2", "k3"),
    "select": ("drop_zero", "keep_all", "top_k"),
    "adaptive_entropy": ("AdaptiveEntropy",),
    "lengthwise": ("filtered_zscore",),
    "offline": ("above_threshold", "keep_capped"),
    "quantile": ("beta_log_partition", "quantile_rewards", "regression_loss"),
    "reset": ("Prolong", "Restart"),
    "sketch": ("Digest",),
    "token_clip": ("cov_clip", "high_entropy", "spared_end"),
    "token_mask": ("after_marker", "only_last"),
    "allocate": ("DynamicSampling", "Rounds", "StdFilter", "fixed", "rescue"),
    "metric": ("metric_of",),
    "rollout": ("SamplingStages",),
    "sampler": ("Band", "Hardest", "OneExample", "Stage", "Staged", "in_order", "scan"),
    "sampler_history": ("EasyDrop", "History", "Variance"),
    "shaping": ("CosineLength", "Cycle", "Overlong", "StopProperly"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"grpokit.algorithms.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
