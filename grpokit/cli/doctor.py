"""``grpokit doctor``: what is installed, what can run here, what would make the rest run, and what is
going wrong in a run.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grpokit.cli import render
from grpokit.cli.consent import ForeignRewards
from grpokit.errors import CheckpointError, ExitCode, RecipeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from grpokit.versions.table import VersionSet

app = typer.Typer()


@app.command()
def doctor(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="TARGET",
            help="Recipe file or name to hold against this machine; or a run to look at: its folder, "
            "`last`, a metrics.jsonl, TRL's trainer_state.json, or its history on wandb (.csv).",
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace one value.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Look at a model: chat template, ends of turns, pad.")
    ] = None,
    constraints: Annotated[
        str | None,
        typer.Option(
            "--write-constraints",
            metavar="BACKEND",
            help="Write the versions that were run together (hf, vllm, trl, unsloth) for pip.",
        ),
    ] = None,
    machine: Annotated[
        str | None, typer.Option(help="For which kind of machine: cpu or cuda. Default: this one.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The constraints file. Default: constraints-BACKEND.txt.")
    ] = None,
    imports: Annotated[
        bool,
        typer.Option("--import", help="Import each backend's packages too, in other processes."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    foreign: ForeignRewards = False,
) -> None:
    """Say what is installed, which backends can run here, and why not.

    With a recipe: its model's chat template and ends, every rule of advice, versions, memory and
    disk. Nothing is loaded and nothing is changed; only --write-constraints writes files. A package
    that is installed and broken is noticed with --import, which takes some seconds a backend. Ends
    with exit code 3 if the default backend, the recipe or the model cannot be used here.

    With a run: what is going wrong in it, since when, at what cost and what to do, from its numbers
    and saved rollouts. Ends with exit code 8 if something of it is a reason to stop.
    """
    run = None if recipe is None else _run_of(recipe)
    target = "RECIPE" if run is None else "RUN"
    tasks = {target: recipe, "--model": model, "--write-constraints": constraints}
    options = {"--machine": machine, "--out": out, "--set": overrides}
    _one_task({**tasks, "--import": imports or None}, options)
    if run is not None:
        _look(run, as_json=as_json)
        return
    if constraints is not None:
        works = _constraints(constraints, machine, out, as_json=as_json)
    elif model is not None:
        works = _model(model, as_json=as_json)
    elif recipe is not None:
        works = _recipe(recipe, overrides or [], foreign=foreign, as_json=as_json)
    else:
        works = _checkup(imports=imports, as_json=as_json)
    if not works:
        raise typer.Exit(ExitCode.PREFLIGHT)


def _run_of(name: str) -> Path | None:
    """The run that is meant, or None for a recipe."""
    from grpokit.diagnose.sources import looks_like_a_run

    path = Path(name).expanduser()
    if name == "last" and not path.exists():
        from grpokit.engine.rundir import named_run

        return named_run(name)
    folder = path.is_dir() and path.name != name
    return path if folder or looks_like_a_run(path) else None


def _look(run: Path, *, as_json: bool) -> None:
    from grpokit.cli.doctor_run import doctor_run

    if not doctor_run(run, as_json=as_json):
        raise typer.Exit(ExitCode.FINDING)


def _one_task(tasks: Mapping[str, object], options: Mapping[str, object]) -> None:
    """Options that would be ignored are refused."""
    asked = [name for name, value in tasks.items() if value is not None]
    if len(asked) > 1:
        raise RecipeError(f"{' and '.join(asked)} do not go together", remedy="ask for one of them")
    owners = {"--machine": "--write-constraints", "--out": "--write-constraints", "--set": "RECIPE"}
    for name, value in options.items():
        if value and owners[name] not in asked:
            raise RecipeError(f"{name} needs {owners[name]}", remedy="grpokit doctor --help")


def _checkup(*, imports: bool, as_json: bool) -> bool:
    from grpokit.doctor.checkup import checkup_json, examine
    from grpokit.registry.catalog import Catalog

    found = examine(Catalog.load(), imports=imports)
    if as_json:
        render.print_json(checkup_json(found))
    else:
        from grpokit.cli.doctor_show import show_checkup

        show_checkup(found)
    return found.healthy


def _model(name: str, *, as_json: bool) -> bool:
    from grpokit.doctor.recipe import examine_model, state_json
    from grpokit.registry.catalog import Catalog

    found = examine_model(name, Catalog.load())
    if as_json:
        render.print_json(state_json(found))
    else:
        from grpokit.cli.doctor_show import show_model

        show_model(found)
    return found.works


def _recipe(name: str, overrides: list[str], *, foreign: bool, as_json: bool) -> bool:
    from grpokit.compose.load import load_recipe
    from grpokit.doctor.recipe import examine_recipe, state_json
    from grpokit.registry.catalog import Catalog

    catalog = Catalog.load(foreign_rewards=foreign)
    found = examine_recipe(load_recipe(name, overrides=overrides, catalog=catalog), catalog)
    if as_json:
        render.print_json(state_json(found))
    else:
        from grpokit.cli.doctor_show import show_recipe

        show_recipe(found)
    return found.works


def _constraints(name: str, machine: str | None, out: Path | None, *, as_json: bool) -> bool:
    from grpokit.versions.constraints import (
        commands,
        constraints_text,
        requirements_text,
    )
    from grpokit.versions.installed import gpu_is_here
    from grpokit.versions.table import MACHINES, load_table

    chosen = load_table().named(name)
    kind = machine or ("cuda" if gpu_is_here() else "cpu")
    if kind not in MACHINES:
        raise RecipeError(
            f"--machine is {kind[:60]!r}", remedy=f"write one of {' or '.join(MACHINES)}"
        )
    target = out or Path()
    if target.is_dir():
        target /= f"constraints-{chosen.name}.txt"
    beside = target.with_name(f"requirements-{chosen.name}-{kind}.txt")
    texts = {target: constraints_text(chosen)}
    if extra := requirements_text(chosen, kind):
        texts[beside] = extra
    _write(texts)
    lines = commands(chosen, kind, target, beside)
    if as_json:
        written = [str(path) for path in texts]
        ran = chosen.machines[kind].ran
        told = {"backend": name, "machine": kind, "written": written, "commands": lines, "ran": ran}
        render.print_json({"format": 1, **told})
        return True
    _say_commands(chosen, kind, texts, lines)
    return True


def _write(texts: Mapping[Path, str]) -> None:
    """All of the files, or an error that names the one that cannot be written."""
    from grpokit.versions.constraints import write

    for path, text in texts.items():
        try:
            write(path, text)
        except FileExistsError as error:
            raise CheckpointError(
                "this file is not one of `grpokit doctor`, and is left alone",
                place=str(path),
                remedy="--out ANOTHER",
            ) from error
        except OSError as error:
            raise CheckpointError(
                f"cannot be written: {error.strerror or error}",
                place=str(path),
                remedy="--out FILE in a folder that you may write to",
            ) from error


def _say_commands(
    chosen: VersionSet, kind: str, texts: Mapping[Path, str], lines: tuple[str, ...]
) -> None:
    render.say(f"written: {', '.join(map(str, texts))}")
    render.say(f"{chosen.summary}; on a {kind} machine install it with")
    for line in lines:
        render.say(f"  {line}", "bold")
    if kind == "cpu":
        render.say(
            "Builds of torch for a CPU: add "
            "--extra-index-url https://download.pytorch.org/whl/cpu to the first command.",
            "dim",
        )
    ran = chosen.machines[kind].ran
    render.say(
        f"Installed from these files and run on {ran}."
        if ran
        else "These versions fit by their metadata; on such a machine they have not been run yet.",
        "dim" if ran else "yellow",
    )
