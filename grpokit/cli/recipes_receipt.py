"""``grpokit recipes receipt`` and ``recipes verify``: writing receipts, and not believing them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grpokit.cli import render
from grpokit.cli.consent import ForeignRewards
from grpokit.errors import CheckpointError, GrpokitError, RecipeError

if TYPE_CHECKING:
    from grpokit.cli.eval_target import Subject
    from grpokit.compose.library import Found, Library
    from grpokit.compose.load import Loaded
    from grpokit.evaluate.records import Evaluation
    from grpokit.receipts.facts import Fact
    from grpokit.receipts.model import Receipt, RunFact
    from grpokit.registry.catalog import Catalog

__all__ = ["app"]

COMPARABLE = ("recipe", "metric", "questions")
"""Facts that must be the same before anything is trained or asked again."""

app = typer.Typer()


@app.command()
def receipt(
    runs: Annotated[
        list[str], typer.Argument(help="Finished runs, one a seed; `last` is the newest.")
    ],
    recipe: Annotated[
        str | None, typer.Option(metavar="R", help="The recipe; the runs' own by default.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to write; `-` prints it."),
    ] = None,
    note: Annotated[
        str, typer.Option(help="A word of yours: who else used the machine, what is special.")
    ] = "",
    foreign: ForeignRewards = False,
) -> None:
    """Write the receipt of a recipe from finished runs and their saved evaluations.

    Each run needs `grpokit eval RUN --base`. Several runs are several seeds: the receipt has each, their
    mean and their spread. A recipe file gets it beside it, a recipe of the library into this folder.
    """
    from grpokit.compose.files import display
    from grpokit.compose.library import Library
    from grpokit.compose.load import load_recipe
    from grpokit.engine.rundir import RunDir, named_run
    from grpokit.receipts.build import build
    from grpokit.receipts.model import dump
    from grpokit.registry.catalog import Catalog

    catalog = Catalog.load(foreign_rewards=foreign)
    paths = [RunDir.existing(named_run(run)).path for run in runs]
    library = Library(catalog, Path.cwd())
    name = recipe or _recipe_of(paths[0], library)
    loaded = load_recipe(name, catalog=catalog)
    text = dump(made := build(paths, loaded, catalog, note=note))
    if out == Path("-"):
        sys.stdout.write(text)
        return
    target = _target(loaded.sources[0], out)
    _write(target, text)
    from grpokit.cli.recipes_show import receipt_lines

    render.say("\n".join(receipt_lines(name, made)))
    render.say(f"\nwritten to {display(target, Path.cwd())}")
    own = loaded.sources[0]
    if own.plugin and out is None:
        render.say(f"it belongs beside the recipe: {own.file}")


def _recipe_of(run: Path, library: Library) -> str:
    """The library's recipe that the run is named after."""
    from grpokit.report.listing import read_run

    name = read_run(run).recipe
    if name not in library.named:
        raise RecipeError(
            f"the run is of {name}, which is no recipe of the library",
            place=str(run),
            remedy="name the file with --recipe FILE",
        )
    return name


def _target(found: Found, out: Path | None) -> Path:
    """What was asked for; else beside a recipe file, and in the current folder for what is installed."""
    from grpokit.receipts.shelf import name_of_file

    name = name_of_file(found)
    if out is not None:
        return out / name if out.is_dir() else out
    return Path(name) if found.plugin or found.path is None else found.path.with_name(name)


def _write(target: Path, text: str) -> None:
    """Whole or not at all, and over nothing but a receipt."""
    from grpokit.engine.checkpoint import write_atomic
    from grpokit.receipts.model import SUFFIX

    if target.exists() and not target.name.endswith(SUFFIX):
        raise RecipeError(
            "the file is there, and its name is no receipt's",
            place=str(target),
            remedy=f"choose a new file, or one that ends in {SUFFIX}",
        )
    try:
        write_atomic(target, text)
    except OSError as error:
        raise CheckpointError(
            f"the receipt cannot be written: {error.strerror or error}",
            place=str(target),
            remedy="choose another file with --out",
        ) from error


@app.command()
def verify(
    name: Annotated[
        str, typer.Argument(help="A recipe, or a plugin: all its recipes that have a receipt.")
    ],
    file: Annotated[
        Path | None,
        typer.Option("--receipt", metavar="FILE", help="This receipt, not that beside the recipe."),
    ] = None,
    evaluate: Annotated[
        bool, typer.Option("--eval", help="Ask the base model the questions again.")
    ] = False,
    train: Annotated[
        bool, typer.Option("--train", help="Train again with a seed of the receipt, and evaluate.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(help="The seed for --train; the receipt's first by default.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Keeps the run of --train; removed otherwise."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    foreign: ForeignRewards = False,
) -> None:
    """Check a receipt: recompute what can be recomputed, compare the rest with what is here.

    Exit codes: 0 nothing contradicts the receipt; 1 something differs; 2 and 3 it could not be checked.
    Without --eval and --train no model is loaded and nothing is brought from the network.
    """
    from grpokit.compose.library import Library
    from grpokit.receipts.shelf import asked
    from grpokit.registry.catalog import Catalog

    catalog = Catalog.load(foreign_rewards=foreign)
    names = [record.name for record in catalog.plugins if record.loaded]
    recipes = asked(name, Library(catalog, Path.cwd()), names)
    again = Again(evaluate=evaluate, train=train, seed=seed, out=out, foreign=foreign)
    again.refuse(name, recipes, file)
    results = [_result(found, file, catalog, again, shown=not as_json) for found in recipes]
    if as_json:
        render.print_json({"recipes": results})
    if not all(result["holds"] for result in results):
        raise typer.Exit(1)


def _result(
    found: Found, file: Path | None, catalog: Catalog, again: Again, *, shown: bool
) -> dict[str, Any]:
    """What one receipt comes to, as data; shown on the way."""
    from grpokit.cli.recipes_show import show_facts
    from grpokit.receipts.facts import holds

    told, facts = _facts(found, file, catalog, again)
    label = found.name if found.plugin else found.file
    if shown:
        show_facts(label, told, facts)
    return {"recipe": label, "holds": holds(facts), "facts": [*map(dataclasses.asdict, facts)]}


def _facts(
    found: Found, file: Path | None, catalog: Catalog, again: Again
) -> tuple[Receipt, list[Fact]]:
    from grpokit.compose.load import load_recipe
    from grpokit.receipts.model import read
    from grpokit.receipts.shelf import name_of_file, receipt_of
    from grpokit.receipts.verify import verify as check

    name = found.name if found.plugin else str(found.path)
    told = receipt_of(found) if file is None else read(file, str(file))
    if told is None:
        raise RecipeError(
            f"the recipe has no receipt: there is no {name_of_file(found)} beside it",
            place=name,
            remedy=f"measure it: grpokit train {shlex.quote(name)}, grpokit eval last --base, "
            f"grpokit recipes receipt last --recipe {shlex.quote(name)}",
        )
    loaded = load_recipe(name, catalog=catalog)
    if not (again.evaluate or again.train):
        with _offline():
            return told, check(told, loaded, catalog)
    facts = check(told, loaded, catalog)
    return told, again.replace(facts, name, told, loaded, catalog)


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Nothing is downloaded to look at a receipt."""
    before = os.environ.get("HF_HUB_OFFLINE")
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["HF_HUB_OFFLINE"]
        else:
            os.environ["HF_HUB_OFFLINE"] = before


@dataclasses.dataclass(frozen=True, kw_only=True)
class Again:
    """What is done again: the answers of the base model, the training."""

    evaluate: bool
    train: bool
    seed: int | None
    out: Path | None
    foreign: bool

    def refuse(self, name: str, recipes: list[Found], file: Path | None) -> None:
        """Options that contradict each other. Raises RecipeError."""
        lone = "--train, --eval or --receipt"
        several = len(recipes) > 1 and (self.train or self.evaluate or file is not None)
        problems = [
            (several, f"{name} has {len(recipes)} recipes with a receipt", f"{lone} want one"),
            (self.seed is not None and not self.train, "--seed does nothing", "add --train"),
            (self.out is not None and not self.train, "--out does nothing", "add --train"),
        ]
        for wrong, fact, remedy in problems:
            if wrong:
                raise RecipeError(fact, place="grpokit recipes verify", remedy=remedy)

    def replace(
        self, facts: list[Fact], name: str, told: Receipt, loaded: Loaded, catalog: Catalog
    ) -> list[Fact]:
        """The facts with what was done again in place of what was not."""
        unlike = [f.name for f in facts if f.name in COMPARABLE and f.state != "same"]
        if unlike:
            text = f"not done again: answers do not compare (see {', '.join(unlike)})"
            wanted = ["model"] * self.evaluate + ["training"] * self.train
            return [dataclasses.replace(f, text=text) if f.name in wanted else f for f in facts]
        found: dict[str, list[Fact]] = {}
        with contextlib.redirect_stdout(sys.stderr):  # the table, or JSON, stands on stdout alone
            if self.evaluate:
                found["model"] = self._evaluated(told, loaded, catalog)
            if self.train:
                found["training"] = self._trained(name, told, loaded, catalog)
        return [new for fact in facts for new in found.get(fact.name, [fact])]

    def _evaluated(self, told: Receipt, loaded: Loaded, catalog: Catalog) -> list[Fact]:
        from grpokit.cli.eval_target import Subject
        from grpokit.receipts.again import base_again

        answers = _answers(Subject(label="base"), loaded, catalog)
        model = answers.fingerprint["model"]
        return base_again(told, [item.correct for item in answers.items], model)

    def _trained(self, name: str, told: Receipt, loaded: Loaded, catalog: Catalog) -> list[Fact]:
        from grpokit.cli.eval_target import find_subjects
        from grpokit.cli.train import train_new
        from grpokit.receipts.again import trained_again

        fact = self._of_seed(told)
        with contextlib.ExitStack() as stack:
            folder = self.out or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            stack.enter_context(self._kept())
            run = train_new(
                name,
                [f"train.seed={fact.seed}", f"train.out={json.dumps(str(folder))}"],
                foreign=self.foreign,
                plain=not render.is_terminal(sys.stderr),
                skip_check=fact.reward_check.state == "skipped",
            )
            ((subject,), _, _) = find_subjects(str(run.path))
            answers = _answers(subject, loaded, catalog)
        model = answers.fingerprint["model"]
        weights = str(model.get("adapter") or model.get("weights", ""))
        return trained_again(told, fact, [item.correct for item in answers.items], weights)

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        """A run in a folder that is removed cannot be resumed."""
        try:
            yield
        except GrpokitError as error:
            if self.out is None:
                error.remedy = "--out FOLDER keeps the run, so that it can be resumed"
            raise

    def _of_seed(self, told: Receipt) -> RunFact:
        seeds = [run.seed for run in told.runs]
        if self.seed is None or self.seed in seeds:
            return told.runs[0 if self.seed is None else seeds.index(self.seed)]
        raise RecipeError(
            f"the receipt has no run with seed {self.seed}; it has {', '.join(map(str, seeds))}",
            place="--seed",
            remedy="name one of them",
        )


def _answers(subject: Subject, loaded: Loaded, catalog: Catalog) -> Evaluation:
    """One model on the recipe's questions."""
    from grpokit.cli.eval import evaluate_all
    from grpokit.evaluate.run import prepare

    exam = prepare(loaded.recipe, catalog)
    (found,) = evaluate_all([subject], loaded.recipe, exam, catalog)
    return found
