"""The table of commands, and a Typer group that imports a command only when it is called.

``grpokit --help`` shows the table's own sentences, so it imports no command. Plugins' commands are
looked up only for help and for a name that core does not have.
"""

from __future__ import annotations

import difflib
from functools import cached_property
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from grpokit.errors import ComponentError

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog, Entry

__all__ = ["BELOW", "COMMANDS", "LazyGroup"]

COMMANDS: dict[str, tuple[str, str]] = {
    "train": ("grpokit.cli.train:app", "Train a model by a recipe, or resume a run."),
    "eval": (
        "grpokit.cli.eval:app",
        "Measure a checkpoint, a run or a model on held-out questions.",
    ),
    "runs": (
        "grpokit.cli.runs:app",
        "List runs, show one, write a page of it, compare several, score rollouts again.",
    ),
    "plan": ("grpokit.cli.plan:app", "Say what a recipe will do, without loading a model."),
    "probe": (
        "grpokit.cli.probe:app",
        "Ask the untrained model a recipe's questions: will it learn?",
    ),
    "difficulty": ("grpokit.cli.difficulty:app", "Measure the pass rate of every row."),
    "rewards": ("grpokit.cli.rewards:app", "List, show, try and check rewards."),
    "recipes": ("grpokit.cli.recipes:app", "List, show, check and compare recipes."),
    "algorithms": (
        "grpokit.cli.algorithms:app",
        "List algorithms and show what they are composed of.",
    ),
    "bench": ("grpokit.cli.bench:app", "Compare algorithms on one task; measure a step."),
    "plugins": ("grpokit.cli.plugins:app", "List installed plugins and show their components."),
    "models": ("grpokit.cli.models:app", "List, bring and show catalogued models."),
    "doctor": (
        "grpokit.cli.doctor:app",
        "Say what is installed, which backends can run here, and why not.",
    ),
    "export": (
        "grpokit.cli.export:app",
        "Write a recipe or a reward for another trainer, or the weights of a run.",
    ),
}
"""Name -> (target, the sentence of ``grpokit --help``)."""

BELOW: dict[str, str] = {"eval rescore": "grpokit.cli.eval_rescore:app"}
"""Commands below one that is itself no group, by both words."""

PLUGIN_PANEL = "Commands of plugins"


class LazyGroup(TyperGroup):
    """Stubs for help; the real command when it is called."""

    @cached_property
    def catalog(self) -> Catalog:
        """Discovered once for a help page, which asks for each command on its own."""
        from grpokit.registry.catalog import Catalog

        return Catalog.load()

    def list_commands(self, ctx: Any) -> list[str]:
        return [*COMMANDS, *_plugin_commands(self.catalog)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stub with the name and the sentence: all that a help page needs."""
        if cmd_name in COMMANDS:
            return TyperCommand(cmd_name, help=COMMANDS[cmd_name][1])
        from grpokit.cli.render import safe, unmarked

        entry = _plugin_commands(self.catalog).get(cmd_name)
        if entry is None:
            return None
        summary = unmarked(safe(entry.spec.summary, limit=200, one_line=True))
        return TyperCommand(cmd_name, help=summary, rich_help_panel=PLUGIN_PANEL)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0]
        if (both := " ".join(args[:2])) in BELOW:
            return both, _core_command(both), args[2:]
        if name in COMMANDS:
            return name, _core_command(name), args[1:]
        catalog = self.catalog
        known = _plugin_commands(catalog)
        if name in known:
            return name, _plugin_command(known[name]), args[1:]
        if catalog.matches("command", name):
            return name, _plugin_command(catalog.find("command", name)), args[1:]
        near = difflib.get_close_matches(name, [*COMMANDS, *known], n=3)
        hint = " Did you mean " + " or ".join(map(repr, near)) + "?" if near else ""
        broken = [plugin.name for plugin in catalog.plugins if not plugin.loaded]
        if broken and not near:
            hint = f" Plugins that are not loaded: {', '.join(broken)} (`grpokit plugins list`)."
        ctx.fail(f"There is no command {name!r}.{hint}")
        raise AssertionError  # ctx.fail always raises


def _plugin_commands(catalog: Catalog) -> dict[str, Entry]:
    """Plugins' commands by the name to type: the bare one while it is free, else the id."""
    found: dict[str, Entry] = {}
    for entry in catalog.entries("command"):
        free = len(catalog.matches("command", entry.spec.name)) == 1
        bare = free and entry.spec.name not in COMMANDS
        found[entry.spec.name if bare else entry.id] = entry
    return found


def _core_command(name: str) -> Any:
    from importlib import import_module

    target = BELOW[name] if name in BELOW else COMMANDS[name][0]
    module, _, attribute = target.partition(":")
    return _command(name, getattr(import_module(module), attribute))


def _plugin_command(entry: Entry) -> Any:
    from grpokit.registry.resolve import resolve

    app = resolve(entry.spec.target, entry)
    if not isinstance(app, typer.Typer):
        raise ComponentError(
            f"{entry.spec.target} is no typer.Typer",
            place=f"command {entry.origin}",
            remedy="report it to the plugin's author",
        )
    return _command(entry.spec.name, app)


def _command(name: str, app: typer.Typer) -> Any:
    command = get_command(app)
    command.name = name
    # Shell completion is installed for the program, not for each command.
    command.params = [
        param
        for param in command.params
        if param.name not in ("install_completion", "show_completion")
    ]
    return command
