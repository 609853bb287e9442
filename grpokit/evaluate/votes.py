"""Several answers to one question: maj@k, the answer that most of k agree on.

A vote goes to the answer that most of the k give; where several have equally many, to the one that came first.
Answers that cannot be read have no vote and cannot win. maj@k is the chance that the winner is right, over all
ways to draw k of the n answers and to put them in order: so each of t tied answers is the first in 1 / t of all
orders, and nothing depends on the order in which the answers happened to be drawn. maj@1 is the accuracy, and where
every answer can be read so is maj@2: two that differ are a tie.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import comb

from grpokit.spec.seeds import derive_seed

__all__ = ["DRAWS", "Ballot", "ballot_of", "majority_at_k"]

COST = 200_000
"""Terms up to which all draws are counted; above it some are drawn."""
DRAWS = 1000


@dataclass(frozen=True, kw_only=True)
class Ballot:
    """The answers to one question, as a vote sees them.

    Attributes:
        right: how many gave each right answer, in falling order; ``wrong`` likewise.
        silent: answers that could not be read.
        disputed: answers that were marked right in one completion and wrong in another.
    """

    right: tuple[int, ...]
    wrong: tuple[int, ...]
    silent: int = 0
    disputed: int = 0

    @property
    def n(self) -> int:
        return sum(self.right) + sum(self.wrong) + self.silent

    @property
    def tied(self) -> bool:
        """Whether the vote of all answers has no single winner."""
        top = max(self.right + self.wrong, default=0)
        return (self.right + self.wrong).count(top) > 1


def ballot_of(answers: Sequence[tuple[str | None, bool]]) -> Ballot:
    """From what was read in each completion, and whether that completion is right.

    The verdict of an answer is that of the first completion which gives it.
    """
    votes = Counter(text for text, _ in answers if text is not None)
    verdicts: dict[str, bool] = {}
    disputed = set()
    for text, right in answers:
        if text is not None and verdicts.setdefault(text, right) != right:
            disputed.add(text)
    sides: Mapping[bool, list[int]] = {True: [], False: []}
    for text, count in votes.items():
        sides[verdicts[text]].append(count)
    return Ballot(
        right=tuple(sorted(sides[True], reverse=True)),
        wrong=tuple(sorted(sides[False], reverse=True)),
        silent=len(answers) - votes.total(),
        disputed=len(disputed),
    )


def majority_at_k(ballot: Ballot, k: int) -> tuple[float, bool]:
    """maj@k of one question, and whether all draws were counted.

    Of very many answers 1000 draws of one fixed seed stand for all.

    Raises:
        ValueError: k is not one of 1 to n.
    """
    if not 1 <= k <= ballot.n:
        raise ValueError(f"maj@{k} of {ballot.n} answers")
    return _majority(ballot.right, ballot.wrong, ballot.silent, k)


@lru_cache(maxsize=4096)
def _majority(
    right: tuple[int, ...], wrong: tuple[int, ...], silent: int, k: int
) -> tuple[float, bool]:
    if k == sum(right) + sum(wrong) + silent:
        return _winner(right, wrong), True
    most = max(right + wrong, default=0)
    if sum(k * (k // top + 1) * (sum(right + wrong) + silent) for top in range(1, most + 1)) > COST:
        return _drawn(right, wrong, silent, k), False
    return float(_counted(right, wrong, silent, k)), True


def _winner(right: Sequence[int], wrong: Sequence[int]) -> float:
    """The chance that the winner of one vote is right; 0 where nobody has a vote."""
    top = max((*right, *wrong), default=0)
    good, bad = list(right).count(top), list(wrong).count(top)
    return good / (good + bad) if top else 0.0


def _counted(right: Sequence[int], wrong: Sequence[int], silent: int, k: int) -> Fraction:
    """Over all draws: for each number of votes that wins, in how many of them t answers have it, r of them right."""
    total = Fraction(0)
    for top in range(1, max((*right, *wrong), default=0) + 1):
        # (answers drawn, right ones with `top` votes, wrong ones) -> ways to draw them
        ways: dict[tuple[int, int, int], int] = {(0, 0, 0): 1}
        for count, good in [*((c, 1) for c in right), *((c, 0) for c in wrong)]:
            ways = _with(ways, count, top, good, k)
        for (drawn, good, bad), number in ways.items():
            rest = k - drawn
            if good and rest <= silent:
                total += Fraction(good, good + bad) * number * comb(silent, rest)
    return total / comb(sum(right) + sum(wrong) + silent, k)


def _with(
    ways: Mapping[tuple[int, int, int], int], count: int, top: int, good: int, k: int
) -> dict[tuple[int, int, int], int]:
    """The ways after one answer more, which ``count`` completions give and at most ``top`` may in a draw."""
    after: dict[tuple[int, int, int], int] = {}
    for (drawn, rights, wrongs), number in ways.items():
        for votes in range(min(count, top, k - drawn) + 1):
            won = votes == top
            key = (drawn + votes, rights + (won and good), wrongs + (won and 1 - good))
            after[key] = after.get(key, 0) + number * comb(count, votes)
    return after


def _drawn(right: Sequence[int], wrong: Sequence[int], silent: int, k: int) -> float:
    names = [*range(1, len(right) + 1), *(-each for each in range(1, len(wrong) + 1))]
    counts = [*right, *wrong]
    source = random.Random(derive_seed(0, "majority", k))  # noqa: S311  (no secret)
    total = 0.0
    for _ in range(DRAWS):
        votes = Counter(source.sample([*names, 0], k, counts=[*counts, silent]))
        del votes[0]
        total += _winner(
            [count for name, count in votes.items() if name > 0],
            [count for name, count in votes.items() if name < 0],
        )
    return total / DRAWS
