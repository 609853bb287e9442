"""The reward ``self-certainty`` (Intuitor, arXiv 2505.19590)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean

from grpokit.api import Config

__all__ = ["SelfCertaintyConfig", "self_certainty"]


class SelfCertaintyConfig(Config):
    """Settings of the reward `self-certainty`."""

    constant: bool = True
    """Take log V off, so that 0 is a uniform policy. The authors' code does not; advantages are the same."""


def self_certainty(
    config: SelfCertaintyConfig,
) -> Callable[[Sequence[float], int], float | None]:
    """Builds the reward: u = 1/T sum_t KL(U || p_t), with U uniform over the vocabulary.

    KL(U || p_t) = logsumexp(z_t) - mean(z_t) - log V for the logits z_t that drew token t, at
    temperature 1. 0 and more without an upper bound. The group's z-score of u is the paper's
    advantage. A completion without a token has no score.
    """

    def score(self_certainty: Sequence[float], vocabulary_size: int) -> float | None:
        if not self_certainty:
            return None
        return fmean(self_certainty) + (0.0 if config.constant else math.log(vocabulary_size))

    return score
