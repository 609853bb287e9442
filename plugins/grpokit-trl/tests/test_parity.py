"""The same step on the same completions: backend hf and backend trl agree, on each TRL that is supported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import parity

TOLERANCE = {
    "prompt_ids": 0.0,
    "advantages": 0.0,
    "selected": 0.0,
    "optimizer_steps": 0.0,
    "lr": 0.0,
    "logprobs": 5e-5,  # up to 8 in size, and after one update; measured 2.2e-5
    "loss": 5e-6,  # a sum of terms of both signs; measured 2.2e-6
    "grad_norm": 1e-5,
    "weights": 5e-6,
}
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, the adapter and the completions that everybody is measured on."""
    folder = tmp_path_factory.mktemp("parity")
    parity.write_fixed(folder)
    return folder


@pytest.fixture(scope="module")
def ours(fixed: Path) -> dict[str, Any]:
    return {name: parity.measure("hf", name, fixed) for name in parity.ALGORITHMS}


def assert_equal(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    found = parity.compare(ours, theirs)
    far = {name: found[name] for name, most in TOLERANCE.items() if found[name] > most}
    assert not far


@pytest.mark.parametrize("algorithm", parity.ALGORITHMS)
def test_one_step_is_the_same_as_on_hf(fixed: Path, ours: dict[str, Any], algorithm: str):
    theirs = parity.measure("trl", algorithm, fixed)
    assert_equal(ours[algorithm], theirs)
    shared = set(ours[algorithm]["metrics"])
    assert set(theirs["metrics"]) == shared
    for name in shared:
        assert theirs["metrics"][name] == pytest.approx(
            ours[algorithm]["metrics"][name], rel=1e-4, abs=1e-5
        )


def test_the_step_is_one_that_could_differ(ours: dict[str, Any]):
    """Old log-probs differ from new ones, something is clipped and the gradient is cut."""
    for name, found in ours.items():
        assert found["metrics"]["clip_low"] > 0, name
        assert found["metrics"]["kl_old"] > 0, name
        assert found["grad_norm"] > 0.5, name
    assert len(ours["cppo"]["selected"]) == 8
    assert len(ours["dapo"]["selected"]) == 12
    assert "reference" in next(iter(ours["grpo"]["logprobs"].values()))[0]


def test_full_fine_tuning_with_a_reference_is_the_same(fixed: Path):
    changes = {
        "model": {"lora": None},
        "optim": {"minibatches": 2, "iterations": 1, "micro_batch": 5},
    }
    assert_equal(
        parity.measure("hf", "cppo", fixed, **changes),
        parity.measure("trl", "cppo", fixed, **changes),
    )


def test_a_temperature_reaches_the_log_probs(fixed: Path):
    changes = {"rollout": {"temperature": 0.7}}
    assert_equal(
        parity.measure("hf", "gspo", fixed, **changes),
        parity.measure("trl", "gspo", fixed, **changes),
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"gradient_checkpointing": True}},
        {"backend": {"with": {"threads": 1, "device": "cpu", "args": {"pad_to_multiple_of": 16}}}},
    ],
)
def test_what_saves_memory_or_time_changes_no_number(
    fixed: Path, ours: dict[str, Any], changes: dict[str, Any]
):
    assert_equal(ours["grpo"], parity.measure("trl", "grpo", fixed, **changes))


@pytest.mark.parametrize("version", ["1.15", "1.16"])
def test_other_versions_of_trl_agree(fixed: Path, ours: dict[str, Any], version: str):
    theirs = on_version(version, fixed, "grpo", "dapo")
    for name in ("grpo", "dapo"):
        assert_equal(ours[name], theirs[name])


BONUS = {"use": "entropy-bonus", "with": {"coefficient": 0.5}}


@pytest.mark.parametrize("version", ["", "1.16"])
def test_an_entropy_bonus_has_its_gradient(fixed: Path, ours: dict[str, Any], version: str):
    """TRL 1.14 gives it only where it is asked for; from 1.15 on a kernel computes it."""
    changes = {"algorithm": {"use": "grpo", "with": {}, "parts": {"regulariser": BONUS}}}
    mine = parity.measure("hf", "grpo", fixed, **changes)
    theirs = (
        on_version(version, fixed, "grpo", changes=changes)["grpo"]
        if version
        else parity.measure("trl", "grpo", fixed, **changes)
    )
    assert_equal(mine, theirs)
    assert mine["metrics"]["entropy"] == pytest.approx(theirs["metrics"]["entropy"], rel=1e-5)
    assert abs(mine["grad_norm"] - ours["grpo"]["grad_norm"]) > 0.01


def on_version(version: str, fixed: Path, *names: str, changes: Any = None) -> dict[str, Any]:
    """``measure`` of the backend trl in a process with this TRL."""
    folder = ROOT / ".venv" / f"trl-{version}"
    if not folder.is_dir():
        pytest.skip(f"TRL {version} is not in {folder}; `make test` puts it there")
    words = ["--folder", str(fixed), "--changes", json.dumps(changes or {})]
    done = subprocess.run(
        [sys.executable, parity.__file__, "trl", *names, *words],
        env={**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("\n") == 1  # TRL prints nothing
    found: dict[str, Any] = json.loads(done.stdout)
    return found
