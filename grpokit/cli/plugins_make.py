"""``grpokit plugins new`` writes a package, ``grpokit plugins check`` asks what its CI asks."""

from __future__ import annotations

import contextlib
import shlex
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grpokit.cli import render
from grpokit.errors import ExitCode

if TYPE_CHECKING:
    from grpokit.scaffold.check import Report
    from grpokit.scaffold.findings import Check

__all__ = ["CHECK", "NEW", "check", "new"]

NEW = "Write a package for a component of your own: green at birth, one function to edit."
CHECK = "Check a plugin: a name, or the folder of a project. With --full all that its CI runs."
STYLES = {"ok": "green", "error": "red", "warning": "yellow", "skipped": "dim"}


class NewKind(Enum):
    """What a package can hold; the same as ``grpokit.scaffold.write.KINDS``."""

    reward = "reward"
    dataset = "dataset"
    algorithm = "algorithm"
    backend = "backend"
    recipe = "recipe"


def new(
    kind: Annotated[NewKind, typer.Argument(help="What the package brings.")],
    name: Annotated[
        str, typer.Argument(help="Its name, such as exact-unit; the package is grpokit-NAME.")
    ],
    into: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where the package's folder is made.")
    ] = Path(),
) -> None:
    from grpokit.registry.catalog import Catalog
    from grpokit.scaffold.names import read_name
    from grpokit.scaffold.write import KINDS, check_free, git_author, write_package

    names = read_name(name)
    (chosen,) = (each for each in KINDS if each == kind.value)
    check_free(chosen, names, Catalog.load())
    written = write_package(chosen, names, into, git_author())
    render.say(f"{written.folder}/", "bold")
    for path in written.files:
        render.say(f"  {path}" + ("    <- begin here" if path == written.edit else ""))
    render.say("\nnext:")
    render.say(f"  cd {shlex.quote(str(written.folder))} && pip install -e .")
    render.say("  grpokit plugins check .")
    render.say(f"  grpokit train {names.name}/smoke")


def check(
    target: Annotated[
        str, typer.Argument(help="An installed plugin, or the folder of one.", metavar="NAME|PATH")
    ] = ".",
    build: Annotated[
        bool, typer.Option("--build/--no-build", help="Build the wheel of a folder and check that.")
    ] = True,
    full: Annotated[
        bool,
        typer.Option("--full", help="Run its tests and its recipe `smoke` too, with the wheel."),
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    from grpokit.registry.catalog import Catalog
    from grpokit.scaffold.check import check_target

    # A plugin that prints while it is looked at must not spoil what is read here by machines.
    with contextlib.redirect_stdout(sys.stderr):
        report = check_target(target, Catalog.load(), build=build, full=full)
    ok = report.ok(strict=strict)
    if as_json:
        checks = [_data(each) for each in report.checks]
        render.print_json({"plugin": report.plugin, "ok": ok, "checks": checks})
    else:
        _show(report, ok=ok)
    if not ok:
        raise typer.Exit(ExitCode.PREFLIGHT)


def _data(check: Check) -> dict[str, Any]:
    findings = [{"level": each.level, "text": each.text} for each in check.findings]
    return {"name": check.name, "state": check.state, "note": check.note, "findings": findings}


def _show(report: Report, *, ok: bool) -> None:
    for each in report.checks:
        render.say(f"{each.name:<11} {each.state:<8} {each.note}".rstrip(), STYLES[each.state])
        for finding in each.findings:
            first, *rest = finding.text.splitlines() or [""]
            render.say(f"  {finding.level}: {first}", STYLES[finding.level])
            for line in rest:
                render.say(f"    {line}")
    count = sum(len(each.findings) for each in report.checks)
    text = "in order" if not count else f"{count} finding" + ("s" if count > 1 else "")
    render.say(f"{report.plugin}: {text}", "green" if ok else "red")
