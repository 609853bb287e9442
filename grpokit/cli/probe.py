"""``grpokit probe``: what the untrained model does with a recipe's own questions, and what follows from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grpokit.cli import render
from grpokit.cli.consent import ForeignRewards, tell

if TYPE_CHECKING:
    from grpokit.compose.load import Loaded
    from grpokit.evaluate.run import Progress
    from grpokit.registry.catalog import Catalog

app = typer.Typer()

STRICT = 1
"""Exit code of ``--strict`` where the verdict is `will not learn`."""


@app.command("probe")
def probe_command(
    recipe: Annotated[str, typer.Argument(help="Recipe file or name (`grpokit recipes list`).")],
    questions: Annotated[int, typer.Option(min=2, help="Questions of the training set.")] = 32,
    samples: Annotated[
        int, typer.Option(min=2, help="Completions of each; at least rollout.group.")
    ] = 16,
    rehearse: Annotated[
        int,
        typer.Option(min=0, help="Real steps that are taken and thrown away; 0 takes none."),
    ] = 5,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace one value.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="End with exit code 1 if it will not learn.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the numbers to this JSON file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
    foreign: ForeignRewards = False,
) -> None:
    """Ask the untrained model a recipe's own questions, and say whether it will learn.

    Draws and scores as training does, with random numbers of its own. Shows how often questions are solved,
    what each reward pays, how many groups will be dead in the first ten steps at several group sizes, and how
    long the run will take. A few steps are taken and thrown away to see how fast the policy moves.

    Ends with exit code 3 if the recipe cannot run on this machine; with --strict also with 1 if the verdict
    is `will not learn`.
    """
    from grpokit.compose.load import load_recipe
    from grpokit.forecast.files import check_place, write_text
    from grpokit.registry.catalog import Catalog

    if out is not None:
        check_place(out)
    catalog = Catalog.load(foreign_rewards=foreign)
    loaded = load_recipe(recipe, overrides=overrides or (), catalog=catalog)
    tell(loaded.notes)
    must_run(loaded, catalog)
    data = {"recipe": loaded.name, **_probe(loaded, catalog, questions, samples, rehearse)}
    if as_json:
        render.print_json(data)
    else:
        from grpokit.cli.probe_show import show_probe

        show_probe(data)
    if out is not None:
        write_text(out, json.dumps(data, indent=1, default=str) + "\n")
        render.warn(f"written to {out}")
    if strict and data["verdict"]["verdict"] == "will not learn":
        raise typer.Exit(STRICT)


def must_run(loaded: Loaded, catalog: Catalog) -> None:
    """Refuses what `grpokit train` would refuse.

    Raises:
        PreflightError: all that is in the way.
    """
    from grpokit.compose.plan import make_plan, raise_errors

    raise_errors(make_plan(loaded, catalog))


def _probe(
    loaded: Loaded, catalog: Catalog, questions: int, samples: int, rehearse: int
) -> dict[str, Any]:
    from grpokit.cli.counting import Display
    from grpokit.forecast.probe import probe
    from grpokit.forecast.summary import summary

    with render.live() as view:

        def teller(label: str, noun: str) -> Progress:
            return Display(view, noun).of(label)

        found = probe(
            loaded.recipe,
            catalog,
            questions=questions,
            samples=samples,
            rehearse=rehearse,
            tell=teller,
        )
    return summary(found)
