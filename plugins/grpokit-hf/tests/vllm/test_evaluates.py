"""`grpokit eval --engine`: the same model answers through vLLM, and the fingerprint says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RECIPE = """
extends: bench-sums
model: {{id: {model}}}
backend: {{with: {{vllm: {{cpu_cache: 1}}}}}}
eval: {{limit: 30, samples: 2, temperature: 1.0}}
"""


def evaluate(folder: Path, model: Path, out: str, *options: str) -> tuple[int, str]:
    found = subprocess.run(
        [
            *(sys.executable, "-m", "grpokit", "eval", str(model), "--recipe", "sums.yaml"),
            *("--out", out, *options),
        ],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    return found.returncode, found.stdout + found.stderr


def summary(folder: Path, out: str) -> dict[str, Any]:
    return dict(json.loads((folder / out / "summary.json").read_text()))


@pytest.fixture(scope="module")
def folder(wide_sums: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both engines have answered."""
    place = tmp_path_factory.mktemp("engines")
    (place / "sums.yaml").write_text(RECIPE.format(model=wide_sums))
    for engine in ("vllm", "transformers"):
        code, text = evaluate(place, wide_sums, engine, "--engine", engine)
        assert code == 0, text
    return place


def test_the_engine_stands_in_the_fingerprint(folder: Path) -> None:
    models = [summary(folder, engine)["models"][0] for engine in ("vllm", "transformers")]
    fingerprints = [model["fingerprint"]["model"] for model in models]
    assert "vllm" in str(fingerprints[0]["rollouts"]["engine"]).lower()
    assert "rollouts" not in fingerprints[1]
    first, second = (model["accuracy"] for model in models)
    assert abs(first - second) < 0.25  # the same model; other draws


def test_another_engine_is_another_exam(folder: Path, wide_sums: Path) -> None:
    options = ("--engine", "transformers", "--against", str(folder / "vllm"))
    code, text = evaluate(folder, wide_sums, "against", *options)
    assert code == 3
    assert "model.rollouts.engine: " in text
