"""Settings of GRPO's named relatives. No torch here."""

from __future__ import annotations

from pydantic import Field

from grpokit.algorithms.advantage_config import BatchStdConfig, WhitenConfig
from grpokit.algorithms.grpo_config import PenaltyConfig, PolicyConfig, ScaledConfig, StdConfig
from grpokit.algorithms.loss_config import CispoConfig, GmpoConfig, SapoConfig, VespoConfig

__all__ = [
    "BnpoConfig",
    "BnpoTrlConfig",
    "DrGrpoConfig",
    "GspoConfig",
    "LitePpoConfig",
    "LuspoConfig",
    "NamedCispoConfig",
    "NamedGmpoConfig",
    "NamedSapoConfig",
    "NamedVespoConfig",
    "ReinforceConfig",
    "RlooConfig",
]


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


class LuspoConfig(GspoConfig):
    """GSPO times the length (arXiv 2602.05261, as TRL has it)."""


class NamedCispoConfig(StdConfig, CispoConfig, PenaltyConfig):
    """Clipped importance weights, every token with a gradient (arXiv 2506.13585)."""


class NamedSapoConfig(StdConfig, SapoConfig, PenaltyConfig):
    """A soft gate in place of the clip (arXiv 2511.20347)."""


class NamedGmpoConfig(StdConfig, GmpoConfig, PenaltyConfig):
    """Geometric mean policy optimisation (arXiv 2507.20673)."""


class NamedVespoConfig(StdConfig, VespoConfig, PenaltyConfig):
    """A gamma-shaped weight of the completion's ratio (arXiv 2602.10693, as TRL has it)."""


class RlooConfig(PolicyConfig):
    """REINFORCE with the other completions as baseline (arXiv 2402.14740)."""


class ReinforceConfig(WhitenConfig, PolicyConfig):
    """REINFORCE++ with the group as baseline (arXiv 2501.03262)."""


class LitePpoConfig(BatchStdConfig, PolicyConfig):
    """Lite PPO (arXiv 2508.08221): the batch's deviation and the token mean, nothing else."""


class BnpoConfig(PolicyConfig):
    """BNPO of the paper (arXiv 2506.02864), for totals between 0 and 1."""
