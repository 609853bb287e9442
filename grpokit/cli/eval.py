"""``grpokit eval``: a run, a checkpoint or a model on held-out questions, alone or against its base."""

from __future__ import annotations

import shlex
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grpokit.cli import render
from grpokit.cli.consent import ForeignRewards, tell
from grpokit.cli.counting import Display
from grpokit.cli.eval_report import Notes, Report, short, write_recipe
from grpokit.cli.eval_target import Subject, find_subjects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from grpokit.evaluate.kept import Kept
    from grpokit.evaluate.records import Evaluation
    from grpokit.evaluate.run import Exam, Progress
    from grpokit.registry.catalog import Catalog
    from grpokit.spec.contracts import ShouldStop
    from grpokit.spec.recipe import Recipe

app = typer.Typer()


@app.command(
    "eval",
    epilog="`grpokit eval rescore EVALUATION` marks answers that are stored again, without a model.",
)
def evaluate_command(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET...",
            help="Runs, checkpoints, models, stored evaluations (their folders), openai:MODEL.",
        ),
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
        typer.Option("--against", metavar="TARGET", help="Compare with this one instead."),
    ] = None,
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(
            "--checkpoint",
            metavar="STEP",
            help="A step, `best`, `final`, `newest` or `all`; may be given several times.",
        ),
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
    engine: Annotated[
        Engine | None, typer.Option(help="What samples, for the backend hf.", show_default=False)
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The endpoint of openai:MODEL, up to /v1."),
    ] = None,
    key_variable: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Environment variable that holds the endpoint's key."),
    ] = None,
    endpoint: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Another setting of the endpoint."),
    ] = None,
    prices: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A table of prices: cost of a question.")
    ] = None,
    plot: Annotated[
        bool, typer.Option("--plot", help="Draw the curve of checkpoints, and accuracy over cost.")
    ] = False,
    allow_mismatch: Annotated[
        bool,
        typer.Option("--allow-mismatch", help="Compare with what was evaluated otherwise."),
    ] = False,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace one value.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for samples.jsonl and summary.json.")
    ] = None,
    details: Annotated[
        bool, typer.Option("--details", help="Print every rate that is measured.")
    ] = False,
    gates: Annotated[
        list[str] | None,
        typer.Option(
            "--gate",
            metavar="NAME=LIMIT",
            help="Exit with 4 below `min-accuracy=0.6` or `min-delta=0.02`, of the lower bound.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    foreign: ForeignRewards = False,
) -> None:
    """Measure checkpoints, runs and models on held-out questions.

    Prints the accuracy with its 95% interval. Two models are compared on the same questions: the
    paired difference with its interval, the answers that changed in both directions, and some of them side
    by side. More are a table, each compared with the first one. With several answers to each question it
    prints pass@k and maj@k as well, and --details every rate that is measured.
    """
    from grpokit.evaluate.gates import check, parse
    from grpokit.evaluate.kept import Kept
    from grpokit.evaluate.overlap import find_overlap
    from grpokit.evaluate.prices import read_prices
    from grpokit.registry.catalog import Catalog
    from grpokit.report.canvas import check_target

    catalog = Catalog.load(foreign_rewards=foreign)
    table = read_prices(prices) if prices else None
    subjects, source, folder = find_subjects(
        targets,
        recipe=recipe,
        base=base,
        against=against,
        checkpoint=checkpoint,
        endpoint=_endpoint(base_url, key_variable, endpoint or []),
    )
    limits = parse(gates or (), compares=len(subjects) > 1)
    given = {"limit": limit, "samples": samples, "temperature": temperature}
    changes = [
        *(overrides or []),
        *(f"eval.{key}={value}" for key, value in given.items() if value is not None),
        *([f"backend.with.rollouts={engine.value}"] if engine else []),
    ]
    chosen, exam = _exam(subjects, source, changes, catalog)
    if plot:
        check_target(Path("curve.svg"), "--plot")
    with _folder(out, folder or Path("evals")) as place:
        kept = Kept(place)
        notes = Notes(strict=not allow_mismatch)
        found = evaluate_all(subjects, chosen, exam, catalog, kept, notes)
        if chosen is not None:
            write_recipe(place, chosen)
        report = Report(
            subjects=subjects,
            evaluations=found,
            notes=notes,
            prices=table,
            plot=plot,
            place=place,
            overlap=find_overlap(exam, chosen, catalog) if exam and chosen else None,
            details=details,
        )
        comparison = report.tell(as_json=as_json)
        kept.end()
    check(limits, found, comparison)


class Engine(StrEnum):
    """What `backend.with.rollouts` may be."""

    vllm = "vllm"
    transformers = "transformers"


def _endpoint(
    base_url: str | None, key_variable: str | None, settings: list[str]
) -> dict[str, Any]:
    """Settings of the backend that asks an endpoint; it checks them itself."""
    from grpokit.compose.overrides import read_settings

    named = {"base_url": base_url, "key_variable": key_variable}
    return {
        **{key: value for key, value in named.items() if value is not None},
        **(read_settings(settings) if settings else {}),
    }


def _exam(
    subjects: list[Subject], source: str | None, changes: list[str], catalog: Catalog
) -> tuple[Recipe | None, Exam | None]:
    """The recipe and its questions; neither where every answer is stored."""
    from grpokit.compose.load import load_recipe
    from grpokit.errors import RecipeError
    from grpokit.evaluate.run import prepare

    if all(subject.stored for subject in subjects):
        if changes:
            raise RecipeError(
                f"nothing is asked, so {', '.join(changes)} would change nothing",
                place="grpokit eval",
                remedy="`grpokit eval rescore EVALUATION` marks stored answers in another way",
            )
        return None, None
    assert source is not None
    loaded = load_recipe(source, overrides=changes, catalog=catalog)
    tell(loaded.notes)
    return loaded.recipe, prepare(loaded.recipe, catalog)


@contextmanager
def _folder(out: Path | None, parent: Path) -> Iterator[Path]:
    """The folder that is named, or a new one, which goes again if nothing came of it.

    What ends an evaluation says how to go on where answers are there.
    """
    from grpokit.errors import GrpokitError, Interrupted
    from grpokit.evaluate.kept import FILE
    from grpokit.evaluate.records import fresh_folder, make_folder

    place = make_folder(out) if out else fresh_folder(parent, time.strftime("%Y%m%d-%H%M%S"))
    try:
        yield place
    except GrpokitError as error:
        if (place / FILE).exists():
            again = "" if out else f" with --out {shlex.quote(str(short(place)))}"
            on = f"the same command{again} goes on with the answers that are there"
            first = (
                "" if isinstance(error, Interrupted) or not error.remedy else f"{error.remedy}; "
            )
            error.remedy = first + on
        raise
    finally:
        with suppress(OSError):  # not empty
            place.rmdir()


def evaluate_all(
    subjects: list[Subject],
    recipe: Recipe | None,
    exam: Exam | None,
    catalog: Catalog,
    kept: Kept | None = None,
    notes: Notes | None = None,
) -> list[Evaluation]:
    """One model after the other, so that only one is in memory; answers that ``kept`` holds are taken.

    Recipe and exam are None where all answers are stored. Stored ones must be of the same exam.
    """
    from grpokit.engine.signals import StopFlag

    notes = notes or Notes()
    notes.compare_stored(subjects)
    if recipe is None or exam is None:
        return [_stored(subject) for subject in subjects]
    with ExitStack() as stack:
        flag = stack.enter_context(StopFlag())
        scorer = stack.enter_context(exam.scorer())
        view = stack.enter_context(render.live())
        display = Display(view)
        task = _Task(exam=exam, scorer=scorer, poll=flag.poll, kept=kept, notes=notes)
        return [
            _stored(subject)
            if subject.stored
            else _evaluate_one(subject, recipe, catalog, task, display.of(subject.label))
            for subject in subjects
        ]


@dataclass(frozen=True, kw_only=True)
class _Task:
    exam: Exam
    scorer: Any
    poll: ShouldStop
    kept: Kept | None
    notes: Notes


def _stored(subject: Subject) -> Evaluation:
    assert subject.stored is not None
    return replace(subject.stored.evaluation, label=subject.label)


def _evaluate_one(
    subject: Subject, recipe: Recipe, catalog: Catalog, task: _Task, progress: Progress
) -> Evaluation:
    from grpokit.engine.session import make_backend
    from grpokit.evaluate.run import evaluate
    from grpokit.spec.contracts import Spends

    own = subject.recipe_for(recipe)
    backend = make_backend(catalog, own)
    try:
        backend.open_checkpoint(own, subject.folder)
        task.poll()
        task.notes.compare(subject.label, task.exam, backend.identity)
        resumed = task.kept is not None and task.kept.has(subject.label)
        found = evaluate(
            backend,
            task.exam,
            label=subject.label,
            scorer=task.scorer,
            progress=progress,
            should_stop=task.poll,
            kept=task.kept,
        )
        if isinstance(backend, Spends):
            task.notes.usage[subject.label] = dict(backend.usage)
    finally:
        backend.close()
    return replace(found, seconds=0.0) if resumed else found
