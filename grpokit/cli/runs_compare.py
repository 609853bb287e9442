"""``grpokit runs compare`` and ``grpokit runs plot``: several runs against each other."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grpokit.cli import render
from grpokit.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grpokit.report.draw import Picture
    from grpokit.report.series import RunSeries

__all__ = ["compare_runs", "plot_runs"]

Runs = Annotated[list[str], typer.Argument(metavar="RUN", help="Runs' folders, or `last`.")]
Metrics = Annotated[
    list[str] | None,
    typer.Option("--metric", metavar="NAME", help="A number of metrics.jsonl; may be repeated."),
]
MORE = 1000
"""Values of a moving average at most."""


class Below(StrEnum):
    """What lies below a curve."""

    step = "step"
    completions = "completions"
    tokens = "tokens"
    seconds = "seconds"


def compare_runs(
    runs: Runs,
    metric: Metrics = None,
    allow_mismatch: Annotated[
        bool,
        typer.Option(
            "--allow-mismatch",
            help="Compare evaluations that differ in more than the model, and say in what.",
        ),
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the curves: .svg, .png or .pdf.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare runs: what differs in their recipes, their curves, and what their evaluations allow to say.

    Runs that differ in the seed only count as seeds of one recipe. Stored evaluations of the same questions
    are compared question by question, and are refused where they differ in more than the model.
    """
    from grpokit.cli.runs_compare_show import show_comparison
    from grpokit.report.canvas import check_target
    from grpokit.report.compare import comparison
    from grpokit.report.series import check_metrics

    metrics = metric or []
    if plot is not None:
        check_target(plot, "--plot")
    found = _read(runs, least=2)
    check_metrics(metrics, found)
    data = comparison(found, metrics=metrics, allow_mismatch=allow_mismatch)
    written = []
    if plot is not None:
        from grpokit.report.draw import draw

        names = [name for name in dict.fromkeys(("reward", *metrics)) if name in data["curves"]]
        written = [str(path) for path in draw(_picture(found, names), [plot])]
    if as_json:
        render.print_json({**data, "written": written})
        return
    show_comparison(data)
    for name in written:
        render.say(f"\nwritten to {name}")


def plot_runs(
    runs: Runs,
    metric: Metrics = None,
    x: Annotated[Below, typer.Option("--x", help="What lies below.")] = Below.step,
    smooth: Annotated[
        int, typer.Option(min=1, max=MORE, help="Values of the moving average; 1 for none.")
    ] = 5,
    band: Annotated[
        bool, typer.Option("--band", help="Seeds of one recipe as their mean, lowest and highest.")
    ] = False,
    evals: Annotated[
        bool, typer.Option("--evals", help="Also held-out accuracies with their intervals.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A .svg, .png or .pdf; the terminal otherwise."),
    ] = None,
) -> None:
    """Draw numbers of runs over each other, as a picture or in the terminal.

    Without --metric it is the reward. Equal runs give equal files. A picture needs matplotlib, the extra
    `plot`; the terminal needs nothing.
    """
    from grpokit.report.canvas import check_target
    from grpokit.report.series import check_metrics

    if out is not None:
        check_target(out, "--out")
    found = _read(runs, least=1)
    metrics = list(dict.fromkeys(metric or ["reward"]))
    check_metrics(metrics, found)
    _check_axis(found, x.value)
    picture = _picture(found, metrics, x=x, smooth=smooth, band=band, evals=evals)
    if out is None:
        from grpokit.cli.runs_plot_show import show_picture

        show_picture(picture)
    else:
        from grpokit.report.draw import draw

        render.say(f"written to {draw(picture, [out])[0]}")


def _read(names: Sequence[str], *, least: int) -> list[RunSeries]:
    """The runs that are named, each once.

    Raises:
        RecipeError: one is not there, or named twice, or there are too few; all of them at once.
    """
    from grpokit.engine.rundir import named_run
    from grpokit.report.series import read_series

    if len(names) < least:
        raise RecipeError(
            "one run alone is not compared",
            place="grpokit runs compare",
            remedy="name another, or show it: grpokit runs show RUN",
        )
    paths = [named_run(name) for name in names]
    problems = [
        f"{path}: this is no folder of a run"
        for path in paths
        if not any((path / name).is_file() for name in ("recipe.yaml", "plan.json"))
    ]
    seen: dict[Path, str] = {}
    for name, path in zip(names, paths, strict=True):
        if path.resolve() in seen:
            problems.append(f"{name}: this is the same run as {seen[path.resolve()]}")
        seen.setdefault(path.resolve(), name)
    if problems:
        raise RecipeError(
            "not all of these are runs, each named once",
            place="RUN",
            remedy="grpokit runs list shows what there is",
            problems=tuple(problems),
        )
    return [read_series(path) for path in paths]


def _check_axis(runs: Sequence[RunSeries], axis: str) -> None:
    without = [run.name for run in runs if axis not in run.axes]
    if without:
        raise RecipeError(
            f"{', '.join(without)}: no line tells of {axis}",
            place="--x",
            remedy="use --x step",
        )


def _picture(
    runs: Sequence[RunSeries],
    metrics: Sequence[str],
    *,
    x: Below = Below.step,
    smooth: int = 5,
    band: bool = False,
    evals: bool = False,
) -> Picture:
    from grpokit.report.draw import Picture, titles
    from grpokit.report.exams import marks
    from grpokit.report.recipes import labelled, varying

    known = labelled(runs)
    return Picture(
        runs=known,
        names=titles(known, varying(known)),
        metrics=metrics,
        axis=x.value,
        smooth=smooth,
        band=band,
        marks=marks(known) if evals else None,
    )
