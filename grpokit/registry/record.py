"""What is known about one installed plugin."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from grpokit.spec.components import ComponentSpec

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint
    from importlib.resources.abc import Traversable

__all__ = ["GROUP", "Installed", "PluginRecord", "State", "plugin_name"]

GROUP = "grpokit"
"""The entry-point group of plugins."""
State = Literal["loaded", "broken", "incompatible", "blocked", "conflict"]


@dataclass(frozen=True, kw_only=True)
class PluginRecord:
    """One installed plugin and what became of it.

    Attributes:
        name: distribution name less ``grpokit-``; core's is ``grpokit``.
        module: the module (or modules) its entry points name.
        state: ``loaded``; ``broken`` (cannot be imported, or wrong hooks); ``incompatible`` (made
            for another hook API); ``blocked`` (by an environment variable); ``conflict`` (another
            distribution has the same plugin name).
        reason: why it is not loaded: fact and remedy.
        trace: the traceback, where there is one.
        specs: its components; empty unless loaded.
        recipes: its recipe folders; empty unless loaded.
    """

    name: str
    distribution: str
    version: str
    module: str
    state: State
    reason: str = ""
    trace: str = ""
    specs: tuple[ComponentSpec, ...] = ()
    recipes: tuple[Traversable, ...] = ()

    @property
    def loaded(self) -> bool:
        return self.state == "loaded"


def plugin_name(distribution: str) -> str:
    """``grpokit-math`` -> ``math``; other distributions keep their name. Normalised as PyPI does."""
    normal = re.sub(r"[-_.]+", "-", distribution).lower()
    return normal.removeprefix("grpokit-") or normal


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A distribution with entry points for us; ``error`` when they cannot be read."""

    distribution: str
    version: str
    points: tuple[EntryPoint, ...] = ()
    error: str = ""

    def record(self, state: State, **more: Any) -> PluginRecord:
        return PluginRecord(
            name=plugin_name(self.distribution),
            distribution=self.distribution,
            version=self.version,
            module=", ".join(point.value for point in self.points),
            state=state,
            **more,
        )
