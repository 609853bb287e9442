"""Trains and evaluates what is not there yet. A finished run is recognised by its folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpokit.bench.matrix import Cell, Matrix
from grpokit.engine.observer import Observer
from grpokit.engine.rundir import RunDir
from grpokit.engine.session import make_backend, train
from grpokit.engine.signals import StopFlag
from grpokit.errors import CheckpointError, Interrupted, NonFiniteError
from grpokit.evaluate.records import write_evaluation
from grpokit.evaluate.run import Exam, evaluate, prepare_single

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog
    from grpokit.spec.recipe import Recipe

__all__ = ["Finished", "Watch", "run_all"]


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A cell that is trained and evaluated.

    Attributes:
        summary: what the evaluation says of the model (``models[0]`` of its ``summary.json``).
        failure: why there is no trained policy; then ``summary`` is None.
    """

    cell: Cell
    summary: Mapping[str, Any] | None
    failure: str = ""


class Watch:
    """What a person sees meanwhile. Does nothing; the command line overrides it."""

    def begin(self, cell: Cell, number: int, total: int) -> Observer:
        """A run begins or goes on."""
        return Observer()

    def skip(self, cell: Cell, number: int, total: int) -> None:
        """A run is complete already."""

    def evaluate(self, label: str, done: int, total: int) -> None:
        """Held-out questions are being answered."""

    def end(self, finished: Finished) -> None:
        """A run is trained and evaluated."""

    def say(self, text: str) -> None:
        """Something worth a line."""


def run_all(
    matrix: Matrix, catalog: Catalog, watch: Watch
) -> tuple[Mapping[str, Any], list[Finished]]:
    """What the base model answers, and every cell of the matrix.

    A run whose loss or weights stop being finite has failed, which is a result; the others go on.

    Raises:
        Interrupted: a signal came. Called again, it goes on where it stopped.
    """
    exam = prepare_single(matrix.recipe, catalog, place="a comparison of algorithms")
    marks = _marks(exam)
    found: list[Finished] = []
    try:
        with StopFlag() as flag:  # for signals between two runs; each run has one of its own
            base = _base(matrix, exam, catalog, marks, watch)
            for number, cell in enumerate(matrix.cells, start=1):
                flag.poll()
                place = _Place(marks, number, len(matrix.cells))
                found.append(_cell(cell, exam, catalog, place, watch))
                watch.end(found[-1])
            flag.poll()
    except Interrupted as error:
        error.remedy = "the same command goes on: what is finished is not repeated"
        raise
    return base, found


@dataclass(frozen=True)
class _Place:
    marks: str
    number: int
    total: int


def _marks(exam: Exam) -> str:
    """Equal for two exams with the same questions, sampling, rewards and idea of "correct"."""
    text = json.dumps([exam.fingerprint, exam.decides, exam.threshold], default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _base(
    matrix: Matrix, exam: Exam, catalog: Catalog, marks: str, watch: Watch
) -> Mapping[str, Any]:
    """The model that all runs begin with; evaluated once for a model and an exam."""
    model = matrix.recipe.model.model_dump_json() + matrix.recipe.backend.model_dump_json()
    name = hashlib.sha256(model.encode()).hexdigest()[:8]
    place = matrix.folder / "base" / f"{name}-{marks}"
    known = _read(place)
    if known is None:
        known = _evaluate(matrix.recipe, None, exam, catalog, place, ("base model", watch))
    return known


def _cell(cell: Cell, exam: Exam, catalog: Catalog, place: _Place, watch: Watch) -> Finished:
    run = _run_dir(cell)
    if _trained(run, cell.recipe):
        watch.skip(cell, place.number, place.total)
    else:
        observer = watch.begin(cell, place.number, place.total)
        try:
            train(cell.recipe, run, catalog, observer)
        except NonFiniteError as error:
            return Finished(cell=cell, summary=None, failure=error.fact)
    folder = run.path / "eval" / f"bench-{place.marks}"
    summary = _read(folder)
    if summary is None:
        label = f"{cell.contestant.label}, seed {cell.seed}"
        summary = _evaluate(cell.recipe, run.final, exam, catalog, folder, (label, watch))
    return Finished(cell=cell, summary=summary)


def _run_dir(cell: Cell) -> RunDir:
    """The run's folder, made if need be. Its name says what it learns, so it is the right one."""
    run = RunDir(cell.folder)
    if (cell.folder / "plan.json").is_file():
        return run
    try:
        cell.folder.mkdir(parents=True, exist_ok=True)
        run.write_recipe(cell.recipe)
        run.write_plan(cell.plan)
    except OSError as error:
        raise CheckpointError(
            f"a run cannot be made there: {error.strerror or error}",
            place=str(cell.folder),
            remedy="name another folder with --out",
        ) from error
    return run


def _trained(run: RunDir, recipe: Recipe) -> bool:
    try:
        done = json.loads((run.final / "run.json").read_text(encoding="utf-8"))["step"]
    except (OSError, ValueError, KeyError):
        return False
    return bool(done >= recipe.train.steps)


def _read(folder: Path) -> Mapping[str, Any] | None:
    try:
        models = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["models"]
    except (OSError, ValueError, KeyError):
        return None
    return dict(models[0])


def _evaluate(
    recipe: Recipe,
    policy: Path | None,
    exam: Exam,
    catalog: Catalog,
    place: Path,
    told: tuple[str, Watch],
) -> Mapping[str, Any]:
    """Asks the exam's questions; the answers and the summary stay in ``place``."""
    label, watch = told

    def progress(done: int, total: int) -> None:
        watch.evaluate(label, done, total)

    with ExitStack() as stack:
        flag = stack.enter_context(StopFlag())
        scorer = stack.enter_context(exam.scorer())
        backend = make_backend(catalog, recipe)
        stack.callback(backend.close)
        backend.open_checkpoint(recipe, policy)
        found = evaluate(
            backend, exam, label=label, scorer=scorer, progress=progress, should_stop=flag.poll
        )
    write_evaluation(place, [found], None)
    return found.as_dict()
