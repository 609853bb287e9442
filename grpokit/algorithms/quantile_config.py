"""Settings of QRPO, parts and named. No torch here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from grpokit.spec.config import Config

__all__ = ["QrpoConfig", "QuantileConfig", "RegressionConfig"]


class QuantileConfig(Config):
    """Settings of ``quantile``."""

    against: Literal["group", "column"] = "group"
    """What a reward is compared with: the group's own, or the column ref_rewards of the data set row (the paper)."""

    def columns(self) -> tuple[str, ...]:
        """Columns that the data set must have."""
        return ("ref_rewards",) if self.against == "column" else ()


class RegressionConfig(Config):
    """Settings of ``regression``."""

    beta: float = Field(default=0.003, ge=1e-6)
    """Weight of the divergence from the reference policy in the optimum; the authors' value."""
    log_partition: Literal["exact", "approximate"] = "exact"
    """log Z as it is, or log beta + 1/beta as the authors compute it, which is wrong for a large beta."""

    def needs(self) -> frozenset[str]:
        """Capabilities that these settings ask of the backend."""
        return frozenset({"reference"})


class QrpoConfig(QuantileConfig, RegressionConfig):
    """Quantile reward policy optimisation (arXiv 2507.08068)."""

    mask_truncated: bool = False
    """Completions that ran into rollout.max_tokens add no loss; their reward still counts in the group."""
