"""Every named algorithm learns: a tiny model comes to write digits, in seconds.

The same run with one part made wrong does not learn; so the test can fail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from grpokit.algorithms import Composition
from grpokit.algorithms.axes import Clipped
from grpokit.builtins.hooks import grpokit_algorithms
from grpokit.registry.resolve import resolve
from grpokit.spec.flow import Selection
from grpokit_cppo.hooks import grpokit_algorithms as cppo_algorithms
from small_runs import LENGTH, steps

NAMED = {spec.name: spec for spec in (*grpokit_algorithms(), *cppo_algorithms()) if not spec.axis}
STEPS = 28
BY_LOG_PROBS = {"cispo", "gmpo", "gpg", "qrpo", "rest-em", "vespo"}
"""Their gradient does not flow through the ratio."""
SETTINGS: dict[str, dict[str, Any]] = {
    # Nothing is right in the first step under a threshold of 1, and one batch is little to restart from.
    "rest-em": {"threshold": 0.3, "every": 1000},
    # The task is solved before the run ends, and a completion of full length runs into the limit.
    "prorl": {"on_bound": "train", "max_rounds": 2, "every": 5},
    "prorl-v2": {"on_bound": "train", "max_rounds": 2, "stop_coefficient": 1.0},
    # The task ends solved: every group is equal, every row all right.
    "dapo": {"on_bound": "train", "max_rounds": 3},
    "srpo": {"threshold": 2.0},
}
"""Where an algorithm's own settings do not suit a task of graded rewards and small batches."""
LONGER = {"rest-em": 80, "srpo": 52, "ad-gfpo": 36, "gfpo": 36}
"""Steps of what has no baseline and no wrong answers to learn from, or few completions."""
WRONG = {"rest-em": 40, "srpo": 40}
"""Steps of the run with a wrong part; in 16 the others would be far above what it reaches."""
REACHED = {"rest-em": 0.4}
"""Mean reward that is learned where not 0.8: what passes the threshold is all alike to ReST-EM."""
MISSED = {"rest-em": 0.3}
"""Mean reward that a wrong part stays below where not 0.6."""
LENGTHS = {"srpo": 128}
"""Tokens where completions have to end by themselves to teach."""
OWN = {"srpo": {"advantage"}}
"""Parts that are made wrong where a run is slow; the others are shared with quick ones."""


def composition(name: str) -> Composition:
    spec = NAMED[name]
    built = resolve(spec.target)(resolve(spec.config)(**SETTINGS.get(name, {})))
    assert isinstance(built, Composition)
    return built


def learned(
    folder: Path, algorithm: Composition, count: int = STEPS, length: int = LENGTH
) -> tuple[float, float]:
    """Mean reward of the first and of the last two steps."""
    means = [step.reward for step in steps(folder, algorithm, count, length)]
    return sum(means[:2]) / 2, sum(means[-2:]) / 2


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", NAMED)
def test_it_learns(tiny_model_folder: Path, name: str) -> None:
    count, length = LONGER.get(name, STEPS), LENGTHS.get(name, LENGTH)
    first, last = learned(tiny_model_folder, composition(name), count, length)
    assert first < 0.3
    assert last > REACHED.get(name, 0.8)


def like(part: Any, wrong: Callable[..., Any]) -> Any:
    """``wrong`` with what the right part asks for."""
    for name in ("needs_rollout", "needs_inputs", "needs_reference", "needs_entropy", "zero_moves"):
        if hasattr(part, name):
            setattr(wrong, name, getattr(part, name))
    return wrong


def aggregate(part: Any) -> Any:
    """The worst completion counts as the best."""

    def wrong(*args: Any) -> tuple[Tensor, Tensor]:
        totals_PG, valid_PG = part(*args)
        return 1 - totals_PG, valid_PG

    return wrong


def advantage(part: Any) -> Any:
    """The baseline less the reward."""
    return lambda *args: -part(*args)


def select(part: Any) -> Any:
    """Rows with an advantage weigh nothing."""

    def wrong(rollout: Any, scores: Any, advantages: Any) -> Selection:
        right = part(rollout, scores, advantages)
        table_PG = advantages.advantages_PG.tolist()
        weights = tuple(
            w if table_PG[p][g] == 0 else 0.0
            for (p, g), w in zip(right.rows, right.weights, strict=True)
        )
        return replace(right, weights=weights, denominator=max(1, right.denominator))

    return wrong


def ratio(part: Any) -> Any:
    """No gradient."""
    return lambda log_ratio_NT, mask_NT: part(log_ratio_NT, mask_NT).detach()


def clip(part: Any) -> Any:
    """The objective with the wrong sign."""

    def wrong(*args: Any) -> Clipped:
        right = part(*args)
        return Clipped(-right.objective_NT, right.shares)

    return wrong


def mask(_part: Any) -> Any:
    """No token counts."""
    return lambda mask_NT, _: torch.zeros_like(mask_NT)


def correction(_part: Any) -> Any:
    """The weight for sampler and trainer with the wrong sign."""
    return lambda old_NT, _sampler_NT, _mask_NT: -torch.ones_like(old_NT)


def aggregation(part: Any) -> Any:
    """The loss with the wrong sign."""
    return lambda *args: -part(*args)


MUTATIONS = (aggregate, advantage, select, ratio, clip, mask, correction, aggregation)


def mutants() -> list[Any]:
    """Of GRPO every part, of the others those that are not GRPO's, and what has a sign or a mask."""
    common = dict(NAMED["grpo"].parts)
    return [
        pytest.param(name, mutate, id=f"{name}-{mutate.__name__}")
        for name, spec in NAMED.items()
        for mutate in MUTATIONS
        if (
            name == "grpo"
            or mutate in (clip, mask)
            or dict(spec.parts)[mutate.__name__] != common[mutate.__name__]
        )
        and not (mutate is ratio and name in BY_LOG_PROBS)
        and mutate.__name__ in OWN.get(name, {mutate.__name__})
    ]


@pytest.mark.parametrize(("name", "mutate"), mutants())
def test_a_wrong_part_is_noticed(
    tiny_model_folder: Path, name: str, mutate: Callable[[Any], Any]
) -> None:
    right = composition(name)
    part = right.part(mutate.__name__)
    wrong: Composition = right.replace(mutate.__name__, like(part, mutate(part)))
    _, last = learned(tiny_model_folder, wrong, WRONG.get(name, 16), LENGTHS.get(name, LENGTH))
    assert last < MISSED.get(name, 0.6)
