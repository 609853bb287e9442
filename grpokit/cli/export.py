"""``grpokit export``: a recipe or a reward for another trainer, or the weights of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from grpokit.cli import render
from grpokit.cli.export_reward import export_reward
from grpokit.cli.export_weights import export_weights
from grpokit.errors import PreflightError, RecipeError

if TYPE_CHECKING:
    from grpokit.compose.load import Loaded
    from grpokit.export.folder import Target

TARGETS: dict[str, Target] = {"trl": "trl", "verl": "verl", "axolotl": "axolotl"}


class ExportGroup(TyperGroup):
    """``grpokit export RUN ...`` is short for ``weights RUN ...``; with ``--to``, for ``recipe``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first = args[0] if args else "--help"
        if "weights" in self.commands and first not in (*self.commands, "--help"):
            to = any(arg.partition("=")[0] == "--to" for arg in args)
            args = ["recipe" if to else "weights", *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


app = typer.Typer(
    cls=ExportGroup,
    no_args_is_help=True,
    help="Write a recipe or a reward for another trainer, or the weights of a run.",
    epilog="`grpokit export RUN` is short for `grpokit export weights RUN`; with --to, for a recipe.",
)


@app.callback()
def _options() -> None:
    pass


@app.command()
def recipe(
    name: Annotated[str, typer.Argument(help="Recipe file or name (`grpokit recipes list`).")],
    to: Annotated[str, typer.Option(metavar="|".join(TARGETS), help="The trainer to write for.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="A new folder; NAME-TARGET otherwise.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace one value.")
    ] = None,
    rows: Annotated[
        int | None, typer.Option(min=1, help="Questions to write; what the run asks otherwise.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write the nearest where the target lacks something.")
    ] = False,
) -> None:
    """Write a recipe for another trainer: command, data, rewards and a README.

    The rewards stay ours: grpokit must be installed there. What the other trainer does differently
    is listed in the README. An algorithm that it cannot express is refused, unless --force.
    """
    if to not in TARGETS:
        raise RecipeError(
            f"there is no target {to!r}",
            place="grpokit export recipe --to",
            remedy=f"use one of {', '.join(TARGETS)}",
        )
    from grpokit.compose.load import load_recipe
    from grpokit.export.folder import export_recipe
    from grpokit.registry.catalog import Catalog

    catalog = Catalog.load(foreign_rewards=True)  # to name them: nothing is imported before that
    loaded = load_recipe(name, overrides=overrides or (), catalog=catalog)
    _refuse_foreign(loaded)
    folder = out or Path(f"{loaded.name}-{to}")
    done = export_recipe(loaded, catalog, target=TARGETS[to], folder=folder, rows=rows, force=force)
    render.say(f"written: {folder}/ ({', '.join(done.files)})")
    for note in done.notes:
        render.warn(f"{note.kind}: {note.key}: {note.text}")
    for line in done.commands:
        render.say(f"run it there: {line}")


def _refuse_foreign(loaded: Loaded) -> None:
    from grpokit.registry.catalog import FOREIGN_SCHEMES

    sections = (*loaded.recipe.rewards, *(loaded.recipe.eval.rewards or ()))
    found = [
        each.use
        for each in sections
        if each.use.startswith(tuple(f"{s}:" for s in FOREIGN_SCHEMES))
    ]
    if found:
        raise PreflightError(
            f"{', '.join(found)}: an export takes the rewards of plugins, and this is another trainer's",
            place=loaded.name,
            remedy="take it out of the recipe, and name it there by its own path",
        )


app.command("reward")(export_reward)
app.command("weights")(export_weights)
