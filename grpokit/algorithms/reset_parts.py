"""Parts of ``reset`` as components: ``factory(config)``."""

from __future__ import annotations

from grpokit.algorithms import axes
from grpokit.algorithms.offline_config import RestartConfig
from grpokit.algorithms.remember_config import ProlongConfig
from grpokit.algorithms.reset import Prolong, Restart

__all__ = ["prolong", "restart"]


def prolong(config: ProlongConfig) -> axes.Reset:
    return Prolong(
        every=config.every,
        kl_above=config.kl_above,
        window=config.window,
        patience=config.patience,
        min_gain=config.min_gain,
    )


def restart(config: RestartConfig) -> axes.Reset:
    return Restart(config.every)
