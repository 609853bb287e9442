"""Settings of GRPO's named relatives. No torch here."""

from __future__ import annotations

from pydantic import Field

from grpokit.algorithms.grpo_config import PolicyConfig, ScaledConfig

__all__ = ["BnpoTrlConfig", "DrGrpoConfig", "GspoConfig"]


class DrGrpoConfig(PolicyConfig):
    """GRPO done right (arXiv 2503.20783): neither deviation nor length in a denominator."""


class BnpoTrlConfig(ScaledConfig):
    """What TRL and Unsloth call bnpo; not the BNPO of arXiv 2506.02864."""


class GspoConfig(ScaledConfig):
    """Group sequence policy optimisation (arXiv 2507.18071)."""

    epsilon: float = Field(default=3e-4, gt=0, le=1)
    """Clip range of the completion's ratio, far smaller than that of single tokens (the paper's value)."""
    epsilon_high: float | None = Field(default=4e-4, gt=0)
    """Upper clip range (the paper's value)."""
