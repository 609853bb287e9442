"""``grpokit bench cppo``: GRPO against CPPO at equal questions, with the paper's figures beside."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grpokit.cli import render
from grpokit.cli.consent import ForeignRewards
from grpokit.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from grpokit.bench.cppo.settings import Setting
    from grpokit.bench.matrix import Matrix
    from grpokit.registry.catalog import Catalog

__all__ = ["cppo"]

TASK = "bench-cppo"
"""The recipe when none is named: a tiny model learns to add column by column."""
RATES = "0,0.5,0.75,0.875,0.9375"
SKIPPING = "0,0.875"
SCALED = "0.875"
HERE = "correct, and times faster than GRPO: here and in the paper"
LEARNT = "accuracy, with 95% intervals"
FASTER = "times faster than GRPO"
WORK = "work a run (updates: optimiser steps; forwarded: completions in updates)"
SECONDS = "seconds a run"
NO_PICTURE = "for a picture: pip install 'grpokit[plot]', and the same command again"


def cppo(
    recipe: Annotated[
        str,
        typer.Argument(help="Recipe file or name; its algorithm is `grpo` or `cppo/cppo`."),
    ] = TASK,
    rates: Annotated[
        str, typer.Option(metavar="P,P,...", help="Pruning rates; 0 is GRPO, which always runs.")
    ] = RATES,
    skipping: Annotated[
        str,
        typer.Option(
            metavar="P,P,...",
            help="Rates that also run, with allocation, without computing completions that move no "
            "weight, or twice what they share; '' for none.",
        ),
    ] = SKIPPING,
    scaled: Annotated[
        str | None,
        typer.Option(
            metavar="P,P,...",
            help="Rates that also run, with allocation, with the learning rate times sqrt(1 / (1 - P)); "
            "0.875 otherwise, where it is among the pruning rates; '' for none.",
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, max=1000, help="Runs of each, from the recipe's seed on.")
    ] = 3,
    questions: Annotated[
        int | None,
        typer.Option(min=1, help="Questions of a run; those of the recipe's steps otherwise."),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder for runs, results.json, table.md and pictures.")
    ] = Path("bench-cppo"),
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace one value, for all rows."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print results.json.")] = False,
    foreign: ForeignRewards = False,
) -> None:
    """Train with GRPO and with CPPO at several pruning rates, and compare time and accuracy.

    Every run sees equally many questions, as in the paper (arXiv 2503.22342). CPPO runs without and
    with allocation of further questions to freed places; with it a step takes more of them, so a run
    has fewer steps. Times are of this machine. Called again after an interrupt, or with more rates or
    seeds, it trains only what is missing.
    """
    from grpokit.bench.cppo.settings import make_settings, parse_rates
    from grpokit.registry.catalog import Catalog

    catalog = Catalog.load(foreign_rewards=foreign)
    chosen = parse_rates(rates)
    wanted = parse_rates(SCALED if scaled is None else scaled, "--scaled")
    if scaled is None:
        wanted = tuple(rate for rate in wanted if rate in chosen)
    settings = make_settings(
        recipe,
        rates=chosen,
        skipping=parse_rates(skipping, "--skipping"),
        scaled=wanted,
        questions=questions,
        overrides=overrides or [],
        catalog=catalog,
    )
    matrix = _matrix(recipe, settings, seeds, overrides or [], out, catalog)
    _compare(matrix, catalog, as_json=as_json)


def _matrix(
    recipe: str,
    settings: Sequence[Setting],
    seeds: int,
    overrides: Sequence[str],
    out: Path,
    catalog: Catalog,
) -> Matrix:
    """Every second seed runs from the last row to the first.

    So a machine that becomes slower or faster meanwhile does not favour one end of the table.
    """
    from grpokit.bench.matrix import make_matrix

    made = make_matrix(
        recipe,
        settings,
        seeds=seeds,
        overrides=overrides,
        folder=out,
        catalog=catalog,
        remedy="correct them, or leave the rates out of --rates",
    )
    ordered = [
        cell
        for number, seed in enumerate(made.seeds)
        for cell in [each for each in made.cells if each.seed == seed][:: -1 if number % 2 else 1]
    ]
    return replace(made, cells=tuple(ordered))


def _compare(matrix: Matrix, catalog: Catalog, *, as_json: bool) -> None:
    """Trains and evaluates what is missing, and tells of everything."""
    from grpokit.bench.cppo.results import cppo_results
    from grpokit.bench.runs import run_all
    from grpokit.cli.bench_live import BenchView

    for note in matrix.notes:
        render.warn(f"warning: {note}")
    with render.live() as view:
        base, finished = run_all(matrix, catalog, BenchView(view, len(matrix.cells)))
    data = cppo_results(matrix, base, finished)
    written = _write(matrix.folder, data)
    if as_json:
        render.print_json(data)
    else:
        _show(data)
        out = matrix.folder
        render.say(f"\nwritten to {out}: {', '.join(written)}; runs in {out / 'runs'}")
        if "cppo.svg" not in written:
            render.say(NO_PICTURE, "dim")
    if all(each.failure for each in finished):
        raise typer.Exit(ExitCode.NON_FINITE)


def _write(out: Path, data: Mapping[str, Any]) -> list[str]:
    from grpokit.bench.cppo import plot
    from grpokit.bench.cppo.tables import markdown
    from grpokit.engine.checkpoint import write_atomic
    from grpokit.report.canvas import drawable

    write_atomic(out / "results.json", json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    write_atomic(out / "table.md", markdown(data))
    written = ["results.json", "table.md"]
    if drawable() and any(item["accuracy"] for item in data["algorithms"]):
        written += [path.name for path in plot.draw(data, out / "cppo")]
    return written


def _show(data: Mapping[str, Any]) -> None:
    from grpokit.bench.cppo import tables

    bold = {"method": "bold"}
    render.table(tables.PAPER, tables.paper_rows(data), title=HERE, styles=bold)
    for line in tables.legend(data):
        render.say(line, "dim")
    for title, heads, rows in (
        (LEARNT, tables.ACCURACY, tables.accuracy_rows(data)),
        (FASTER, tables.FASTER, tables.faster_rows(data)),
        (SECONDS, tables.STAGES, tables.stage_rows(data)),
        (WORK, tables.WORK, tables.work_rows(data)),
    ):
        render.say()
        render.table(heads, rows, title=title, styles=bold)
    for item in data["algorithms"]:
        for run in item["runs"]:
            if run["failure"]:
                render.warn(f"{item['label']}, seed {run['seed']} failed: {run['failure']}", "red")
