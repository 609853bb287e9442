"""Every named algorithm learns: a tiny model comes to write digits, in seconds.

The same run with a wrong sign, or trained on no token, does not learn; so the test can fail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from grpokit.algorithms import Composition
from grpokit.algorithms.axes import Clipped
from grpokit.builtins.hooks import grpokit_algorithms
from grpokit.registry.resolve import resolve
from small_runs import steps

NAMED = {spec.name: spec for spec in grpokit_algorithms() if not spec.axis}
STEPS = 24


def composition(name: str) -> Composition:
    spec = NAMED[name]
    built = resolve(spec.target)(resolve(spec.config)())
    assert isinstance(built, Composition)
    return built


def learned(folder: Path, algorithm: Composition, count: int = STEPS) -> tuple[float, float]:
    """Mean reward of the first and of the last two steps."""
    means = [step.reward for step in steps(folder, algorithm, count)]
    return sum(means[:2]) / 2, sum(means[-2:]) / 2


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", NAMED)
def test_it_learns(tiny_model_folder: Path, name: str) -> None:
    first, last = learned(tiny_model_folder, composition(name))
    assert first < 0.3
    assert last > 0.9


def upside_down(algorithm: Composition) -> Composition:
    """The objective with the wrong sign."""
    clip = algorithm.clip

    def wrong(*args: object) -> Clipped:
        right = clip(*args)  # type: ignore[arg-type]
        return Clipped(-right.objective_NT, right.shares)

    return replace(algorithm, clip=wrong)


def masked_out(algorithm: Composition) -> Composition:
    """No token but the last counts."""

    def last_only(mask_NT: torch.Tensor, _truncated_N: torch.Tensor) -> torch.Tensor:
        after_NT = mask_NT.flip(-1).cumsum(-1).flip(-1)
        return mask_NT * (after_NT == 1)

    return replace(algorithm, mask=last_only)


@pytest.mark.parametrize("spoil", [upside_down, masked_out])
@pytest.mark.parametrize("name", ["grpo", "gspo"])
def test_a_wrong_sign_or_mask_is_noticed(
    tiny_model_folder: Path, name: str, spoil: Callable[[Composition], Composition]
) -> None:
    """The whole ones are above 0.9 after these steps already."""
    _, right = learned(tiny_model_folder, composition(name), 16)
    _, wrong = learned(tiny_model_folder, spoil(composition(name)), 16)
    assert right > 0.9
    assert wrong < 0.6
