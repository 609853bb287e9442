"""``grpokit eval``: a run, a checkpoint or a model on held-out questions, alone or against its base."""

from __future__ import annotations

import shlex
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grpokit.cli import render
from grpokit.cli.consent import ForeignRewards, tell
from grpokit.cli.eval_show import show_evaluation
from grpokit.cli.eval_target import Subject, find_subjects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from grpokit.evaluate.kept import Kept
    from grpokit.evaluate.records import Evaluation
    from grpokit.evaluate.run import Exam, Progress
    from grpokit.registry.catalog import Catalog
    from grpokit.spec.contracts import ShouldStop
    from grpokit.spec.recipe import Recipe

app = typer.Typer()


@app.command("eval")
def evaluate_command(
    target: Annotated[
        str, typer.Argument(help="A run, a checkpoint, or a model's name or folder.")
    ],
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", help="Recipe with the questions; a run brings its own."),
    ] = None,
    base: Annotated[
        bool, typer.Option("--base", help="Compare with the model that training began with.")
    ] = False,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="TARGET", help="Compare with this run or model instead."),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option("--checkpoint", metavar="STEP", help="A step, `best`, `final` or `newest`."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Questions; eval.limit otherwise.")
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="Answers to each question; eval.samples otherwise."),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0, help="0 is greedy; eval.temperature otherwise.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace one value.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for samples.jsonl and summary.json.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    foreign: ForeignRewards = False,
) -> None:
    """Measure a checkpoint, a run or a model on held-out questions.

    Prints the accuracy with its 95% interval. With --base or --against it compares two models on
    the same questions: the paired difference with its interval, the answers that changed in both
    directions, and some of them side by side. With several answers to each question it prints pass@k as well.
    """
    from grpokit.compose.load import load_recipe
    from grpokit.evaluate.kept import Kept
    from grpokit.evaluate.run import prepare
    from grpokit.registry.catalog import Catalog

    catalog = Catalog.load(foreign_rewards=foreign)
    subjects, source, folder = find_subjects(
        target, recipe=recipe, base=base, against=against, checkpoint=checkpoint
    )
    given = {"limit": limit, "samples": samples, "temperature": temperature}
    named = [f"eval.{key}={value}" for key, value in given.items() if value is not None]
    changes = [*(overrides or []), *named]
    loaded = load_recipe(source, overrides=changes, catalog=catalog)
    tell(loaded.notes)
    exam = prepare(loaded.recipe, catalog)
    with _folder(out, folder or Path("evals")) as place:
        kept = Kept(place)
        evaluations = evaluate_all(subjects, loaded.recipe, exam, catalog, kept)
        _tell(evaluations, place, as_json=as_json)
        kept.end()


@contextmanager
def _folder(out: Path | None, parent: Path) -> Iterator[Path]:
    """The folder that is named, or a new one, which goes again if nothing came of it.

    An interrupt says how to go on where answers are there.
    """
    from grpokit.errors import Interrupted
    from grpokit.evaluate.kept import FILE
    from grpokit.evaluate.records import fresh_folder, make_folder

    place = make_folder(out) if out else fresh_folder(parent, time.strftime("%Y%m%d-%H%M%S"))
    try:
        yield place
    except Interrupted as error:
        if (place / FILE).exists():
            again = "" if out else f" with --out {shlex.quote(str(_short(place)))}"
            error.remedy = f"the same command{again} goes on with the answers that are there"
        raise
    finally:
        with suppress(OSError):  # not empty
            place.rmdir()


def _tell(evaluations: list[Evaluation], place: Path, *, as_json: bool) -> None:
    """Writes what was found and shows it; two are compared."""
    from grpokit.evaluate.records import compare_evaluations, summary, write_evaluation

    comparison = compare_evaluations(*evaluations) if len(evaluations) == 2 else None
    write_evaluation(place, evaluations, comparison)
    if as_json:
        render.print_json({**summary(evaluations, comparison), "folder": str(place)})
    else:
        show_evaluation(evaluations, comparison)
        render.say(f"\nwritten to {_short(place)}")


def _short(path: Path) -> Path:
    """Relative to the current folder where it lies below."""
    whole, here = path.absolute(), Path.cwd()
    return whole.relative_to(here) if whole.is_relative_to(here) else path


def evaluate_all(
    subjects: list[Subject],
    recipe: Recipe,
    exam: Exam,
    catalog: Catalog,
    kept: Kept | None = None,
) -> list[Evaluation]:
    """One model after the other, so that only one is in memory; answers that ``kept`` holds are taken."""
    from grpokit.engine.signals import StopFlag

    with ExitStack() as stack:
        flag = stack.enter_context(StopFlag())
        scorer = stack.enter_context(exam.scorer())
        view = stack.enter_context(render.live())
        display = Display(view)
        return [
            _evaluate_one(
                subject,
                recipe,
                catalog,
                _Task(
                    exam=exam,
                    scorer=scorer,
                    poll=flag.poll,
                    progress=display.of(subject.label),
                    kept=kept,
                ),
            )
            for subject in subjects
        ]


@dataclass(frozen=True, kw_only=True)
class _Task:
    exam: Exam
    scorer: Any
    poll: ShouldStop
    progress: Progress
    kept: Kept | None


def _evaluate_one(subject: Subject, recipe: Recipe, catalog: Catalog, task: _Task) -> Evaluation:
    from grpokit.engine.session import make_backend
    from grpokit.evaluate.run import evaluate

    own = subject.recipe_for(recipe)
    backend = make_backend(catalog, own)
    try:
        backend.open_checkpoint(own, subject.folder)
        task.poll()
        return evaluate(
            backend,
            task.exam,
            label=subject.label,
            scorer=task.scorer,
            progress=task.progress,
            should_stop=task.poll,
            kept=task.kept,
        )
    finally:
        backend.close()


class Display:
    """A bar on a terminal; elsewhere a line at each quarter, on stderr."""

    def __init__(self, view: render.LiveView | None, noun: str = "questions") -> None:
        self._view = view
        self._noun = noun

    def of(self, label: str) -> Callable[[int, int], None]:
        start = time.monotonic()
        said = -1

        def show(done: int, total: int) -> None:
            nonlocal said, start
            if done == 0:
                start = time.monotonic()
            words = f"{label}: {done} of {total} {self._noun}{_left(start, done, total)}"
            if self._view is not None:
                self._view.update(render.stack(words, render.progress_bar(done, total)))
            elif 4 * done // max(total, 1) > said:
                said = 4 * done // max(total, 1)
                sys.stderr.write(render.safe(words, one_line=True) + "\n")

        return show


def _left(start: float, done: int, total: int) -> str:
    if done in (0, total):
        return ""
    return f", about {(time.monotonic() - start) / done * (total - done):.0f} s left"
