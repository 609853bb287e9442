"""Arithmetic problems: their space, their values, and when two of them are the same problem."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from grpokit.api import derive_seed

__all__ = ["Problem", "Shape", "held_out", "shapes_of"]

Range = tuple[int, int]


@dataclass(frozen=True)
class Problem:
    """``operands[0] operations[0] operands[1] ...`` with the usual precedence."""

    operations: tuple[str, ...]
    operands: tuple[int, ...]

    def products(self) -> list[tuple[int, list[int]]]:
        """The sum as (sign, factors), left to right."""
        found = [(1, [self.operands[0]])]
        for operation, operand in zip(self.operations, self.operands[1:], strict=True):
            if operation == "mul":
                found[-1][1].append(operand)
            else:
                found.append((1 if operation == "add" else -1, [operand]))
        return found

    def partial_sums(self) -> list[int]:
        """The value after each summand; the last one is the answer."""
        values = (sign * math.prod(factors) for sign, factors in self.products())
        return list(itertools.accumulate(values))

    @property
    def answer(self) -> int:
        return self.partial_sums()[-1]

    @property
    def key(self) -> str:
        """Equal for problems that differ only in the order of summands and factors."""
        parts = [f"{sign:+d}*{sorted(factors)}" for sign, factors in self.products()]
        return " ".join(sorted(parts))

    def text(self, times: str) -> str:
        signs = {"add": "+", "sub": "-", "mul": times}
        words = [str(self.operands[0])]
        for operation, operand in zip(self.operations, self.operands[1:], strict=True):
            words += [signs[operation], f"({operand})" if operand < 0 else str(operand)]
        return " ".join(words)


@dataclass(frozen=True)
class Shape:
    """All problems with the same operations: a box of operands, numbered from 0."""

    operations: tuple[str, ...]
    ranges: tuple[Range, ...]

    @property
    def size(self) -> int:
        return math.prod(high - low + 1 for low, high in self.ranges)

    def problem(self, number: int) -> Problem:
        """The problem with this number in ``range(size)``."""
        operands = []
        for low, high in self.ranges:
            number, rest = divmod(number, high - low + 1)
            operands.append(low + rest)
        return Problem(self.operations, tuple(operands))

    def problems(self) -> Iterator[Problem]:
        return (self.problem(number) for number in range(self.size))


def held_out(problem: Problem, share: float) -> bool:
    """Whether a problem belongs to the test split: a hash of the problem and of nothing else.

    So no seed, range, level or order of operands can bring a test problem into training.
    """
    return derive_seed("arithmetic held-out", problem.key) < share * 2**63


def shapes_of(operations: Sequence[str], ranges: Sequence[Range]) -> tuple[Shape, ...]:
    """One shape for each way to fill the gaps between the operands."""
    gaps = itertools.product(operations, repeat=len(ranges) - 1)
    return tuple(Shape(gap, tuple(ranges)) for gap in gaps)
