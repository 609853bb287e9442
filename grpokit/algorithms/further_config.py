"""Settings of named algorithms beyond GRPO's nearest relatives. No torch here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from grpokit.algorithms.grpo_config import PenaltyConfig, RatioConfig, StdConfig
from grpokit.algorithms.part_config import ClipConfig

__all__ = ["OpenPipeConfig"]


class OpenPipeConfig(StdConfig, ClipConfig, RatioConfig, PenaltyConfig):
    """GRPO as in OpenPipe's deductive-reasoning."""

    std_ddof: Literal[0, 1] = 0
    """Standard deviation of a group over n - std_ddof: 0 is the population's, OpenPipe's."""
    std_eps: float = Field(default=1e-6, ge=0)
    """Added to the standard deviation."""
    kl_estimator: Literal["k1", "k2", "k3", "ref-weighted"] = "ref-weighted"
    """Estimator of the divergence a token where beta is above 0; ref-weighted is OpenPipe's."""
