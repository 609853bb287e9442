"""Questions that the model may have trained on: equal ones, and parts of them, in the training data.

    exact       the text that the data set puts into the prompt is that of a training row
    normal      it is but for case, spaces and punctuation at the ends of words
    part        13 words in a row, or 50 characters, stand in a training row

A run of words or characters that more than 10 questions, or 10 training rows, share is taken for wording that all
have in common, as in arXiv 2005.14165; at least half of a part must be other text. The training rows are read once, one after the other, and only hashes of the
questions are kept: rows and seconds are bounded, and it is said how far that went.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from grpokit.compose.data import open_dataset
from grpokit.compose.prompts import placeholders, resolve_template
from grpokit.errors import GrpokitError

if TYPE_CHECKING:
    from grpokit.evaluate.run import Exam
    from grpokit.registry.catalog import Catalog
    from grpokit.spec.contracts import Dataset
    from grpokit.spec.recipe import Recipe

__all__ = ["CHARACTERS", "GRAM", "Overlap", "compare_texts", "find_overlap"]

GRAM = 13
CHARACTERS = 50
COMMON = 10
"""Questions or training rows that may share a run of words before it is wording of all."""
ROWS = 100_000
SECONDS = 10.0
MARKS = " .,;:!?\"'`"
LEVELS: tuple[Level, ...] = ("exact", "normal", "part")

Level = Literal["exact", "normal", "part"]


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """What the training data and the questions have in common.

    Attributes:
        found: question -> how much of it, and the first training row that has it.
        ids: of all questions.
        rows: training rows that were looked at.
        size: training rows that there are; None without end.
        same: both data sets are the same one.
        problem: why nothing, or not everything, was looked at.
    """

    ids: tuple[str, ...] = ()
    found: dict[str, tuple[Level, int]] = field(default_factory=dict)
    rows: int = 0
    size: int | None = 0
    same: bool = False
    problem: str = ""

    @property
    def counts(self) -> dict[str, int]:
        levels = Counter(level for level, _ in self.found.values())
        return {level: levels[level] for level in LEVELS}

    @property
    def clean(self) -> frozenset[str]:
        """The questions of which nothing was found."""
        return frozenset(self.ids) - self.found.keys()

    def as_dict(self) -> dict[str, Any]:
        return {
            "questions": len(self.ids),
            **self.counts,
            "rows": self.rows,
            "of_rows": self.size,
            "same_data_set": self.same,
            "problem": self.problem,
            "found": [
                {"id": each, "level": level, "row": row}
                for each, (level, row) in self.found.items()
            ],
        }


def find_overlap(exam: Exam, recipe: Recipe, catalog: Catalog) -> Overlap | None:
    """The overlap of an exam's questions with the recipe's training data; None where it is not asked for."""
    if recipe.eval.overlap == "off":
        return None
    names = placeholders(resolve_template(recipe.prompt).user)
    ids = tuple(prompt.id for prompt in exam.prompts)
    questions = [_text(prompt.row, names) for prompt in exam.prompts]
    try:
        training = open_dataset(catalog, recipe.dataset)
    except GrpokitError as error:
        return Overlap(ids=ids, size=None, problem=f"the training data: {error.fact}")
    drawn = recipe.train.steps * recipe.rollout.prompts
    wanted = min(ROWS, drawn if training.size is None else training.size)
    seen = _Rows(training, names, wanted)
    found = compare_texts(questions, seen)
    return Overlap(
        ids=ids,
        found={ids[at]: hit for at, hit in sorted(found.items())},
        rows=seen.read,
        size=training.size,
        same=training.fingerprint == exam.fingerprint["dataset"],
        problem=seen.problem,
    )


def _text(row: Any, names: Sequence[str]) -> str:
    return " ".join(str(row[name]) for name in names if row.get(name) is not None)


class _Rows:
    """The texts of the first training rows, for as long as there is time."""

    def __init__(self, dataset: Dataset, names: Sequence[str], wanted: int) -> None:
        self.dataset, self.names, self.wanted = dataset, names, wanted
        self.read = 0
        self.problem = ""

    def __iter__(self) -> Iterator[str]:
        end = time.monotonic() + SECONDS
        for index in range(self.wanted):
            if time.monotonic() > end:
                self.problem = f"{SECONDS:g} s were over"
                return
            try:
                text = _text(self.dataset[index], self.names)
            except GrpokitError as error:
                self.problem = f"training row {index}: {error.fact}"
                return
            self.read += 1
            yield text


def compare_texts(questions: Sequence[str], rows: Iterable[str]) -> dict[int, tuple[Level, int]]:
    """Position of a question -> the most that a row has of it, and the first such row."""
    index = _Index(questions)
    found: dict[int, tuple[Level, int]] = {}
    seen: dict[int, list[int]] = {}  # run -> the first rows that have it, and one more than may
    for row, text in enumerate(rows):
        words = _words(text)
        _note(found, index.exact.get(text, ()), "exact", row)
        _note(found, index.normal.get(" ".join(words), ()), "normal", row)
        grams, pieces = _runs(words)
        for run in {*grams, *pieces} & index.runs.keys():
            held = seen.setdefault(run, [])
            if len(held) <= COMMON:
                held.append(row)
    for at, kinds in enumerate(index.ordered):
        hits = [hit for runs, size in kinds for hit in _own(runs, size // 2, index.runs, seen)]
        if hits:
            _note(found, [at], "part", min(hits))
    return found


class _Index:
    """The questions as they are looked for: whole, and as hashes of their runs."""

    def __init__(self, questions: Sequence[str]) -> None:
        self.exact: dict[str, list[int]] = {}
        self.normal: dict[str, list[int]] = {}
        self.runs: Counter[int] = Counter()  # questions that have it
        self.ordered: list[tuple[tuple[list[int], int], ...]] = []
        for at, text in enumerate(questions):
            words = _words(text)
            grams, pieces = _runs(words)
            self.exact.setdefault(text, []).append(at)
            self.normal.setdefault(" ".join(words), []).append(at)
            self.runs.update({*grams, *pieces})
            self.ordered.append(((grams, GRAM), (pieces, CHARACTERS)))


def _own(
    runs: Sequence[int], half: int, asked: Mapping[int, int], seen: Mapping[int, Sequence[int]]
) -> Iterator[int]:
    """The first training rows of those runs of a question of which at least half is no common wording."""
    common = [at for at, run in enumerate(runs) if max(asked[run], len(seen.get(run, ()))) > COMMON]
    blocked = {near for at in common for near in range(at - half, at + half + 1)}
    for at, run in enumerate(runs):
        if run in seen and at not in blocked:
            yield seen[run][0]


def _note(
    found: dict[int, tuple[Level, int]], questions: Iterable[int], level: Level, row: int
) -> None:
    for each in questions:
        old = found.get(each)
        if old is None or LEVELS.index(level) < LEVELS.index(old[0]):
            found[each] = level, row


def _words(text: str) -> list[str]:
    """Signs within a word stay: 1.5 is not 15, and a lone + or - is a word."""
    return [word for each in text.casefold().split() if (word := each.strip(MARKS))]


def _runs(words: Sequence[str]) -> tuple[list[int], list[int]]:
    """Hashes of all 13 words, and of all 50 characters, in a row."""
    text = " ".join(words)
    grams = [hash(tuple(words[at : at + GRAM])) for at in range(len(words) - GRAM + 1)]
    return grams, [hash(text[at : at + CHARACTERS]) for at in range(len(text) - CHARACTERS + 1)]
