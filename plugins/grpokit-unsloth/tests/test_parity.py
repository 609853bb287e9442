"""The same step under `hf` and under `unsloth`: one fixed model, completions, rewards; four algorithms.

Each backend is measured in its own process, on one thread. On a CPU both were equal bit by bit when this
was written (torch 2.13, transformers 5.17, Unsloth 2026.10.9). That is not asked for: a product may be
summed in another order where its numbers lie elsewhere in memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import parity

TOLERANCE = {
    "logprobs": 2e-5,  # 40 roundings of a number between 4 and 8, in float32
    "loss": 1e-6,
    "grad_norm": 1e-5,  # relative
    "weights": 5e-6,  # AdamW divides by 1e-4 at least, so a step multiplies a gradient's rounding by 50
}
DIFFERENT = 1e-4
"""By how much other algorithms are farther apart at least."""
EXACT = ("prompt_ids", "advantages", "selected", "lr", "optimizer_steps")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return parity.prepare(tmp_path_factory.mktemp("parity"))


@pytest.fixture(scope="module")
def hf(folder: Path) -> dict[str, Any]:
    return parity.run("hf", list(parity.ALGORITHMS), folder)


@pytest.fixture(scope="module")
def unsloth(folder: Path) -> dict[str, Any]:
    return parity.run("unsloth", list(parity.ALGORITHMS), folder)


@pytest.mark.parametrize("algorithm", list(parity.ALGORITHMS))
def test_a_step_is_the_same(algorithm: str, hf: dict[str, Any], unsloth: dict[str, Any]) -> None:
    found = parity.compare(hf[algorithm], unsloth[algorithm])
    assert {name: found[name] for name in EXACT} == dict.fromkeys(EXACT, 0.0)
    assert set(found) == {*EXACT, *TOLERANCE}
    assert {name: found[name] for name, most in TOLERANCE.items() if found[name] > most} == {}


def test_the_comparison_tells_algorithms_apart(hf: dict[str, Any], unsloth: dict[str, Any]) -> None:
    """Else the numbers above would prove nothing."""
    names = list(parity.ALGORITHMS)
    for one, other in zip(names, [*names[1:], names[0]], strict=True):
        assert parity.gap(hf[one]["weights"], unsloth[other]["weights"]) > DIFFERENT
        assert abs(hf[one]["loss"] - unsloth[other]["loss"]) > DIFFERENT
    assert len(unsloth["cppo"]["selected"]) < len(unsloth["grpo"]["selected"])
