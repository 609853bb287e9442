"""``grpokit train``: a recipe becomes a run, or a run goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import typer

from grpokit.cli import render
from grpokit.cli.consent import FLAG, ForeignRewards, tell
from grpokit.errors import CheckpointError, RecipeError

if TYPE_CHECKING:
    from grpokit.cli.train_check import RewardCheck
    from grpokit.compose.load import Loaded
    from grpokit.engine.observer import RunEnd
    from grpokit.engine.rundir import RunDir
    from grpokit.engine.session import Evaluator
    from grpokit.registry.catalog import Catalog
    from grpokit.spec.plan import Plan
    from grpokit.spec.recipe import Recipe

app = typer.Typer()


@app.command()
def train(
    recipe: Annotated[
        str | None, typer.Argument(help="Recipe file or name (`grpokit recipes list`).")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace one value.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps; same as train.steps.")] = None,
    resume: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Continue the run in this folder; `last` is the newest."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Resume although the recipe or a component changed.")
    ] = False,
    processes: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that share the run; same as train.processes."),
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="One line a step, no live view.")] = False,
    skip_reward_check: Annotated[
        bool,
        typer.Option(
            "--skip-reward-check", help="Train although the rewards can be fooled; the run says so."
        ),
    ] = False,
    smoke: Annotated[
        bool,
        typer.Option(
            "--smoke", help="Try the recipe in seconds: two steps of a tiny random model on a CPU."
        ),
    ] = False,
    smoke_out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Keep what --smoke writes, in this new folder."),
    ] = None,
    foreign: ForeignRewards = False,
) -> None:
    """Train a model by a recipe, or resume a run.

    Before a new run, and after a forced change of the rewards, they are probed for at most ten
    seconds (`grpokit rewards check`).

    A stopped run (Ctrl-C, SIGTERM, a kill) continues exactly where its last checkpoint stands.
    """
    _refuse_launchers()
    changes = [*(overrides or [])]
    changes += [f"train.steps={steps}"] if steps else []
    changes += [f"train.processes={processes}"] if processes else []
    how = _How(foreign=foreign, plain=plain, skip_check=skip_reward_check)
    if smoke or smoke_out:
        from grpokit.cli.train_smoke import refuse_others
        from grpokit.cli.train_smoke import smoke as run_smoke

        refuse_others({"--steps": steps, "--processes": processes, "--resume": resume})
        run_smoke(_named(recipe), changes, foreign=foreign, out=smoke_out)
    elif resume is None:
        train_new(_named(recipe), changes, **how)
    else:
        _train_resumed(resume, recipe, changes, force=force, **how)


def _named(recipe: str | None) -> str:
    if recipe is None:
        raise RecipeError(
            "name a recipe or a run to resume",
            place="grpokit train",
            remedy="try: grpokit train quickstart",
        )
    return recipe


class _Shown(TypedDict):
    show_every: int
    stops: bool


class _How(TypedDict):
    foreign: bool
    plain: bool
    skip_check: bool


def _refuse_launchers() -> None:
    """Under torchrun or accelerate each process would start a run of its own."""
    count = os.environ.get("WORLD_SIZE", "1")
    if count != "1":
        raise RecipeError(
            f"this is one of {count} processes that another launcher has started (WORLD_SIZE)",
            place="grpokit train",
            remedy=f"start it once, without a launcher: grpokit train RECIPE --processes {count}",
        )


def train_new(
    name: str, changes: list[str], *, foreign: bool, plain: bool, skip_check: bool
) -> RunDir:
    """A new run of a recipe, from its first step to its last."""
    from grpokit.cli.train_check import RECORD, RewardCheck, check_command
    from grpokit.compose.load import load_recipe
    from grpokit.compose.plan import plan_json
    from grpokit.registry.catalog import Catalog

    catalog = Catalog.load(foreign_rewards=foreign)
    loaded = load_recipe(name, overrides=changes, catalog=catalog)
    check = RewardCheck(loaded.recipe, skip=skip_check)
    plan = _checked_plan(loaded, catalog, name, check)
    check.settle(check_command(name, changes, foreign=foreign))
    from grpokit.engine.rundir import RunDir

    run = RunDir.create(Path(plan.recipe.train.out), loaded.name, plan.recipe, plan_json(plan))
    run.write_json(RECORD, check.record())
    _run(plan.recipe, run, catalog, title=loaded.name, plain=plain)
    return run


def _train_resumed(
    folder: str,
    name: str | None,
    changes: list[str],
    *,
    force: bool,
    foreign: bool,
    plain: bool,
    skip_check: bool,
) -> None:
    from grpokit.cli.train_check import RECORD, RewardCheck, check_command, concerns
    from grpokit.compose.load import load_recipe
    from grpokit.compose.plan import make_plan, plan_json
    from grpokit.engine.rundir import RunDir, named_run
    from grpokit.registry.catalog import Catalog

    run = RunDir.existing(named_run(folder))
    catalog = Catalog.load(foreign_rewards=foreign)
    saved = run.recipe()
    source = name or str(run.path / "recipe.yaml")
    loaded = load_recipe(source, overrides=changes, catalog=catalog)
    forced = _refuse_changes(saved, loaded.recipe, run, force=force)
    if _complete(run, loaded.recipe):
        render.say(
            f"{run.path} is complete already: all {loaded.recipe.train.steps} steps are done"
        )
        return
    check = RewardCheck(loaded.recipe, skip=skip_check)
    plan = _checked_plan(loaded, catalog, source, check if concerns(forced) else None)
    changed = _refuse_components(run.plan(), plan_json(plan), run, force=force)
    if concerns(changed) and not check.called:
        make_plan(loaded, catalog, inspect=check)
    if check.called:
        check.settle(check_command(source, changes, foreign=foreign))
    with run:  # not while another process trains in it
        if check.called:
            run.write_json(RECORD, check.record())
        if loaded.recipe != saved:
            run.write_recipe(loaded.recipe)
        run.resumes.append([_resume_record(saved, plan, forced + changed)])
        if changed:  # the next resume compares with what trains from now on
            run.write_plan(plan_json(plan))
    _run(loaded.recipe, run, catalog, title=run.path.name, plain=plain)


def _checked_plan(
    loaded: Loaded, catalog: Catalog, asked: str, check: RewardCheck | None = None
) -> Plan:
    from grpokit.compose.plan import make_plan, raise_errors

    plan = make_plan(loaded, catalog, inspect=check)
    raise_errors(plan, asked)
    tell(loaded.notes)
    for finding in plan.findings:
        if finding.level == "warning":
            render.warn(f"warning: {finding.code} {finding.fact}; {finding.remedy}".rstrip("; "))
    for note in plan.notes:  # an end of turn or a template that was repaired
        render.warn(f"note: {note}")
    return plan


def _resume_record(saved: Recipe, plan: Plan, forced: tuple[str, ...]) -> dict[str, Any]:
    from grpokit.engine.rundir import changed_keys

    return {
        "environment": dict(plan.environment),
        "changed": list(changed_keys(saved, plan.recipe, safe=True)),
        "forced": forced,
    }


def _refuse_changes(saved: Recipe, asked: Recipe, run: RunDir, *, force: bool) -> tuple[str, ...]:
    """What was forced, a line a key."""
    from grpokit.engine.rundir import changed_keys

    changed = changed_keys(saved, asked)
    lines = tuple(
        f"{key}: the run has {json.dumps(old)}, asked for is {json.dumps(new)}"
        for key, (old, new) in changed.items()
    )
    if lines and not force:
        raise RecipeError(
            "the recipe differs from the one this run was started with",
            place=str(run.path),
            remedy="start a new run, or add --force to go on with the changed recipe",
            problems=lines,
        )
    for line in lines:
        render.warn(f"changed by --force: {line}")
    return lines


def _refuse_components(
    saved: Mapping[str, Any], now: Mapping[str, Any], run: RunDir, *, force: bool
) -> tuple[str, ...]:
    """A reward or data set that changed since the start makes a resumed run another run.

    What only watches (evaluation, callbacks) may change. Returns what the user forced, a line each.
    """

    def identity(plan: Mapping[str, Any]) -> dict[str, str]:
        found = {
            f"{c['role']} {c['id']}": f"{c['distribution']} {c['version']} ({c['source_hash']})"
            for c in plan["components"]
            if not c["role"].startswith(("eval ", "callback "))
        }
        return {**found, "data set content": str(plan["dataset_fingerprint"])}

    try:
        before = identity(saved)
    except (KeyError, TypeError):
        raise CheckpointError(
            "plan.json does not say which components the run was started with",
            place=str(run.path),
            remedy="restore the file, resume with the grpokit that wrote it, or start a new run",
        ) from None
    after = identity(now)
    lines = tuple(
        f"{key}: the run has {before[key]}, installed is {after.get(key, 'nothing')}"
        for key in before
        if after.get(key) != before[key]
    )
    if lines and not force:
        raise RecipeError(
            "components changed since this run was started",
            place=str(run.path),
            remedy="install the former versions, or add --force to go on with the changed ones",
            problems=lines,
        )
    for line in lines:
        render.warn(f"changed, continued by --force: {line}")
    return lines


def _complete(run: RunDir, recipe: Recipe) -> bool:
    try:
        done = json.loads((run.final / "run.json").read_text(encoding="utf-8"))["step"]
    except (OSError, ValueError, KeyError):
        return False
    return bool(done >= recipe.train.steps)


def _run(recipe: Recipe, run: RunDir, catalog: Catalog, *, title: str, plain: bool) -> None:
    """Trains here, or in as many processes as the recipe asks for."""
    if recipe.train.processes == 1:
        run_here(recipe, run, catalog, title=title, plain=plain)
        return
    from grpokit.cli.launch import launch

    arguments = ["--plain"] * plain + [FLAG] * catalog.foreign_rewards
    code = launch(run.path, recipe.train.processes, arguments)
    if code:
        raise typer.Exit(code)


def run_here(
    recipe: Recipe,
    run: RunDir,
    catalog: Catalog,
    *,
    title: str,
    plain: bool,
    silent: bool = False,
) -> None:
    """Trains in this process, which shows the run unless it is ``silent``."""
    from grpokit.cli.live import LiveTraining, PlainTraining, end_lines
    from grpokit.cli.watching import tell_diagnosis
    from grpokit.registry.foreign.reference import flag_for

    evaluator = _evaluator(recipe, catalog)
    if silent:
        from grpokit.engine.observer import Observer

        _enter_engine(recipe, run, catalog, Observer(), evaluator)
        return
    how: _Shown = {
        "show_every": recipe.train.show_every,
        "stops": recipe.train.on_finding == "stop",
    }
    observer: LiveTraining | PlainTraining | None = None
    try:
        with nullcontext() if plain else render.live() as view:
            observer = LiveTraining(view, title=title, **how) if view else PlainTraining(**how)
            end = _enter_engine(recipe, run, catalog, observer, evaluator)
    finally:
        if observer is not None and observer.watch is not None:
            tell_diagnosis(observer.watch)
    for line in end_lines(end, flag_for(each.use for each in recipe.rewards)):
        render.say(line)


def _enter_engine(
    recipe: Recipe,
    run: RunDir,
    catalog: Catalog,
    observer: Any,
    evaluator: Evaluator | None,
) -> RunEnd:
    from grpokit.engine.session import train as run_training

    return run_training(recipe, run, catalog, observer, evaluator)


def _evaluator(recipe: Recipe, catalog: Catalog) -> Evaluator | None:
    if recipe.eval.every is None or recipe.eval.dataset is None:
        return None
    from grpokit.evaluate.run import during_training

    return during_training(recipe, catalog)
