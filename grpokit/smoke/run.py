"""The stages of a smoke run, in their order. The first that fails ends it, and its folder stays."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from grpokit.compose.load import load_recipe
from grpokit.compose.plan import make_plan, plan_json, raise_errors
from grpokit.engine.checkpoint import CheckpointStore
from grpokit.engine.observer import Observer
from grpokit.engine.rundir import RunDir
from grpokit.engine.session import make_backend, train
from grpokit.engine.signals import StopFlag
from grpokit.errors import GrpokitError
from grpokit.evaluate.records import write_evaluation
from grpokit.evaluate.run import evaluate, prepare
from grpokit.registry.models import bring
from grpokit.smoke.facts import check_checkpoints, check_gradient, check_moved, check_same, steady
from grpokit.smoke.gold import Gold
from grpokit.smoke.loop import GoldLoop
from grpokit.smoke.small import MODEL, STEPS, Small, small_recipe
from grpokit.spec.components import BackendSpec
from grpokit.spec.export import Form

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog
    from grpokit.spec.recipe import Recipe

__all__ = ["Export", "Smoke", "Stage", "run_smoke"]

Export = Callable[[Path, Path, Form], None]
"""(run, policy, form): writes the weights and proves that they are what was trained."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """How one stage went."""

    name: str
    seconds: float
    end: Literal["passed", "failed", "left out"] = "passed"
    words: str = ""
    notes: tuple[str, ...] = ()


class Notes(Observer):
    """Keeps what a run warns of."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str, *, warning: bool = False) -> None:
        if warning:
            self.said.append(text)


def run_smoke(
    name: str,
    changes: list[str],
    catalog: Catalog,
    folder: Path,
    *,
    tell: Callable[[Stage], None],
    introduce: Callable[[Small], None],
    export: Export,
) -> None:
    """Takes a recipe through everything that a run does, in seconds.

    ``tell`` hears of each stage as it ends, ``introduce`` of the small recipe as soon as it is there.

    Raises:
        GrpokitError: of the stage that failed, which ``tell`` has heard of.
    """
    smoke = Smoke(name, catalog, folder, tell, export)
    introduce(smoke.check(changes))
    smoke.plan()
    smoke.train()
    smoke.checkpoint()
    smoke.resume()
    smoke.evaluate()
    smoke.export_weights()


@dataclass
class Smoke:
    """A smoke run between two stages."""

    name: str
    catalog: Catalog
    folder: Path
    tell: Callable[[Stage], None]
    export: Export
    gold: Gold = field(default_factory=Gold)
    small: Small = field(init=False)
    run: RunDir = field(init=False)
    loop: GoldLoop = field(init=False)

    @property
    def recipe(self) -> Recipe:
        return self.small.recipe

    @property
    def before(self) -> Path:
        return self.folder / "before"

    @property
    def last(self) -> Path:
        return self.run.checkpoints / f"step-{STEPS:06d}"

    @contextmanager
    def stage(self, name: str, notes: Notes | None = None) -> Iterator[list[str]]:
        """Tells of the stage as it ends, with the words that were put into the list."""
        began, words = time.perf_counter(), list[str]()
        said = notes or Notes()

        def end(how: Literal["passed", "failed"]) -> Stage:
            return Stage(
                name=name,
                seconds=time.perf_counter() - began,
                end=how,
                words=", ".join(words),
                notes=tuple(said.said),
            )

        try:
            yield words
        except BaseException as error:
            if isinstance(error, GrpokitError):  # nobody goes on with this run
                error.remedy = error.remedy.partition("resume with: ")[0].rstrip("; ")
            self.tell(end("failed"))
            raise
        self.tell(end("passed"))

    def leave_out(self, name: str, why: str) -> None:
        self.tell(Stage(name=name, seconds=0.0, end="left out", words=why))

    def check(self, changes: list[str]) -> Small:
        """The recipe, and what becomes of it."""
        with self.stage("recipe") as words:
            loaded = load_recipe(self.name, overrides=changes, catalog=self.catalog)
            self.small = small_recipe(loaded, self.catalog, self.folder)
            self.gold.template = self.recipe.prompt.use
            rewards = ", ".join(section.name or section.use for section in self.recipe.rewards)
            words += [f"data {self.recipe.dataset.use}", f"rewards {rewards}"]
            words += [f"algorithm {self.recipe.algorithm.use}"]
        return self.small

    def plan(self) -> None:
        """Data, prompts and rewards on real rows, with the tiny model's tokenizer."""
        notes = Notes()
        with self.stage("plan", notes) as words:
            bring(self.catalog.find("model", MODEL))
            plan = make_plan(self.small.loaded, self.catalog, inspect=self.gold)
            raise_errors(plan, self.name)
            self.run = RunDir.create(self.folder, "run", self.recipe, plan_json(plan))
            rows = plan.arithmetic.rows
            words += [f"{rows:,} rows" if rows else "rows without end"]
            if self.gold.way is not None:
                words.append(f"a right answer is written in the way {self.gold.way.name}")
            notes.said += [found.fact for found in plan.findings if found.code == "P205"]

    def train(self) -> None:
        """Two steps, which move the weights."""
        notes = Notes()
        with self.stage("train", notes) as words:
            self._train(self.run, notes)
            metrics, rollouts = list(self.run.metrics.read()), list(self.run.rollouts.read())
            norms = check_gradient(self.recipe, metrics, rollouts)
            check_moved(self.before, self.last / "policy")
            written, cut = self.loop.written
            drawn = sum(len(row["completions"]) for row in rollouts)
            words += [f"gradients {' and '.join(f'{norm:.2g}' for norm in norms)}"]
            words += [f"{written} of {drawn} completions written by us"]
            if cut:
                notes.said.append(f"{cut} of them were cut to rollout.max_tokens")
            for name, score in steady(self.recipe, rollouts).items():
                what = "no score" if score is None else f"{score:g}"
                notes.said.append(f"the reward {name} has {what} for every completion")

    def _train(self, run: RunDir, notes: Notes) -> None:
        def make(**parts: Any) -> GoldLoop:
            self.loop = GoldLoop(**parts, gold=self.gold, before=self.before)
            return self.loop

        train(self.recipe, run, self.catalog, notes, build=make)

    def checkpoint(self) -> None:
        with self.stage("checkpoint") as words:
            store = CheckpointStore(self.run.checkpoints, keep=STEPS)
            check_checkpoints(store, range(1, STEPS + 1), self.run.final)
            words += [f"of {STEPS} steps, hashes agree"]

    def resume(self) -> None:
        """What a kill after the first step leaves, taken up again."""
        notes = Notes()
        with self.stage("resume", notes) as words:
            home = self.folder / f"{self.run.path.name}-resumed"
            shutil.copytree(self.run.path, home)
            again = RunDir.existing(home)
            shutil.rmtree(again.final)
            shutil.rmtree(again.checkpoints / self.last.name)
            self._train(again, notes)
            check_same(self.last, again.checkpoints / self.last.name)
            words += ["stopped after step 1, step 2 ends with the same weights, bit for bit"]

    def evaluate(self) -> None:
        """The trained policy on held-out questions."""
        if self.recipe.eval.dataset is None:
            self.leave_out("evaluate", "the recipe names no eval.dataset")
            return
        with self.stage("evaluate") as words, StopFlag() as flag:
            exam = prepare(self.recipe, self.catalog)
            backend = make_backend(self.catalog, self.recipe)
            try:
                backend.open_checkpoint(self.recipe, self.run.final)
                with exam.scorer() as scorer:
                    found = evaluate(
                        backend, exam, label="policy", scorer=scorer, should_stop=flag.poll
                    )
            finally:
                backend.close()
            place = self.run.path / "eval" / "smoke"
            place.mkdir(parents=True)
            write_evaluation(place, [found], None)
            words += [f"{len(found.items)} answers marked by {exam.decides}"]

    def export_weights(self) -> None:
        """The trained weights as others would get them."""
        spec = cast("BackendSpec", self.catalog.find("backend", self.recipe.backend.use).spec)
        if not spec.export:
            self.leave_out("export", f"the backend {spec.name} exports no weights")
            return
        form: Form = "adapter" if self.recipe.model.lora else "merged"
        with self.stage("export") as words:
            self.export(self.run.path, self.run.final, form)
            what = "an adapter" if form == "adapter" else "a model folder"
            words += [f"{what}, read back: it says what was trained"]
