"""``grpokit runs report``: one HTML page that holds a run, or several over one another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grpokit.cli import render
from grpokit.errors import GrpokitError, RecipeError

__all__ = ["report"]

COMMAND = "grpokit runs report"


def report(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs' folders, or `last`.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The page; RUN/report.html otherwise.")
    ] = None,
    completions: Annotated[
        int,
        typer.Option(
            min=0,
            help="Completions of a run that the page holds at most; 0 for none. Of a longer run, "
            "those of evenly spaced steps.",
        ),
    ] = 200_000,
) -> None:
    """Write one self-contained HTML page: curves, evaluations, findings, rollouts, recipe.

    Several runs are laid over one another. The page loads nothing from anywhere, and what a model
    wrote cannot act in it.
    """
    from grpokit.report.page import write_report

    folders = _folders(runs)
    if out is None and len(folders) > 1:
        raise RecipeError(
            "a page of several runs belongs to none of them",
            place=COMMAND,
            remedy="name the page: --out report.html",
        )
    with render.live() as view:
        bar = _Bar(view)
        written = write_report(
            folders, out or folders[0] / "report.html", completions=completions, shown=bar
        )
    for name, text in written.missing:
        render.say(
            f"not in the page: {name}: {text}" if len(folders) > 1 else f"not in the page: {text}"
        )
    render.say(f"written to {written.path} ({written.size / 1e6:.1f} MB)")


def _folders(names: list[str]) -> list[Path]:
    """All of them, or all that is wrong with them."""
    from grpokit.cli.runs import run_folder

    found, problems = [], []
    for name in names:
        try:
            found.append(run_folder(name, whole=False))
        except GrpokitError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise RecipeError(
            f"{len(problems)} of these are no runs",
            place=COMMAND,
            problems=tuple(str(error) for error in problems),
        )
    return found


class _Bar:
    """A bar on a terminal; elsewhere nothing, for most runs take a second."""

    def __init__(self, view: render.LiveView | None) -> None:
        self.view = view
        self.last = 0

    def __call__(self, name: str, done: int, size: int) -> None:
        if self.view is not None and (done - self.last > 1 << 22 or done < self.last):
            self.last = done
            self.view.update(render.stack(f"reading {name}", render.progress_bar(done, size)))
