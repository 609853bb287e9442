"""The pass rate of every row of a training set, in a file that `dataset.difficulty` reads.

difficulty.jsonl           a line {"kind", "model", "dataset", ...}, then a line a row
difficulty.jsonl.partial   the same while it is measured; an interrupted command goes on with it
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from grpokit.compose.data import open_dataset
from grpokit.compose.difficulty import FORMAT, KIND, asked_of, model_of
from grpokit.compose.prompts import make_prompts
from grpokit.engine.session import make_algorithm, make_backend
from grpokit.engine.signals import StopFlag
from grpokit.errors import CheckpointError, Interrupted, PreflightError
from grpokit.evaluate.lines import append_lines, read_lines
from grpokit.evaluate.run import Progress, digest
from grpokit.forecast.files import unwritten, write_text
from grpokit.forecast.sample import Asker, Passing, Question, passing_of
from grpokit.scoring.budget import ErrorBudget
from grpokit.scoring.scorer import Scorer, scoring_options, setups
from grpokit.spec.sampling import sampling_of
from grpokit.spec.seeds import derive_seed

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog
    from grpokit.spec.contracts import Dataset, Model
    from grpokit.spec.recipe import Recipe

__all__ = ["Measured", "measure", "partial"]

Line = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Every row that was asked for.

    Attributes:
        lines: of the file, in the order of the data set.
        new: rows that were asked now; the others were there.
        passing: what a pass is.
    """

    path: Path
    lines: tuple[Line, ...]
    new: int
    passing: Passing
    samples: int

    @property
    def rates(self) -> list[float]:
        """Pass rates of the rows that could be marked."""
        return [line["pass_rate"] for line in self.lines if line["pass_rate"] is not None]


def partial(path: Path) -> Path:
    """Where the rows are until all of them are there."""
    return path.with_name(f"{path.name}.partial")


def measure(
    recipe: Recipe,
    catalog: Catalog,
    path: Path,
    *,
    rows: int | None,
    samples: int,
    tell: Progress,
) -> Measured:
    """Asks the first rows of the training set and writes what came of them to ``path``.

    Rows that are in the file, or in what an interrupted command left, are not asked again.

    Raises:
        PreflightError: the data set is endless and no number is given, or the recipe cannot run here.
        CheckpointError: what is there is of another model, data set or way of asking; or cannot be written.
        Interrupted: a signal came; the same command goes on.
    """
    dataset = open_dataset(
        catalog, recipe.dataset.model_copy(update={"difficulty": None, "limit": None})
    )
    wanted = _wanted(recipe, dataset, rows)
    with ExitStack() as stack:
        flag = stack.enter_context(StopFlag())
        backend = make_backend(catalog, recipe)
        stack.callback(backend.close)
        backend.open_checkpoint(recipe, None)
        flag.poll()
        scorer = stack.enter_context(
            Scorer(setups(catalog, recipe.rewards), **scoring_options(recipe.scoring))
        )
        asker = _asker(recipe, catalog, backend, scorer, samples, flag)
        head = _head(recipe, catalog, backend, samples, asker.passing)
        store = _Store(path, head)
        before = len(store.known.keys() & set(range(wanted)))
        try:
            _fill(asker, recipe, dataset, store, wanted, tell)
        except Interrupted as error:
            error.remedy = "the same command goes on with the rows that are there"
            raise
    return Measured(
        path=path,
        lines=store.finish(),
        new=wanted - before,
        passing=asker.passing,
        samples=samples,
    )


def _wanted(recipe: Recipe, dataset: Dataset, rows: int | None) -> int:
    known = [n for n in (rows or recipe.dataset.limit, dataset.size) if n is not None]
    if not known:
        raise PreflightError(
            "the data set has no end, and no number of rows is given",
            place="grpokit difficulty",
            remedy="add --rows 500, say: these become the data set",
        )
    return min(known)


def _asker(
    recipe: Recipe,
    catalog: Catalog,
    backend: Model,
    scorer: Scorer,
    samples: int,
    flag: StopFlag,
) -> Asker:
    seed = derive_seed(recipe.train.seed, "difficulty")
    drawn = make_algorithm(catalog, recipe).sampling(replace(sampling_of(recipe), step=1))
    return Asker(
        model=backend,
        sampling=replace(drawn, group=samples, seed=seed),
        scorer=scorer,
        passing=passing_of(recipe),
        budget=ErrorBudget(recipe.scoring.max_error_rate),
        poll=flag.poll,
    )


def _head(
    recipe: Recipe, catalog: Catalog, backend: Model, samples: int, passing: Passing
) -> dict[str, Any]:
    """Everything that the rates depend on; files with another head are not gone on with."""
    bare = recipe.dataset.model_copy(update={"difficulty": None, "limit": None, "columns": {}})
    return {
        "kind": KIND,
        "format": FORMAT,
        "model": {**model_of(recipe), "identity": digest(dict(backend.identity))},
        "dataset": open_dataset(catalog, bare).fingerprint,
        "columns": recipe.dataset.columns,
        "asked": asked_of(recipe),
        "passing": {"reward": passing.reward, "threshold": passing.threshold},
        "samples": samples,
        "seed": recipe.train.seed,
    }


class _Store:
    """The file, and the partial one beside it.

    Raises:
        CheckpointError: one of them has another head, is damaged, or cannot be used.
    """

    def __init__(self, path: Path, head: Line) -> None:
        self.path, self.aside = path, partial(path)
        self.head: Line = json.loads(json.dumps(head, default=str))
        self.known: dict[int, Line] = {}
        try:
            for file in (path, self.aside):
                self._read(file)
        except OSError as error:
            raise unwritten(self.path, error.strerror or str(error)) from error

    def add(self, lines: Sequence[Line]) -> None:
        """On the disk when this returns."""
        new = not self.aside.exists() or not self.aside.stat().st_size
        try:
            append_lines(self.aside, [self.head, *lines] if new else lines)
        except OSError as error:
            raise unwritten(self.aside, error.strerror or str(error)) from error
        self.known |= {line["row"]: line for line in lines}

    def finish(self) -> tuple[Line, ...]:
        """Everything is written to its place."""
        lines = tuple(self.known[row] for row in sorted(self.known))
        text = "".join(json.dumps(line) + "\n" for line in (self.head, *lines))
        write_text(self.path, text)
        self.aside.unlink(missing_ok=True)
        return lines

    def _read(self, file: Path) -> None:
        for number, text in read_lines(file):
            try:
                line = json.loads(text)
                if number > 1:
                    self.known[int(line["row"])] = line
                    continue
            except (ValueError, KeyError, TypeError) as error:
                raise self._unusable(file, f"line {number} is damaged") from error
            if line != self.head:
                raise self._unusable(file, _other(line, self.head))

    def _unusable(self, file: Path, why: str) -> CheckpointError:
        return CheckpointError(
            why, place=str(file), remedy="name another file with --out, or delete this one"
        )


def _other(line: Any, head: Line) -> str:
    if not isinstance(line, dict) or line.get("kind") != KIND:
        return "this is no file of `grpokit difficulty`"
    differ = [key for key in head if line.get(key) != head[key]]
    return f"these rows were measured with another {', '.join(differ) or 'format'}"


def _fill(
    asker: Asker, recipe: Recipe, dataset: Dataset, store: _Store, wanted: int, tell: Progress
) -> None:
    rollout = recipe.rollout
    size = max(1, rollout.prompts * rollout.group // asker.sampling.group)
    missing = [row for row in range(wanted) if row not in store.known]
    tell(wanted - len(missing), wanted)
    for start in range(0, len(missing), size):
        chosen = missing[start : start + size]
        prompts = make_prompts(recipe.prompt, dataset, chosen)
        if rollout.max_prompt_tokens is not None:
            prompts = [
                p
                for p in prompts
                if len(asker.model.encode(p.messages)) <= rollout.max_prompt_tokens
            ]
        found = asker.batch(prompts)[0] if prompts else []
        lines = {question.index: _line(question) for question in found}
        store.add(
            [lines.get(row, {"row": row, "pass_rate": None, "mean_total": None}) for row in chosen]
        )
        tell(wanted - len(missing) + start + len(chosen), wanted)


def _line(question: Question) -> dict[str, Any]:
    return {
        "row": question.index,
        "id": question.id,
        "pass_rate": question.pass_rate,
        "mean_total": question.mean_total,
        "marked": sum(each is not None for each in question.passed),
        "truncated": question.truncated / len(question.totals),
        "tokens": fmean(question.tokens),
    }
