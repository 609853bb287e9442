"""Core as a plugin: the same hooks, the same record, the same checks as everyone else."""

from __future__ import annotations

from grpokit import __version__

__all__ = ["CORE", "CORE_DISTRIBUTION", "CORE_MODULE", "CORE_VERSION", "OUR_PLUGINS", "RESERVED"]

CORE = "grpokit"
"""Name of core's plugin. Ids of core's components are bare: ``exact``, not ``grpokit/exact``."""
CORE_DISTRIBUTION = "grpokit"
CORE_MODULE = "grpokit.builtins.hooks"
CORE_VERSION = __version__
RESERVED = frozenset({CORE, "core"})
"""Names that no other plugin may have."""
OUR_PLUGINS = frozenset(
    {
        "cppo",
        "hf",
        "math",
        "reasoning-gym",
        "rewards-intrinsic",
        "rewards-model",
        "trl",
        "unsloth",
    }
)
"""Names of the plugins that are published with grpokit, installed or not."""
