"""``grpokit difficulty``: how often the model solves each row of a training set, in a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grpokit.cli import render
from grpokit.cli.consent import ForeignRewards, tell

if TYPE_CHECKING:
    from grpokit.compose.load import Loaded
    from grpokit.forecast.difficulty import Measured
    from grpokit.registry.catalog import Catalog

app = typer.Typer()


@app.command("difficulty")
def difficulty_command(
    recipe: Annotated[str, typer.Argument(help="Recipe file or name (`grpokit recipes list`).")],
    rows: Annotated[int | None, typer.Option(min=1, help="The first rows; all by default.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Completions of each row.")] = 16,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace one value.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The file; that of dataset.difficulty, or difficulty-RECIPE.jsonl."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
    foreign: ForeignRewards = False,
) -> None:
    """Measure the pass rate of every row of a training set, for `dataset.difficulty`.

    Draws and scores as training does. What was measured is on the disk after each batch, so the same command
    goes on where it was interrupted, and with more --rows it asks only those that are new.

    The key `dataset.difficulty` names the file in a recipe. Rows then have the columns pass_rate and mean_total,
    which samplers read: `algorithm.parts.sampler: {use: band, with: {low: 0.1, high: 0.9}}`.
    """
    from grpokit.compose.load import load_recipe
    from grpokit.forecast.difficulty import measure
    from grpokit.forecast.files import check_place
    from grpokit.registry.catalog import Catalog

    catalog = Catalog.load(foreign_rewards=foreign)
    loaded = load_recipe(recipe, overrides=overrides or (), catalog=catalog)
    tell(loaded.notes)
    named = loaded.recipe.dataset.difficulty or f"difficulty-{loaded.name}.jsonl"
    path = out or Path(named).expanduser()
    check_place(path)
    _must_run(loaded, catalog, recipe)
    with render.live() as view:
        from grpokit.cli.counting import Display

        shown = Display(view, "rows").of("difficulty")
        found = measure(loaded.recipe, catalog, path, rows=rows, samples=samples, tell=shown)
    if as_json:
        render.print_json(_data(found))
    else:
        _show(found, loaded)


def _must_run(loaded: Loaded, catalog: Catalog, asked: str) -> None:
    """Refuses what training would, but for the file that this command is to write.

    Raises:
        PreflightError: all that is in the way.
    """
    from grpokit.compose.difficulty import COLUMNS
    from grpokit.compose.plan import make_plan, raise_errors

    dataset = loaded.recipe.dataset.model_copy(update={"difficulty": None})
    bare = replace(loaded, recipe=loaded.recipe.model_copy(update={"dataset": dataset}))
    plan = make_plan(bare, catalog)
    awaited = [
        each
        for each in plan.findings
        if each.code == "P203"
        and each.key.startswith("algorithm")
        and any(f"`{column}`" in each.fact for column in COLUMNS)
    ]
    kept = tuple(each for each in plan.findings if each not in awaited)
    raise_errors(replace(plan, findings=kept), asked)


def _data(found: Measured) -> dict[str, Any]:
    return {
        "format": 1,
        "file": str(found.path),
        "rows": len(found.lines),
        "new": found.new,
        "samples": found.samples,
        "passing": {"reward": found.passing.reward, "threshold": found.passing.threshold},
        **_numbers(found),
    }


def _numbers(found: Measured) -> dict[str, Any]:
    from grpokit.forecast.summary import pass_rates

    return {"solved": pass_rates(found.rates, found.samples)}


def _show(found: Measured, loaded: Loaded) -> None:
    from grpokit.cli.page import head, wrapped
    from grpokit.cli.probe_show import show_pass_rates
    from grpokit.forecast.dead import live_band

    wrapped(
        f"difficulty of {loaded.name}: {len(found.lines)} rows, {found.new} of them asked now, "
        f"{found.samples} completions of each; passed means {found.passing.reward} >= "
        f"{found.passing.threshold:g}"
    )
    show_pass_rates(_numbers(found)["solved"], "rows")
    low, high = live_band(loaded.recipe.rollout.group)
    inside = sum(low <= rate <= high for rate in found.rates)
    head("use it")
    wrapped(f"dataset.difficulty: {found.path}", indent="  ")
    wrapped(
        f"algorithm.parts.sampler: {{use: band, with: {{low: {low:.3f}, high: {high:.3f}}}}}  keeps "
        f"{inside} of {len(found.rates)} rows: half of their groups of "
        f"{loaded.recipe.rollout.group} or more are live",
        indent="  ",
    )
