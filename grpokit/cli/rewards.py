"""``grpokit rewards``: what there is, what one says about a completion, and what can fool it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grpokit.cli import render
from grpokit.cli.consent import ForeignRewards, tell
from grpokit.errors import ExitCode, GrpokitError, PreflightError, RecipeError

if TYPE_CHECKING:
    from grpokit.probes.library import Way
    from grpokit.registry.catalog import Catalog, Entry
    from grpokit.scoring.scorer import RewardSetup
    from grpokit.spec.flow import Prompt
    from grpokit.spec.recipe import Recipe

app = typer.Typer(no_args_is_help=True, help="List, show, try and check rewards.")

CRITICAL, CANNOT, STRICT = 1, 2, 3
"""Exit codes of ``rewards check`` beside 0."""
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
        Path | None, typer.Option(metavar="FILE", help="A file that holds the completion.")
    ] = None,
    answer: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The gold answer: the column `answer`.")
    ] = None,
    row: Annotated[
        str | None, typer.Option(metavar="JSON", help="Columns of the row, as a JSON object.")
    ] = None,
    recipe: Source = None,
    index: Annotated[int, typer.Option(min=0, help="Row of the recipe's data set.")] = 0,
    settings: With = None,
    as_json: Json = False,
    foreign: ForeignRewards = False,
) -> None:
    """Score one completion and explain the score.

    Prints the value, its parts, the reward's own note and any failure with its remedy.
    """
    from grpokit.cli.rewards_show import show_try
    from grpokit.scoring.scorer import Scorer

    catalog = _catalog(foreign=foreign)
    entry = catalog.find("reward", name)
    text = _completion(completion, file)
    loaded = _recipe(catalog, recipe) if recipe else None
    prompt = _prompt_of(catalog, loaded, index)
    columns = {**prompt.row, **_columns(row)} | ({} if answer is None else {"answer": answer})
    setup = _setup(entry, settings, loaded)
    timeout = loaded.scoring.timeout if loaded else 10.0
    with Scorer([setup], timeout=timeout) as scorer:
        problems = scorer.problems(tuple(columns))
        if problems:
            raise PreflightError(
                problems[0].fact,
                place=f"reward {entry.origin}",
                remedy="give --answer TEXT, --row '{\"COLUMN\": ...}' or --recipe RECIPE",
            )
        (outcome,) = scorer.explain(columns, text, prompt.messages).values()
    if as_json:
        render.print_json(
            {"reward": entry.id, "settings": setup.settings, "outcome": outcome, "row": columns}
        )
    else:
        show_try(setup, columns, text, outcome)
    if outcome.fault is not None:
        raise typer.Exit(ExitCode.REWARD)


@app.command()
def check(
    target: Annotated[str, typer.Argument(metavar="REWARD|RECIPE", help="A reward or a recipe.")],
    rows: Annotated[int, typer.Option(min=1, max=10_000, help="Rows to probe.")] = 32,
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
    from grpokit.cli.rewards_show import show_report

    try:
        way = _way(before, opening, closing)
        catalog = _catalog(foreign=foreign)
        report = _check(catalog, target, rows, recipe, settings, overrides or [], way)
    except GrpokitError as error:
        error.exit_code = ExitCode(CANNOT)
        raise
    if as_json:
        render.print_json(report)
    else:
        show_report(report, target)
    if report.criticals:
        raise typer.Exit(CRITICAL)
    if strict and report.warnings:
        raise typer.Exit(STRICT)


def _check(
    catalog: Catalog,
    target: str,
    rows: int,
    source: str | None,
    settings: list[str] | None,
    overrides: list[str],
    way: Way | None,
) -> Any:
    from grpokit.probes import check as run_check
    from grpokit.scoring.scorer import setups

    alone = catalog.matches("reward", target) and not target.endswith((".yaml", ".yml"))
    named = source if alone else target
    loaded = _recipe(catalog, named, overrides) if named else None
    if alone:
        found: tuple[RewardSetup, ...] = (_setup(catalog.find("reward", target), settings, loaded),)
    elif settings:
        raise RecipeError("--with is for a reward", remedy="use --set with a recipe")
    else:
        assert loaded is not None
        found = setups(catalog, loaded.rewards)
    if loaded is not None:
        return run_check(
            found,
            _prompts(catalog, loaded, rows),
            timeout=loaded.scoring.timeout,
            way=way,
            template=loaded.prompt.use,
            step_completions=loaded.rollout.prompts * loaded.rollout.group,
        )
    from grpokit.probes.rows import sample_rows

    report = run_check(found, sample_rows(rows), way=way, step_completions=STEP)
    if any(f.id == "base.margin" for f in report.findings):
        other = run_check(found, sample_rows(rows, solutions=True), way=way, step_completions=STEP)
        report = report if any(f.id == "base.margin" for f in other.findings) else other
    return report


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


def _recipe(catalog: Catalog, name: str, overrides: list[str] | None = None) -> Recipe:
    from grpokit.compose.load import load_recipe

    loaded = load_recipe(name, overrides=overrides or (), catalog=catalog)
    tell(loaded.notes)
    return loaded.recipe


def _prompts(catalog: Catalog, recipe: Recipe, count: int) -> list[Prompt]:
    """The first rows of the recipe's data set that have a prompt."""
    from grpokit.compose.data import open_dataset
    from grpokit.compose.prompts import make_prompt

    dataset = open_dataset(catalog, recipe.dataset)
    known = count if dataset.size is None else min(count, dataset.size)
    return [make_prompt(recipe.prompt, dataset[index], index) for index in range(known)]


def _prompt_of(catalog: Catalog, recipe: Recipe | None, index: int) -> Prompt:
    from grpokit.compose.data import open_dataset
    from grpokit.compose.prompts import make_prompt
    from grpokit.spec.flow import Prompt

    if recipe is None:
        return Prompt(id="", index=index, row={}, messages=())
    dataset = open_dataset(catalog, recipe.dataset)
    if dataset.size is not None and index >= dataset.size:
        raise RecipeError(
            f"there is no row {index}; the data set has {dataset.size:,}",
            place="--index",
            remedy=f"choose 0 to {dataset.size - 1}",
        )
    return make_prompt(recipe.prompt, dataset[index], index)


def _setup(entry: Entry, given: list[str] | None, recipe: Recipe | None) -> RewardSetup:
    """The reward with its settings: the recipe's, where it names the reward, and those given."""
    from pydantic import ValidationError

    from grpokit.compose.overrides import read_settings
    from grpokit.registry.resolve import build_config
    from grpokit.scoring.scorer import RewardSetup

    named = [
        section
        for section in (recipe.rewards if recipe else ())
        if section.use in (entry.id, entry.spec.name)
    ]
    settings = {**(named[0].with_ if named else {}), **read_settings(given or [])}
    try:
        build_config(entry, settings)
    except ValidationError as error:
        raise RecipeError(
            f"wrong settings of {entry.id}",
            place="--with",
            remedy=f"`grpokit rewards show {entry.id}` lists them",
            problems=tuple(
                f"{'.'.join(map(str, problem['loc'])) or entry.id}: {problem['msg']}"
                for problem in error.errors()
            ),
        ) from error
    return RewardSetup(name=entry.spec.name, entry=entry, settings=settings)


def _completion(text: str | None, file: Path | None) -> str:
    if (text is None) == (file is None):
        raise RecipeError("give --completion TEXT or --file FILE", place="grpokit rewards try")
    if text is not None:
        return text
    assert file is not None
    try:
        return file.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise PreflightError(f"cannot be read: {error.strerror}", place=str(file)) from error


def _columns(text: str | None) -> Mapping[str, Any]:
    if text is None:
        return {}
    try:
        data: object = json.loads(text)
    except ValueError as error:
        raise RecipeError(f"no JSON: {error}", place="--row") from error
    if not isinstance(data, dict):
        raise RecipeError("no JSON object", place="--row", remedy='write {"answer": "4"}')
    return data


def _way(before: str, opening: str | None, closing: str) -> Way | None:
    from grpokit.probes.library import Way

    if opening is None:
        return None
    return Way(name="as given", before=before, open=opening, close=closing, after="")
