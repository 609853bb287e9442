"""``grpokit runs``: what runs there are, what one holds, and its rollouts under other rewards.

``compare`` and ``plot`` stand in runs_compare.py, ``report`` in runs_report.py.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grpokit.cli import render, runs_report
from grpokit.cli.consent import ForeignRewards
from grpokit.cli.runs_compare import compare_runs, plot_runs
from grpokit.errors import RecipeError

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog
    from grpokit.rescore.rescore import Job
    from grpokit.scoring.scorer import RewardSetup
    from grpokit.spec.recipe import Recipe, RewardSection

app = typer.Typer(
    no_args_is_help=True,
    help="List runs, show one, write a page of it, compare and plot several, and score rollouts again.",
)
LARGEST = 1e30
"""Of a weight and of a threshold."""

Run = Annotated[str, typer.Argument(help="A run's folder, or `last`.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Reward = Annotated[str | None, typer.Option(metavar="NEW", help="The reward to score with.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--with", metavar="KEY=VALUE", help="A setting of the reward, as under `with:`."),
]
Weight = Annotated[
    float | None, typer.Option(help="Its weight in the total; that of the replaced reward.")
]
Against = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The saved reward that it replaces; `total` is all."),
]
OtherRecipe = Annotated[
    str | None, typer.Option(metavar="R", help="Score with all rewards of this recipe instead.")
]
Right = Annotated[float | None, typer.Option(help="The score from which a completion is right.")]
FromDataset = Annotated[
    bool, typer.Option("--dataset", help="Read the rows' columns from the run's data set.")
]
Gates = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=LIMIT", help="Exit with code 4 beyond it: sign-changes=0.01."),
]
Out = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="Where to write; RUN/rescore otherwise.")
]


@app.command("list")
def list_runs(
    folder: Annotated[Path, typer.Argument(help="The folder that holds the runs.")] = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first: recipe, steps, state, last reward, date."""
    from grpokit.cli.runs_show import listed_json, show_list
    from grpokit.report.listing import find_runs

    runs = find_runs(folder)
    if as_json:
        render.print_json([listed_json(run) for run in runs])
    else:
        show_list(folder, runs)


@app.command("show")
def show_run(
    run: Run,
    as_json: AsJson = False,
) -> None:
    """Show one run: its recipe in short, its last step, its checkpoints, evaluations, re-scorings."""
    from grpokit.cli.runs_show import show_one, shown_json
    from grpokit.report.listing import read_run

    found = read_run(run_folder(run, whole=False))
    if as_json:
        render.print_json(shown_json(found))
    else:
        show_one(found)


app.command("compare")(compare_runs)
app.command("plot")(plot_runs)
app.command("report")(runs_report.report)


@app.command()
def rescore(
    run: Run,
    reward: Reward = None,
    settings: Settings = None,
    weight: Weight = None,
    against: Against = None,
    recipe: OtherRecipe = None,
    right: Right = None,
    dataset: FromDataset = False,
    gate: Gates = None,
    out: Out = None,
    as_json: AsJson = False,
    foreign: ForeignRewards = False,
) -> None:
    """Score the saved rollouts of a run again, without a model, and compare.

    Shows how many completions turn from right to wrong and back, the rank correlation of old and new
    scores, how many advantages change their sign, and the largest disagreements.
    """
    from grpokit.engine.signals import StopFlag
    from grpokit.rescore.gates import check, parse
    from grpokit.rescore.rescore import rescore as score_again

    _refuse_mixtures(reward, recipe, bool(settings or weight is not None or against))
    _refuse_no_numbers(weight, right)
    gates = parse(gate or ())
    path = run_folder(run)
    job = _job(
        path,
        reward=reward,
        settings=settings or [],
        weight=weight,
        against=against,
        recipe=recipe,
        right=right,
        dataset=dataset,
        foreign=foreign,
    )
    with StopFlag() as flag, render.live() as view:
        found = score_again(job, out or path / "rescore", shown=_bar(view), should_stop=flag.poll)
    if as_json:
        render.print_json({**found.summary, "folder": str(found.folder)})
    else:
        from grpokit.cli.runs_show import show_rescored

        show_rescored(found)
    check(gates, found.main, found.summary["advantages"])


def _refuse_mixtures(reward: str | None, recipe: str | None, of_a_reward: bool) -> None:
    if (reward is None) == (recipe is None):
        raise RecipeError(
            "name the new reward, or a recipe with rewards",
            place="grpokit runs rescore",
            remedy="grpokit runs rescore last --reward number",
        )
    if recipe is not None and of_a_reward:
        raise RecipeError(
            "--with, --weight and --against belong to --reward; a recipe has its own",
            place="grpokit runs rescore",
            remedy="change the recipe, or name one reward",
        )


def _refuse_no_numbers(weight: float | None, right: float | None) -> None:
    for option, value in (("--weight", weight), ("--right", right)):
        if value is not None and not abs(value) <= LARGEST:
            raise RecipeError(
                f"{value} is no number that scores can be compared with or multiplied by",
                place=option,
                remedy=f"write a number: {option} 1.0",
            )


def run_folder(name: str, *, whole: bool = True) -> Path:
    """A run's folder; not ``whole``: one that was left before its plan was written, too."""
    from grpokit.engine.rundir import RunDir, named_run

    path = named_run(name)
    if not path.is_dir():
        raise RecipeError(
            "there is no such folder",
            place=str(path),
            remedy="grpokit runs list shows what there is",
        )
    if not whole and (path / "recipe.yaml").is_file():
        return path
    return RunDir.existing(path).path


def _job(
    path: Path,
    *,
    reward: str | None,
    settings: list[str],
    weight: float | None,
    against: str | None,
    recipe: str | None,
    right: float | None,
    dataset: bool,
    foreign: bool,
) -> Job:
    from grpokit.compose.load import load_recipe
    from grpokit.engine.rundir import RunDir
    from grpokit.registry.catalog import Catalog
    from grpokit.rescore.columns import DatasetRows
    from grpokit.rescore.rescore import Job
    from grpokit.scoring.scorer import scoring_options, setups

    catalog = Catalog.load(foreign_rewards=foreign)
    saved = RunDir.existing(path).recipe()
    names = _names(path, saved)
    weights = dict(zip(names, (section.weight for section in saved.rewards), strict=True))
    if recipe is not None:
        chosen = setups(catalog, load_recipe(recipe, catalog=catalog).recipe.rewards)
        place = None
    else:
        assert reward is not None
        setup, place = _one(catalog, saved, weights, reward, settings, weight, against)
        chosen = (setup,)
    rows = DatasetRows(catalog, saved) if dataset else None
    return Job(
        run=path,
        setups=chosen,
        weights=weights,
        against=place,
        threshold=saved.eval.threshold if right is None else right,
        rows=rows,
        columns=rows.columns if rows else None,
        scoring=scoring_options(saved.scoring),
    )


def _names(path: Path, saved: Recipe) -> list[str]:
    """What the rollouts call the run's rewards, in the recipe's order. No plugin is asked."""
    from grpokit.rescore.saved import read_steps

    first = next(read_steps(path / "rollouts.jsonl"), None)
    completions = first.groups[0]["completions"] if first else []
    names = list(completions[0]["rewards"]) if completions else []
    if len(names) == len(saved.rewards):
        return names
    return [section.name or section.use.rpartition("/")[2] for section in saved.rewards]


def _one(
    catalog: Catalog,
    saved: Recipe,
    weights: dict[str, float],
    reward: str,
    settings: list[str],
    weight: float | None,
    against: str | None,
) -> tuple[RewardSetup, str]:
    """The new reward, and the saved one that it stands for."""
    from grpokit.compose.overrides import read_settings
    from grpokit.compose.settings import check_settings
    from grpokit.rescore.rescore import TOTAL
    from grpokit.scoring.scorer import RewardSetup

    entry = catalog.find("reward", reward)
    name = entry.spec.name
    if against is not None and against not in (*weights, TOTAL):
        raise RecipeError(
            f"the run has no reward {against!r}",
            place="--against",
            remedy=f"use one of {', '.join((*weights, TOTAL))}",
        )
    place = against or (name if name in weights else saved.eval.correct or "")
    if place not in (*weights, TOTAL):
        place = max(weights, key=lambda each: abs(weights[each]))
    sections = dict(zip(weights, saved.rewards, strict=True))
    saved_as = _same(sections, place, (entry.id, name, reward))
    values = {**(saved_as.with_ if saved_as else {}), **read_settings(settings)}
    check_settings(entry, values)
    factor = weight if weight is not None else weights.get(place, 1.0)
    return RewardSetup(name=name, entry=entry, settings=values, weight=factor), place


def _same(
    sections: dict[str, RewardSection], place: str, uses: tuple[str, ...]
) -> RewardSection | None:
    """The run's section of this reward: the one that is replaced, or the only one of its kind."""
    found = [name for name, section in sections.items() if section.use in uses]
    if place in found:
        return sections[place]
    return sections[found[0]] if len(found) == 1 else None


def _bar(view: render.LiveView | None) -> Callable[[int, int], None]:
    """A bar on a terminal, at most ten times a second; elsewhere a line at each quarter, on stderr."""
    start = last = time.monotonic()
    said = -1

    def show(done: int, size: int) -> None:
        nonlocal last, said
        now = time.monotonic()
        words = f"re-scored {done / 1e6:.1f} of {size / 1e6:.1f} MB{_left(now - start, done, size)}"
        if view is not None:
            if now - last > 0.1 or done == size:
                last = now
                view.update(render.stack(words, render.progress_bar(done, size)))
        elif 4 * done // max(size, 1) > said and now - start > 5:
            said = 4 * done // max(size, 1)
            sys.stderr.write(words + "\n")

    return show


def _left(seconds: float, done: int, size: int) -> str:
    return f", about {seconds / done * (size - done):.0f} s left" if 0 < done < size else ""
