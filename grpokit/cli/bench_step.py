"""``grpokit bench step``: what a step costs, stage by stage, here and in other trainers."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grpokit.bench.step.runs import Measured, Progress
from grpokit.cli import render
from grpokit.cli.charts import duration
from grpokit.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from grpokit.bench.step.grid import Cell, Contestant, Settings
    from grpokit.registry.catalog import Catalog

__all__ = ["step"]

MODEL = "smollm2-135m-instruct"
DTYPES = ("float32", "bfloat16")
NO_PICTURE = "for a picture: pip install 'grpokit[plot]', and the same command again"


def step(
    model: Annotated[str, typer.Option(help="Catalogued name, folder or hub id.")] = MODEL,
    shape: Annotated[
        str, typer.Option(help="A model of this shape with random weights, in its place.")
    ] = "",
    dtype: Annotated[str, typer.Option(metavar="A,B", help="Types of the weights.")] = ",".join(
        DTYPES
    ),
    prompt: Annotated[str, typer.Option(metavar="N,...", help="Tokens of a prompt.")] = "40,330",
    completion: Annotated[str, typer.Option(metavar="N,...", help="New tokens each.")] = "64",
    group: Annotated[str, typer.Option(metavar="N,...", help="Completions a prompt.")] = "16",
    keep: Annotated[
        str, typer.Option(metavar="X,...", help="Share of a group's completions that trains.")
    ] = "1",
    prompts: Annotated[int, typer.Option(min=1, help="Prompts a step.")] = 1,
    lora: Annotated[int, typer.Option(min=1, help="Rank, on every linear layer.")] = 16,
    lengths: Annotated[
        str, typer.Option(help="`equal`, or `varied` for unequal completions in the update.")
    ] = "equal",
    against: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Contestants; by default all that are installed."),
    ] = None,
    trl: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="Another TRL to be measured too; may be repeated."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Measured steps, after one warm-up.")] = 3,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    device: Annotated[str, typer.Option(help="`auto`, `cpu` or `cuda`.")] = "auto",
    out: Annotated[Path, typer.Option(help="Folder for results.json, table.md, pictures.")] = Path(
        "bench-step"
    ),
    again: Annotated[bool, typer.Option("--again", help="Measure what is there, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print results.json.")] = False,
) -> None:
    """Measure one step: generation, scoring, forward, backward, optimiser.

    Each contestant takes the same steps on the same tokens, in a process of its own, right after the
    one before it. Lists make a grid. Called again after an interrupt it measures only what is missing;
    what was measured with other settings, versions or code is measured anew.
    """
    from grpokit.bench.step.grid import Settings, cells, find_contestants
    from grpokit.registry.catalog import Catalog

    grid = cells(
        _words("--dtype", dtype, DTYPES),
        _numbers("--prompt", prompt),
        _numbers("--completion", completion),
        _numbers("--group", group),
        _shares(keep),
    )
    settings = Settings(
        model=model,
        shape=shape,
        prompts=prompts,
        rank=lora,
        rounds=rounds,
        lengths=_words("--lengths", lengths, ("equal", "varied"))[0],
        threads=threads,
        device=_words("--device", device, ("auto", "cpu", "cuda"))[0],
    )
    catalog = Catalog.load()
    names = None if against is None else [name.strip() for name in against.split(",")]
    contestants = find_contestants(catalog, names, trl or [])
    _measure(grid, contestants, settings, out, catalog, again=again, as_json=as_json)


def _measure(
    grid: tuple[Cell, ...],
    contestants: tuple[Contestant, ...],
    settings: Settings,
    out: Path,
    catalog: Catalog,
    *,
    again: bool,
    as_json: bool,
) -> None:
    from grpokit.bench.step.memory import planned_memory
    from grpokit.bench.step.prepare import prepare_model
    from grpokit.bench.step.results import results
    from grpokit.bench.step.runs import run_all

    model = prepare_model(settings, out, catalog)
    with render.live() as view:
        progress = StepProgress(view)
        measured = run_all(grid, contestants, settings, model, out, progress, again=again)
    planned = {cell: planned_memory(cell, settings, model["folder"], catalog) for cell in grid}
    data = results(measured, settings, model, planned)
    written = _write(out, data)
    if as_json:
        render.print_json(data)
    else:
        _show(data)
        render.say(f"written to {out}: {', '.join(written)}")
        if "step.svg" not in written:
            render.say(NO_PICTURE, "dim")
    if all(each.failure for each in measured):
        raise typer.Exit(ExitCode.PREFLIGHT)


def _write(out: Path, data: Mapping[str, Any]) -> list[str]:
    from grpokit.bench.step import plot
    from grpokit.bench.step.tables import markdown, memory
    from grpokit.engine.checkpoint import write_atomic
    from grpokit.report.canvas import drawable

    write_atomic(out / "results.json", json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    write_atomic(out / "table.md", "\n".join(filter(None, [markdown(data), memory(data)])))
    written = ["results.json", "table.md"]
    done = any(not each["failure"] for cell in data["cells"] for each in cell["contestants"])
    if drawable() and done:
        written += [path.name for path in plot.draw(data, out / "step")]
    return written


def _show(data: Mapping[str, Any]) -> None:
    from grpokit.bench.step import tables

    for cell in data["cells"]:
        render.table(
            tables.COLUMNS,
            tables.rows(cell),
            title=tables.cell_title(cell, data),
            styles={"contestant": "bold"},
        )
        for line in tables.verdicts(cell):
            render.say(line, "green")
        render.say()
    for line in tables.legend(data):
        render.say(line, "dim")


class StepProgress(Progress):
    """A bar on a terminal; elsewhere a line a measurement, on stderr."""

    def __init__(self, view: render.LiveView | None) -> None:
        self.view = view
        self.title, self.number, self.total = "", 1, 1
        self.began = time.monotonic()

    def begin(self, cell: Cell, contestant: Contestant, number: int, total: int) -> None:
        self.title = f"{number}/{total} {contestant.label}: {cell.name}"
        self.number, self.total, self.began = number, total, time.monotonic()
        self.step("loading")

    def step(self, line: str) -> None:
        if self.view is not None:
            bar = render.progress_bar(self.number - 1, self.total)
            self.view.update(render.stack(f"{self.title}  {line}", bar))

    def end(self, measured: Measured, *, cached: bool) -> None:
        took = duration(time.monotonic() - self.began)
        what = f"failed: {measured.failure}" if measured.failure else f"done in {took}"
        text = f"{self.title}: {'was there' if cached else what}"
        if self.view is not None:
            self.view.print(text)
        else:
            sys.stderr.write(render.safe(text, one_line=True) + "\n")


def _words(option: str, text: str, allowed: tuple[str, ...]) -> list[str]:
    found = [word.strip() for word in text.split(",")]
    wrong = [word for word in found if word not in allowed]
    if wrong:
        raise typer.BadParameter(
            f"{wrong[0]!r} is none of {', '.join(allowed)}.", param_hint=option
        )
    return list(dict.fromkeys(found))


def _numbers(option: str, text: str) -> list[int]:
    found = [word.strip() for word in text.split(",")]
    wrong = [word for word in found if not word.isdecimal() or int(word) < 1]
    if wrong:
        raise typer.BadParameter(
            f"{wrong[0]!r} is no number from 1 on; write them as 40,330.", param_hint=option
        )
    return list(dict.fromkeys(map(int, found)))


def _shares(text: str) -> list[float]:
    found = []
    for word in text.split(","):
        try:
            share = float(word)
        except ValueError:
            share = 0.0
        if not 0 < share <= 1:
            raise typer.BadParameter(
                f"{word.strip()!r} is no share above 0 and up to 1; write them as 1,0.125.",
                param_hint="--keep",
            )
        found.append(share)
    return list(dict.fromkeys(found))
