"""`grpokit bench step`: one small real measurement, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

STEP = ("--dtype", "float32", "--prompt", "12", "--completion", "4", "--group", "2")
SMALL = ("--rounds", "1", "--threads", "1", "--device", "cpu", "--against", "grpokit")


def bench(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "grpokit", "bench", "step", *options, "--out", "out"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


def test_a_step_is_measured_once(tmp_path: Path, tiny_model_folder: Path) -> None:
    asked = (*STEP, *SMALL, "--model", str(tiny_model_folder))
    done = bench(tmp_path, *asked)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("float32, prompt 12, 2 x 4 tokens, all train\n")
    assert done.stderr.startswith("1/1 grpokit: float32-p12-c4-g2-k1: done in")
    out = tmp_path / "out"
    data = json.loads((out / "results.json").read_text())
    (cell,) = data["cells"]
    (ours,) = cell["contestants"]
    assert not ours["failure"]
    assert ours["floor_ratio"] > 0
    assert ours["memory"] > ours["memory_loaded"] - 2**20
    assert 0 < cell["planned_memory"]["peak"] < ours["memory"]
    assert ours["versions"].keys() == {"python", "torch", "transformers", "peft"}
    assert (out / "table.md").read_text().startswith("| cell | contestant |")
    again = bench(tmp_path, *asked, "--json")
    assert again.stderr == "1/1 grpokit: float32-p12-c4-g2-k1: was there\n"
    assert json.loads(again.stdout) == data


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--against", "grpokitt"), 3, "did you mean grpokit?"),
        (("--group", "0"), 2, "'0' is no number from 1 on"),
        (("--keep", "1.5"), 2, "'1.5' is no share above 0 and up to 1"),
        (("--dtype", "float16"), 2, "'float16' is none of float32, bfloat16"),
        (("--trl", "."), 3, "the folder holds no TRL"),
        (("--model", "./nowhere"), 3, "there is no model folder './nowhere'"),
    ],
)
def test_what_is_refused(tmp_path: Path, options: tuple[str, ...], code: int, words: str) -> None:
    done = bench(tmp_path, *options)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
