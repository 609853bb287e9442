"""Settings of ReST-EM, parts and named. No torch here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from grpokit.spec.config import Config

__all__ = ["CapConfig", "RestEmConfig", "RestartConfig", "ThresholdConfig"]


class ThresholdConfig(Config):
    """Settings of ``threshold``."""

    threshold: float = 1.0
    """Smallest total that counts as right."""


class CapConfig(Config):
    """Settings of ``positive``."""

    cap: int = Field(default=10, ge=1)
    """Right completions of one prompt that train, the first ones; 10 of 32 in ReST-EM."""


class RestartConfig(Config):
    """Settings of ``restart``."""

    every: int = Field(default=1, ge=1)
    """Updates from one restart of the policy to the next; 1 fine-tunes the loaded model each time."""


class RestEmConfig(ThresholdConfig, CapConfig, RestartConfig):
    """Expectation-maximisation by filtered fine-tuning (arXiv 2312.06585)."""

    aggregation: Literal["token-mean", "sequence-mean", "sequence-sum"] = "token-mean"
    """How token losses become one: token-mean as in fine-tuning; sequence-sum is the paper's sum over log-probs."""
