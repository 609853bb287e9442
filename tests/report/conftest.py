"""A real run of the smallest model with its evaluations, the page of it, and a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browsers import chromium
from grpokit.cli.main import main

RECIPE = r"""
grpokit: 1
summary: Sums of small numbers.
model: {id: tiny-sums, lora: null, dtype: float32}
dataset: {use: arithmetic, with: {split: train, operands: [[0, 9], [0, 9]], held_out: 0.5}}
rewards:
  - {use: number, weight: 0.9, with: {from: [whole]}}
  - {use: format, weight: 0.1, with: {regex: '^\d\d?$'}}
rollout: {prompts: 3, group: 4, max_tokens: 4}
optim: {lr: 0.003, minibatches: 2, schedule: linear}
backend: {use: hf, with: {device: cpu, threads: 1}}
train: {steps: 12, seed: 1, save_every: 6}
eval:
  dataset: {use: arithmetic, with: {split: test, operands: [[0, 9], [0, 9]], held_out: 0.5}}
  correct: number
  limit: 9
  every: 4
"""


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run as ``grpokit train``, ``eval --base`` and ``runs report`` leave it. Do not write into it."""
    folder = tmp_path_factory.mktemp("reported")
    (folder / "sums.yaml").write_text(RECIPE, "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for argv in (
            ["train", "sums.yaml", "--plain", "--skip-reward-check"],
            ["eval", "last", "--base"],
            ["runs", "report", "last"],
        ):
            assert main(argv) == 0
    [run] = (folder / "runs").iterdir()
    return run


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Of one module: playwright keeps an event loop, which other tests must not find running."""
    with chromium() as found:
        yield found
