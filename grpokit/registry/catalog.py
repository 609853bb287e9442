"""The installed components by kind and name. An object that is passed down, never a global."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grpokit.errors import ComponentError
from grpokit.registry.builtin import CORE
from grpokit.registry.record import PluginRecord
from grpokit.spec.components import KINDS, ComponentSpec

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["FOREIGN_SCHEMES", "Catalog", "Entry"]

FOREIGN_SCHEMES = ("trl", "verl", "verifiers", "reasoning_gym")
"""What a reward's name begins with, before a colon, where it is another trainer's."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One component: its spec and the plugin it came from."""

    id: str
    kind: str
    spec: ComponentSpec
    plugin: PluginRecord

    @property
    def origin(self) -> str:
        """For people: ``math/boxed (grpokit-math 1.2.0)``."""
        return f"{self.id} ({self.plugin.distribution} {self.plugin.version})"


class Catalog:
    """All plugins and all components of one moment.

    Args:
        plugins: the installed ones.
        foreign_rewards: somebody agreed that rewards named by path (``trl:pkg.mod.fn``, see
            ``registry.foreign``) are imported.
    """

    def __init__(self, plugins: Sequence[PluginRecord], *, foreign_rewards: bool = False) -> None:
        self.plugins = tuple(plugins)
        self.foreign_rewards = foreign_rewards
        self._foreign: dict[str, Entry] = {}
        self._entries = tuple(
            Entry(id=_id(plugin, spec), kind=spec.kind, spec=spec, plugin=plugin)
            for plugin in self.plugins
            for spec in plugin.specs
        )
        self._by_id = {(entry.kind, entry.id): entry for entry in self._entries}

    @classmethod
    def load(
        cls, environ: Mapping[str, str] | None = None, *, foreign_rewards: bool = False
    ) -> Catalog:
        """Discovers and loads the installed plugins (see :func:`grpokit.registry.discover.discover`)."""
        from grpokit.registry.discover import discover  # reward workers need entries alone

        return cls(discover(environ), foreign_rewards=foreign_rewards)

    def entries(self, kind: str | None = None) -> tuple[Entry, ...]:
        """Components in table order: by kind, core first, then by plugin."""
        if kind is not None:
            return tuple(entry for entry in self._entries if entry.kind == kind)
        return tuple(sorted(self._entries, key=lambda entry: KINDS.index(entry.kind)))

    def recipe_folders(self) -> tuple[tuple[str, Traversable], ...]:
        """(plugin name, folder) of every loaded plugin, core's first."""
        return tuple((plugin.name, folder) for plugin in self.plugins for folder in plugin.recipes)

    def matches(self, kind: str, name: str) -> tuple[Entry, ...]:
        """What ``name`` can mean: one entry, none, or several plugins' bare names.

        An id is exact. A bare name means core's component where core has one, whatever plugins
        are installed, so that installing a plugin never changes a recipe's meaning.
        """
        if kind == "reward" and name.partition(":")[0] in FOREIGN_SCHEMES and ":" in name:
            return (self._foreign_reward(name),)
        exact = self._by_id.get((kind, name.removeprefix(f"{CORE}/")))
        if exact is not None:
            return (exact,)
        return tuple(entry for entry in self.entries(kind) if entry.spec.name == name)

    def find(self, kind: str, name: str) -> Entry:
        """The component that a recipe means by ``name``.

        Raises:
            ComponentError: nothing has this name, or several plugins' components have it.
        """
        found = self.matches(kind, name)
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(entry.id for entry in found)
            raise ComponentError(
                f"the {kind} name {name!r} is ambiguous: {ids}", remedy="write one of these ids"
            )
        raise ComponentError(self._unknown(kind, name), remedy=self._remedy(kind, name))

    def _foreign_reward(self, name: str) -> Entry:
        """Another trainer's reward; the same object for the same name.

        Raises:
            ComponentError: it is malformed, is not there, or nobody agreed to import it.
        """
        from grpokit.registry.foreign import entry as foreign
        from grpokit.registry.foreign.reference import parse

        if name not in self._foreign:
            reference = parse(name)
            foreign.check(reference)
            if reference.needs_consent and not self.foreign_rewards:
                raise foreign.refusal(reference)
            self._foreign[name] = foreign.entry_of(name)
        return self._foreign[name]

    def near(self, kind: str, name: str) -> tuple[str, ...]:
        """Names of this kind that look like ``name``, best first; swapped letters beat a wrong one."""
        entries = self.entries(kind)
        spelling = {entry.id: entry.id for entry in entries}
        for entry in entries if "/" not in name else ():
            spelling.setdefault(entry.spec.name, entry.id)
        close = difflib.get_close_matches(name, spelling, n=3, cutoff=0.6)
        close.sort(key=lambda match: sorted(match) != sorted(name))
        return tuple(dict.fromkeys(spelling[match] for match in close))

    def _unknown(self, kind: str, name: str) -> str:
        fact = f"there is no {kind} {name!r}"
        plugin_name = name.rpartition("/")[0]
        suspects = [record for record in self.plugins if not record.loaded]
        if not plugin_name and self.near(kind, name):
            suspects = []  # a misspelling is likelier than a component of a broken plugin
        if plugin_name:
            suspects = [record for record in suspects if record.name == plugin_name]
            installed = any(record.name == plugin_name for record in self.plugins)
            if not installed:
                fact += f", and no plugin {plugin_name!r} is installed"
        others = [entry for entry in self._entries if name in (entry.id, entry.spec.name)]
        if others:
            fact += f"; {others[0].id!r} is a {others[0].kind}"
        if suspects:
            told = "; ".join(
                f"{record.name}: {record.state}, {record.reason}" for record in suspects
            )
            fact += f" ({told})" if plugin_name else f" (plugins that are not loaded: {told})"
        return fact

    def _remedy(self, kind: str, name: str) -> str:
        near = self.near(kind, name)
        if near:
            return "did you mean " + " or ".join(repr(match) for match in near) + "?"
        return f"`grpokit plugins list --kind {kind}` shows what is installed"


def _id(plugin: PluginRecord, spec: ComponentSpec) -> str:
    return spec.name if plugin.name == CORE else f"{plugin.name}/{spec.name}"
