"""``grpokit train RECIPE --smoke``: the stages as they end, and what they leave."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpokit.cli import render
from grpokit.cli.page import wrapped
from grpokit.errors import CheckpointError, Interrupted, RecipeError

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog
    from grpokit.smoke.run import Export, Stage
    from grpokit.smoke.small import Small
    from grpokit.spec.export import Form

__all__ = ["refuse_others", "smoke"]

MARKS = {"passed": ("✓", "green"), "failed": ("✗", "red"), "left out": ("-", "dim")}
INDENT = "  "


def refuse_others(given: dict[str, Any]) -> None:
    """Options that say how long or where a real run trains."""
    wrong = [option for option, value in given.items() if value]
    if wrong:
        raise RecipeError(
            f"--smoke and {', '.join(wrong)} exclude each other",
            place="grpokit train",
            remedy="a smoke run is always new, has two steps and one process; leave them out",
        )


def smoke(name: str, changes: list[str], *, foreign: bool, out: Path | None) -> None:
    """Runs it in a folder that goes again if all is well, unless ``out`` names one."""
    from grpokit.registry.catalog import Catalog
    from grpokit.smoke.run import run_smoke

    began = time.perf_counter()
    folder, catalog = _folder(out), Catalog.load(foreign_rewards=foreign)
    export = _exporter(catalog)
    try:
        run_smoke(name, changes, catalog, folder, tell=_tell, introduce=_introduce, export=export)
    except BaseException as error:
        if not any(folder.iterdir()) or (out is None and isinstance(error, Interrupted)):
            shutil.rmtree(folder, ignore_errors=True)
        else:
            render.warn(f"kept for you to look at: {folder}")
        raise
    if out is None:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        render.say(f"kept in {folder}")
    seconds = time.perf_counter() - began
    wrapped(
        f"{name} passed in {seconds:.0f} s: its parts run together, from data to export. "
        "Whether a model learns from it, only a real run tells."
    )


def _folder(out: Path | None) -> Path:
    if out is None:
        return Path(tempfile.mkdtemp(prefix="grpokit-smoke-"))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CheckpointError(
            "there is something of that name already",
            place=str(out),
            remedy="name a new folder with --smoke-out",
        )
    out.mkdir(parents=True, exist_ok=True)
    return out


def _exporter(catalog: Catalog) -> Export:
    """`grpokit export` of a run, without its words."""

    def export(run: Path, policy: Path, form: Form) -> None:
        from grpokit.engine.signals import StopFlag
        from grpokit.export.weights import export_run

        with StopFlag() as flag:
            export_run(run, policy, form, catalog, say=lambda _: None, poll=flag.poll)

    return export


def _tell(stage: Stage) -> None:
    mark, style = MARKS[stage.end]
    seconds = "" if stage.end == "left out" else f"{stage.seconds:.1f} s"
    render.say(f"{mark} {stage.name:<11}{seconds:>7}  {stage.words}".rstrip(), style)
    for note in stage.notes:
        wrapped(f"note: {note}", indent=INDENT, style="yellow")


def _introduce(small: Small) -> None:
    """What this run has in place of the recipe's."""
    pairs = (f"{key} {_word(new)} ({_word(old)})" for key, (old, new) in small.changed.items())
    wrapped(f"in place of the recipe's: {', '.join(pairs)}", indent=INDENT, style="dim")
    for note in small.notes:
        wrapped(f"note: {note}", indent=INDENT, style="yellow")


def _word(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
