"""Advantages without torch are those of torch, and the finder names the formula of a run."""

from __future__ import annotations

import random
from functools import partial

import pytest
import torch

from grpokit import algorithms
from grpokit.rescore.advantage import RULES, RuleFinder, centred

TORCH = {
    "(r - group mean) / (sample std + 1e-4)": algorithms.group_zscore,
    "(r - group mean) / (sample std + 1e-6)": partial(algorithms.group_zscore, std_eps=1e-6),
    "(r - group mean) / (population std + 1e-4)": partial(algorithms.group_zscore, std_ddof=0),
    "(r - group mean) / (population std + 1e-6)": partial(
        algorithms.group_zscore, std_ddof=0, std_eps=1e-6
    ),
    "r - group mean": algorithms.group_centred,
    "n / (n - 1) (r - group mean)": algorithms.leave_one_out,
}


def groups(count: int, seed: int = 0) -> list[list[float | None]]:
    lot = random.Random(seed)
    values = [None, 0.0, 0.001, 0.1, 0.3, 1.0]
    found: list[list[float | None]] = [[lot.choice(values) for _ in range(6)] for _ in range(count)]
    return [[0.1 + 0.2, 0.3, 0.3], [None, None, 1.0], [1.0, None, 1.0], *found]


def by_torch(name: str, totals: list[float | None]) -> list[float]:
    valid = torch.tensor([[total is not None for total in totals]])
    known = torch.tensor([[total or 0.0 for total in totals]], dtype=torch.float64)
    return [float(value) for value in TORCH[name](known, valid)[0]]


@pytest.mark.parametrize("name", RULES)
def test_each_formula_is_the_one_of_training(name: str) -> None:
    for totals in groups(100):
        assert RULES[name](totals) == pytest.approx(
            by_torch(name, totals), abs=1e-7
        )  # some divide in float32


@pytest.mark.parametrize("name", RULES)
def test_the_formula_of_a_run_is_found(name: str) -> None:
    finder = RuleFinder()
    for totals in groups(100, seed=1):
        saved = [
            float(torch.tensor(value, dtype=torch.float32)) for value in by_torch(name, totals)
        ]
        finder.add(totals, saved)
    assert finder.found() == name
    assert finder.signs_agree == finder.signs > 0


def test_a_formula_that_is_none_of_them_is_not_guessed() -> None:
    finder = RuleFinder()
    finder.add([0.0, 1.0, 1.0], [-0.5, 0.7, 0.7])
    assert finder.found() is None
    assert RuleFinder().found() is None  # nothing was seen
    finder = RuleFinder()
    finder.add([1.0, 1.0], [5.0, 5.0])  # a group without a signal says nothing
    assert finder.found() is None


def test_centred() -> None:
    assert centred([]) == []
    assert centred([3.0]) == [0.0]
    assert centred([1.0, None, 2.0]) == [-0.5, 0.0, 0.5]
