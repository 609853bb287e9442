"""A real run whose completions come from vLLM: it learns, can be stopped, and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

STEPS = 60
STOP = 20

RECIPE = """
extends: bench-sums
model: {{id: {model}}}
backend: {{with: {{rollouts: vllm, vllm: {{cpu_cache: 1}}}}}}
train: {{steps: {steps}, save_every: {steps}}}
eval: {{limit: 50}}
"""


def command(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "grpokit", *arguments],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def hosts() -> set[int]:
    """Processes of vLLM on this machine."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"grpokit_hf.vllm.host" in path.read_bytes():
                found.add(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.fixture(scope="module")
def trained(wide_sums: Path, tmp_path_factory) -> Path:
    """A run that SIGTERM stopped after some steps and that was then taken to its end."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "sums.yaml").write_text(RECIPE.format(model=wide_sums, steps=STEPS))
    before = hosts()
    shown = []
    with command("train", "sums.yaml", cwd=folder) as run:
        assert run.stdout is not None
        for line in run.stdout:
            shown.append(line)
            if line.startswith(f"step {STOP}/"):
                run.send_signal(signal.SIGTERM)
    assert run.returncode == 128 + signal.SIGTERM, "".join(shown)
    assert hosts() <= before
    (out,) = (folder / "runs").iterdir()
    with command("train", "--resume", str(out), cwd=folder) as run:
        assert run.stdout is not None
        text = run.stdout.read()
    assert run.returncode == 0, text
    assert hosts() <= before
    assert "vLLM" in "".join(shown)  # the note that a resumed run is not bit-exact
    return out


def test_the_run_learns(trained: Path) -> None:
    """0.17 -> 0.30 with one seed; transformers as the sampler gives the same."""
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    rewards = [line["reward"] for line in lines if "reward" in line]
    assert len(rewards) == STEPS
    first, last = sum(rewards[:10]) / 10, sum(rewards[-10:]) / 10
    assert last > first + 0.05
