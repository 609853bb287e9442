"""Two gloo processes give the gradient of one with the whole batch, whatever rows each one has."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import parity
from grpokit.spec.recipe import Recipe
from grpokit_trl.backend import TrlBackend
from grpokit_trl.config import TrlConfig

SCRIPT = Path(__file__).with_name("gradient_of.py")
HELPERS = str(Path(parity.__file__).parent)


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    parity.write_fixed(folder)
    recipe = Recipe.model_validate(parity.recipe_data("trl", "grpo", folder))
    backend = TrlBackend(TrlConfig(threads=1, device="cpu"))
    backend.open(recipe, needs_reference=False, needs_entropy=False)
    parity.save(backend, folder / "before")
    new = (folder / "adapter.safetensors").read_bytes()
    (folder / "before" / "policy" / "adapter_model.safetensors").write_bytes(new)
    backend.close()
    return folder


ROWS = ("0.0,0.3,1.1,1.2,3.0", "2.2")
"""In the second case the second process has no row of its own."""


def start(fixed: Path, out: Path, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error::RuntimeWarning", str(SCRIPT), str(fixed), str(out), *ROWS],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": HELPERS, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], out: Path) -> dict[str, Any]:
    said, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors[-3000:]
    assert said == ""  # neither TRL nor transformers nor accelerate
    return {rows: json.loads((out / f"{rows}.json").read_text()) for rows in ROWS}


def free_port() -> str:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return str(door.getsockname()[1])


def test_two_processes_give_the_gradient_of_one(fixed: Path, tmp_path: Path):
    world = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    outs = [tmp_path / f"rank{rank}" for rank in range(2)]
    pair = [
        start(fixed, out, RANK=str(rank), LOCAL_RANK=str(rank), **world, **place)
        for rank, out in enumerate(outs)
    ]
    alone = finish(start(fixed, tmp_path / "alone"), tmp_path / "alone")
    first, second = (finish(process, out) for process, out in zip(pair, outs, strict=True))
    # old, reference and two updates of each row, none of them twice
    assert [alone[rows]["forwards"] for rows in ROWS] == [5 * 4, 4]
    assert [first[rows]["forwards"] for rows in ROWS] == [3 * 4, 4]
    assert [second[rows]["forwards"] for rows in ROWS] == [2 * 4, 0]
    for rows in ROWS:
        assert_same(alone[rows], first[rows], second[rows])
        saved = tmp_path / "rank0" / rows
        assert (saved / "policy" / "adapter_model.safetensors").is_file()
        assert (saved / "state" / "optimizer.safetensors").is_file()
        assert not (tmp_path / "rank1" / rows).exists()  # one process writes
    # an error on one is an error on both, and nobody waits for the other
    assert (tmp_path / "rank1" / "error.txt").read_text() == "no memory left; buy some"
    told = (tmp_path / "rank0" / "error.txt").read_text()
    assert told == "process 1: no memory left; buy some"


def assert_same(alone: dict[str, Any], first: dict[str, Any], second: dict[str, Any]) -> None:
    assert len(alone["gradients"]) == len(first["gradients"]) == 2
    for ours, theirs in zip(alone["gradients"], first["gradients"], strict=True):
        scale = max(abs(x) for values in ours.values() for x in values)
        assert scale > 1e-3
        assert parity.gap(ours, theirs) <= 1e-5 * scale
    assert parity.gap(first["gradients"], second["gradients"]) == 0
    assert parity.gap(first["weights"], second["weights"]) == 0
    assert parity.gap(first["weights"], alone["weights"]) <= 1e-5
    assert first["metrics"] == second["metrics"]
    assert first["metrics"] == pytest.approx(alone["metrics"], rel=1e-5)
