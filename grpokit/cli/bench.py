"""``grpokit bench``: the same task for several algorithms; what is said of CPPO; what a step costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grpokit.cli import render
from grpokit.cli.bench_cppo import cppo
from grpokit.cli.bench_step import step
from grpokit.cli.consent import ForeignRewards
from grpokit.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from grpokit.bench.matrix import Matrix
    from grpokit.registry.catalog import Catalog

app = typer.Typer(no_args_is_help=True, help="Compare algorithms on one task; measure a step.")
app.command()(cppo)
app.command()(step)

TASK = "bench-sums"
"""The recipe when none is named: a tiny model learns to add."""
WORK = "work a run (dead: groups that teach nothing; updates: optimiser steps)"
NO_PICTURE = "for a picture: pip install 'grpokit[plot]', and the same command again"


@app.callback()
def _group() -> None:
    """Compare algorithms on one task; measure a step."""


@app.command()
def algorithms(
    recipe: Annotated[
        str, typer.Argument(help="Recipe file or name; its `algorithm` section is replaced.")
    ] = TASK,
    names: Annotated[
        str | None,
        typer.Option(
            "--algorithms",
            metavar="A,B,...",
            help="Names, names with settings (grpo:epsilon_high=0.28:beta=0.04), or recipe files "
            "whose `algorithm` section is taken. The first is what the others are compared with.",
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, max=1000, help="Runs of each, from the recipe's seed on.")
    ] = 3,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps; same as train.steps.")] = None,
    out: Annotated[
        Path, typer.Option(help="Folder for runs, results.json, table.md and pictures.")
    ] = Path("bench"),
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace one value, for all algorithms."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print results.json.")] = False,
    foreign: ForeignRewards = False,
) -> None:
    """Train the same task with each algorithm and compare.

    Model, data, order of the questions, seeds and steps are the same for all. Every run is an
    ordinary run directory below OUT/runs. Called again after an interrupt, or with more algorithms
    or seeds, it trains only what is missing.
    """
    from grpokit.bench.contestants import default_contestants, parse_contestants
    from grpokit.bench.matrix import make_matrix
    from grpokit.registry.catalog import Catalog

    catalog = Catalog.load(foreign_rewards=foreign)
    contestants = (
        default_contestants(catalog) if names is None else parse_contestants(names, catalog)
    )
    changes = [*(overrides or []), *([f"train.steps={steps}"] if steps else [])]
    matrix = make_matrix(
        recipe, contestants, seeds=seeds, overrides=changes, folder=out, catalog=catalog
    )
    _compare(matrix, catalog, as_json=as_json)


def _compare(matrix: Matrix, catalog: Catalog, *, as_json: bool) -> None:
    """Trains and evaluates what is missing, and tells of everything."""
    from grpokit.bench.results import results
    from grpokit.bench.runs import run_all
    from grpokit.cli.bench_live import BenchView

    for note in matrix.notes:
        render.warn(f"warning: {note}")
    with render.live() as view:
        base, finished = run_all(matrix, catalog, BenchView(view, len(matrix.cells)))
    data = results(matrix, base, finished)
    _tell(matrix.folder, data, _write(matrix.folder, data), as_json=as_json)
    if all(each.failure for each in finished):
        raise typer.Exit(ExitCode.NON_FINITE)


def _tell(out: Path, data: Mapping[str, Any], written: list[str], *, as_json: bool) -> None:
    if as_json:
        render.print_json(data)
        return
    _show(data)
    render.say(f"\nwritten to {out}: {', '.join(written)}; runs in {out / 'runs'}")
    if "bench.svg" not in written:
        render.say(NO_PICTURE, "dim")


def _write(out: Path, data: Mapping[str, Any]) -> list[str]:
    from grpokit.bench import plot
    from grpokit.bench.tables import markdown
    from grpokit.engine.checkpoint import write_atomic
    from grpokit.report.canvas import drawable

    write_atomic(out / "results.json", json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    write_atomic(out / "table.md", markdown(data))
    written = ["results.json", "table.md"]
    if drawable() and any(item["accuracy"] for item in data["algorithms"]):
        written += [path.name for path in plot.draw(data, out / "bench")]
    return written


def _show(data: Mapping[str, Any]) -> None:
    from grpokit.bench import tables
    from grpokit.cli.charts import sparkline

    bold = {"algorithm": "bold"}
    render.table(tables.ACCURACY, tables.accuracy_rows(data), styles=bold)
    for line in tables.legend(data):
        render.say(line, "dim")
    render.say()
    rows = tables.time_rows(data, sparkline)
    render.table(tables.TIME, rows, title="reward, and seconds a run", styles=bold)
    render.say()
    render.table(tables.WORK, tables.work_rows(data), title=WORK, styles=bold)
    for item in data["algorithms"]:
        for run in item["runs"]:
            if run["failure"]:
                render.warn(f"{item['label']}, seed {run['seed']} failed: {run['failure']}", "red")
