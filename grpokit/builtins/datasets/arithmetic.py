"""Arithmetic without end: sums, differences and products of graded difficulty.

Row i is a pure function of the settings, the seed and i. The splits never share a problem, whatever
the settings of either: a hash of the problem alone decides to which one it belongs (``3 + 5`` and
``5 + 3`` are one problem). Where the space is small enough to count (50 000 problems), a split lists
its problems once and has a size, so that training walks through it in epochs. In a larger space
``train`` draws with replacement and ``test`` draws distinct problems; neither ends.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from grpokit.api import Config, PreflightError, derive_seed
from grpokit.builtins.datasets.problems import Problem, Shape, held_out, shapes_of

__all__ = ["LEVELS", "ArithmeticConfig", "ArithmeticDataset"]

Operation = Literal["add", "sub", "mul"]
Bounds = Annotated[list[int], Field(min_length=2, max_length=2)]

LEVELS: dict[int, tuple[Shape, ...]] = {
    1: shapes_of(["add"], [(1, 9)] * 2),
    2: shapes_of(["add", "sub"], [(1, 20)] * 2),
    3: shapes_of(["add", "sub"], [(10, 99)] * 2),
    4: shapes_of(["add", "sub"], [(100, 999)] * 2) + shapes_of(["mul"], [(2, 9), (10, 99)]),
    5: shapes_of(["add", "sub"], [(10, 99)] * 3) + shapes_of(["mul"], [(11, 99)] * 2),
}
"""What ``level`` stands for."""
COUNTABLE = 50_000
ATTEMPTS = 2_000


class ArithmeticConfig(Config):
    """Settings of the data set `arithmetic`."""

    split: Literal["train", "test"] = "train"
    """`test` holds the problems that `train` never shows."""
    level: int | None = Field(default=None, ge=1, le=5)
    """Difficulty: 1 adds digits, 2 adds and subtracts up to 20, 3 two-digit numbers, 4 three-digit numbers and small products, 5 three terms and two-digit products."""
    operations: list[Operation] = Field(default=["add"], min_length=1)
    """Operations to choose from, when no `level` is given."""
    operands: list[Bounds] = Field(default=[[1, 9], [1, 9]], min_length=2, max_length=6)
    """Smallest and largest value of each operand, when no `level` is given."""
    negative: bool = False
    """Whether an answer, or the sum on the way to it, may be below 0."""
    template: str = "What is {problem}?"
    """The question; `{problem}` becomes the problem."""
    times: str = Field(default="*", min_length=1)
    """The multiplication sign."""
    held_out: float = Field(default=0.2, gt=0, lt=1)
    """Share of all problems in the test split. Give training and evaluation the same value."""
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    """Another seed is another order of the same problems."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        both = {"operations", "operands"} & self.model_fields_set
        if self.level is not None and both:
            raise ValueError(f"give level or {' and '.join(sorted(both))}, not both")
        wrong = [bounds for bounds in self.operands if bounds[0] > bounds[1]]
        if wrong:
            raise ValueError(f"operands are [smallest, largest]; {wrong[0]} is the other way round")
        if "{problem}" not in self.template:
            raise ValueError("the template has no {problem}")
        return self

    def shapes(self) -> tuple[Shape, ...]:
        """The problems to draw from."""
        if self.level is not None:
            return LEVELS[self.level]
        operations = list(dict.fromkeys(self.operations))
        return shapes_of(operations, [(low, high) for low, high in self.operands])


class ArithmeticDataset:
    """Rows with ``question``, ``answer`` (text), ``problem``, ``level``, ``a`` and ``b``.

    Raises:
        PreflightError: the settings leave no problem in this split.
    """

    columns = ("question", "answer", "problem", "level", "a", "b")

    def __init__(self, config: ArithmeticConfig) -> None:
        self.config = config
        self.shapes = config.shapes()
        text = f"arithmetic 1 {config.model_dump_json()}"
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]
        self.size: int | None = None
        self._distinct: list[Problem] = []
        self._more: Iterator[Problem] = iter(())
        if sum(shape.size for shape in self.shapes) <= COUNTABLE:
            self._distinct = list(self._all())
            self.size = len(self._distinct)
        elif config.split == "test":
            self._more = self._drawn()
        if self.size == 0 or (self.size is None and self._draw(0) is None):
            raise self._nothing()

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        if index < 0 or (self.size is not None and index >= self.size):
            raise IndexError(f"row {index} of {self.size or 'endlessly many'}")
        if self.size is not None or self.config.split == "test":
            return self._row(self._listed(index))
        problem = self._draw(index)
        if problem is None:
            raise self._nothing()
        return self._row(problem)

    def _row(self, problem: Problem) -> dict[str, Any]:
        text = problem.text(self.config.times)
        return {
            "question": self.config.template.replace("{problem}", text),
            "answer": str(problem.answer),
            "problem": text,
            "level": self.config.level,
            "a": problem.operands[0],
            "b": problem.operands[1],
        }

    def _draw(self, index: int) -> Problem | None:
        """A problem of the split from a fresh stream of random numbers; None if none turns up."""
        for attempt in range(ATTEMPTS):
            parts = (self.config.seed, "arithmetic", self.config.split, index, attempt)
            shape = self.shapes[derive_seed(*parts, "shape") % len(self.shapes)]
            problem = shape.problem(derive_seed(*parts, "problem") % shape.size)
            if self._belongs(problem):
                return problem
        return None

    def _belongs(self, problem: Problem) -> bool:
        if not self.config.negative and min(problem.partial_sums()) < 0:
            return False
        return held_out(problem, self.config.held_out) == (self.config.split == "test")

    def _listed(self, index: int) -> Problem:
        missing = index + 1 - len(self._distinct)
        self._distinct += itertools.islice(self._more, max(missing, 0))
        return self._distinct[index]

    def _all(self) -> Iterator[Problem]:
        """Each problem of a small space once, the shapes taking turns, each in the seed's order.

        Training sees ``3 + 5`` and ``5 + 3``; in a test they are one problem.
        """
        piles = []
        seen: set[str] = set()
        for shape in self.shapes:
            once: dict[str, Problem] = {}
            for problem in filter(self._belongs, shape.problems()):
                name = problem.key if self.config.split == "test" else problem.text("*")
                if name not in seen:
                    once[name] = problem
            seen.update(once)
            order = sorted(once, key=lambda name: derive_seed(self.config.seed, "order", name))
            piles.append([once[name] for name in order])
        for turn in itertools.zip_longest(*piles):
            yield from (problem for problem in turn if problem is not None)

    def _drawn(self) -> Iterator[Problem]:
        """Distinct problems of a large space."""
        seen: set[str] = set()
        for index in itertools.count():
            problem = self._draw(index)
            if problem is not None and problem.key not in seen:
                seen.add(problem.key)
                yield problem

    def _nothing(self) -> PreflightError:
        return PreflightError(
            f"the settings leave no problem in the split {self.config.split!r}",
            place="data set arithmetic",
            remedy="widen operands, or set negative: true",
        )
