"""``grpokit export reward``: one reward by the name that another trainer knows it by, or as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grpokit.cli import render
from grpokit.errors import PreflightError, RecipeError

NAMES = "trl|axolotl|verl|verifiers|openrlhf"


def export_reward(
    name: Annotated[
        str, typer.Argument(help="A reward's name (`grpokit plugins list --kind reward`).")
    ],
    to: Annotated[str, typer.Option(metavar=NAMES, help="The trainer to write for.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="KEY=VALUE", help="One setting; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.py", help="A new file; NAME_TARGET.py otherwise.")
    ] = None,
) -> None:
    """Say how another trainer names a reward, or write the file that it loads.

    Every installed reward has a dotted path for TRL, axolotl, verl and verifiers. With settings,
    with --out and for OpenRLHF a small Python file is written. grpokit must be installed there.
    """
    from grpokit.compose.overrides import read_settings
    from grpokit.compose.settings import check_settings
    from grpokit.interop.files import TARGETS, lines, python_file
    from grpokit.interop.names import dotted
    from grpokit.interop.rewards import refuse_measured
    from grpokit.registry.catalog import Catalog
    from grpokit.registry.foreign.reference import is_foreign

    if to not in TARGETS:
        raise RecipeError(
            f"there is no target {to!r}",
            place="grpokit export reward --to",
            remedy=f"use one of {', '.join(TARGETS)}",
        )
    if is_foreign(name):
        raise RecipeError(
            f"{name} is another trainer's reward, and an export takes those of plugins",
            place="grpokit export reward",
            remedy="name it there by its own path",
        )
    entry = Catalog.load().find("reward", name)
    refuse_measured([entry])
    given = read_settings(settings or [])
    check_settings(entry, given)
    line = lines(entry, to)
    if line and not given and out is None:
        render.say(line)
        return
    file = out or Path(f"{dotted(entry.spec.name)}_{to}.py")
    written = python_file(entry, to, given, file=str(file))
    _write(file, written.text)
    render.say(f"written: {file}")
    render.say(f"use it there: {written.line}")


def _write(file: Path, text: str) -> None:
    if file.suffix != ".py":
        raise RecipeError(
            f"{file} does not end in .py", place="grpokit export reward --out", remedy="rename it"
        )
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise PreflightError(
            f"the file cannot be written: {error.strerror}",
            place=str(file),
            remedy="choose a new file with --out",
        ) from error
