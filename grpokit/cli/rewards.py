"""``grpokit rewards``: what there is, what one says about a completion, and what can fool it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grpokit.cli import render
from grpokit.cli.consent import ForeignRewards
from grpokit.cli.rewards_ask import (
    columns_of,
    completion_of,
    prompt_of,
    prompts_of,
    recipe_of,
    setup_of,
    way_of,
)
from grpokit.errors import ExitCode, GrpokitError, RecipeError

if TYPE_CHECKING:
    from grpokit.probes.library import Way
    from grpokit.probes.report import Report
    from grpokit.registry.catalog import Catalog, Entry
    from grpokit.scoring.scorer import RewardSetup
    from grpokit.spec.recipe import Recipe

app = typer.Typer(no_args_is_help=True, help="List, show, try and check rewards.")

CRITICAL, CANNOT, STRICT = 1, 2, 3
"""Exit codes of ``rewards check`` beside 0."""
ROWS, PAID_ROWS = 32, 2
STEP = 64
"""Completions of a step where no recipe says how many."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
With = Annotated[
    list[str] | None,
    typer.Option("--with", metavar="KEY=VALUE", help="A setting of the reward, as under `with:`."),
]
Source = Annotated[
    str | None,
    typer.Option(
        "--recipe", metavar="RECIPE", help="Take rows, prompt and settings from a recipe."
    ),
]


@app.command("list")
def list_rewards(as_json: Json = False) -> None:
    """List the installed rewards."""
    entries = _catalog().entries("reward")
    if as_json:
        render.print_json({"rewards": [_listed(entry) for entry in entries]})
        return
    render.table(
        ["reward", "plugin", ">range", "summary"],
        [(entry.id, entry.plugin.name, _range(entry), entry.spec.summary) for entry in entries],
        styles={"reward": "bold"},
    )


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A reward by name or id.")],
    as_json: Json = False,
    foreign: ForeignRewards = False,
) -> None:
    """Show one reward: what it reads, what it returns, and its settings."""
    from grpokit.cli.plugins import component_data
    from grpokit.cli.rewards_show import show_reward

    entry = _catalog(foreign=foreign).find("reward", name)
    if as_json:
        render.print_json({**component_data(entry), **_listed(entry)})
    else:
        show_reward(entry, _range(entry))


@app.command("try")
def try_reward(
    name: Annotated[str, typer.Argument(help="A reward by name or id.")],
    completion: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The completion to score.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A file that holds the completion; - is standard input."),
    ] = None,
    answer: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The gold answer: the column `answer`.")
    ] = None,
    row: Annotated[
        str | None, typer.Option(metavar="JSON", help="Columns of the row, as a JSON object.")
    ] = None,
    recipe: Source = None,
    index: Annotated[
        int | None, typer.Option(min=0, help="Row of the recipe's data set; the first if not said.")
    ] = None,
    settings: With = None,
    as_json: Json = False,
    foreign: ForeignRewards = False,
) -> None:
    """Score one completion and explain the score.

    Prints the value, its parts, the reward's own note, what the gold answer earns in the form that
    this reward pays best, and any failure with its remedy.
    """
    from grpokit.cli.rewards_try import Asked, show_tried, tried

    catalog = _catalog(foreign=foreign)
    given = {**columns_of(row)} | ({} if answer is None else {"answer": answer})
    loaded = recipe_of(catalog, recipe) if recipe else None
    found = tried(
        Asked(
            setup=setup_of(catalog.find("reward", name), settings, loaded),
            text=completion_of(completion, file),
            prompt=prompt_of(catalog, loaded, index),
            given=given,
            recipe=loaded,
        )
    )
    if as_json:
        render.print_json(found)
    else:
        show_tried(found)
    if found.outcome.fault is not None:
        raise typer.Exit(ExitCode.REWARD)


@app.command()
def check(
    target: Annotated[str, typer.Argument(metavar="REWARD|RECIPE", help="A reward or a recipe.")],
    rows: Annotated[
        int | None,
        typer.Option(min=1, max=1_000, help="Rows to probe: 32, or 2 where a call costs money."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings end with code 3.")] = False,
    recipe: Source = None,
    settings: With = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace one value of the recipe."),
    ] = None,
    before: Annotated[
        str, typer.Option(metavar="TEXT", help="What goes before a wrapped answer.")
    ] = "",
    opening: Annotated[
        str | None, typer.Option("--open", metavar="TEXT", help="What opens an answer.")
    ] = None,
    closing: Annotated[
        str, typer.Option("--close", metavar="TEXT", help="What closes an answer.")
    ] = "",
    as_json: Json = False,
    foreign: ForeignRewards = False,
) -> None:
    r"""Find out what can fool a reward, or all rewards of a recipe together.

    Lazy, lying and hostile completions are scored on real rows, in workers with the deadline of
    training: each reward, and the weighted sum. Ends with 0 if all is well, 1 after a critical
    finding, 2 if the check could not run, and 3 after a warning with --strict.
    """
    from grpokit.cli.rewards_show import report_data, show_report

    try:
        way = way_of(before, opening, closing)
        catalog = _catalog(foreign=foreign)
        report = _check(catalog, target, rows, recipe, settings, overrides or [], way)
    except GrpokitError as error:
        error.exit_code = ExitCode(CANNOT)
        raise
    if as_json:
        render.print_json(report_data(report, target))
    else:
        show_report(report, target)
    if report.criticals:
        raise typer.Exit(CRITICAL)
    if strict and report.warnings:
        raise typer.Exit(STRICT)


def _check(
    catalog: Catalog,
    target: str,
    rows: int | None,
    source: str | None,
    settings: list[str] | None,
    overrides: list[str],
    way: Way | None,
) -> Report:
    from grpokit.compose.trials import paid
    from grpokit.probes import check as run_check
    from grpokit.probes.rows import sample_rows
    from grpokit.scoring.scorer import setups

    file = target.endswith((".yaml", ".yml"))
    alone = bool(catalog.matches("reward", target)) and not file
    _refuse_ignored(alone, source, settings, overrides)
    named = source if alone else target
    loaded = _recipe_named(catalog, named, overrides, alone=alone) if named else None
    if alone:
        found: tuple[RewardSetup, ...] = (
            setup_of(catalog.find("reward", target), settings, loaded),
        )
    else:
        assert loaded is not None
        found = setups(catalog, loaded.rewards)
    count = rows or (PAID_ROWS if paid(found) else ROWS)
    if loaded is not None:
        return run_check(
            found,
            prompts_of(catalog, loaded, count),
            timeout=loaded.scoring.timeout,
            memory=loaded.scoring.memory,
            way=way,
            template=loaded.prompt.use,
            step_completions=loaded.rollout.prompts * loaded.rollout.group,
            tell=_tell,
        )
    report = run_check(found, sample_rows(count), way=way, step_completions=STEP, tell=_tell)
    if any(f.id == "base.margin" for f in report.findings) and not paid(found):
        rows_ = sample_rows(count, solutions=True)
        other = run_check(found, rows_, way=way, step_completions=STEP, tell=_tell)
        report = report if any(f.id == "base.margin" for f in other.findings) else other
    return report


def _recipe_named(catalog: Catalog, name: str, overrides: list[str], *, alone: bool) -> Recipe:
    """The recipe; what is none may have been meant as a reward."""
    try:
        return recipe_of(catalog, name, overrides)
    except RecipeError as error:
        if alone or not any(" F101 " in problem for problem in error.problems):
            raise
    try:
        catalog.find("reward", name)
        near = ""
    except GrpokitError as error:
        near = error.remedy if error.remedy.startswith("did you mean") else ""
    raise RecipeError(
        f"there is no reward and no recipe named `{name}`",
        remedy=near or "see `grpokit rewards list` and `grpokit recipes list`",
    )


def _refuse_ignored(
    alone: bool, source: str | None, settings: list[str] | None, overrides: list[str]
) -> None:
    """Options that would change nothing."""
    if alone and overrides and not source:
        raise RecipeError(
            "--set changes a recipe, and none is named",
            remedy="use --with for a setting of the reward, or --recipe RECIPE",
        )
    if not alone and settings:
        raise RecipeError("--with is for a reward", remedy="use --set with a recipe")
    if not alone and source:
        raise RecipeError(
            "--recipe is for a reward", remedy=f"name one reward, or leave out --recipe {source}"
        )


def _tell(line: str) -> None:
    render.warn(f"note: {line}")


def _catalog(*, foreign: bool = False) -> Catalog:
    from grpokit.registry.catalog import Catalog

    return Catalog.load(foreign_rewards=foreign)


def _listed(entry: Entry) -> dict[str, Any]:
    from grpokit.spec.components import RewardSpec

    spec = entry.spec
    data: dict[str, Any] = {
        "id": entry.id,
        "plugin": entry.plugin.name,
        "distribution": entry.plugin.distribution,
        "version": entry.plugin.version,
        "summary": spec.summary,
    }
    if isinstance(spec, RewardSpec):
        data |= {
            "range": spec.range,
            "columns": spec.columns,
            "deterministic": spec.deterministic,
            "pays": spec.pays,
        }
    return data


def _range(entry: Entry) -> str:
    bounds = getattr(entry.spec, "range", None)
    return "any" if bounds is None else f"{bounds[0]:g} to {bounds[1]:g}"
