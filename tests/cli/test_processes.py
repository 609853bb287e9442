"""Runs that two processes share, through the real command and real signals."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from dists import install
from grpokit.compose.write import to_yaml
from resume_runs import recipe

GRPO = {"use": "grpo"}
STEPS = 6
FAILING = """
from grpokit.api import RewardSpec, hookimpl

@hookimpl
def grpokit_rewards():
    return [RewardSpec(name="picky", summary="A reward.", target="grpokit_picky.score:score")]
"""
SCORE = """
import os

def score(completion):
    if os.environ.get("RANK") == "1":
        raise ValueError("I do not like this one")
    return float("a" in completion)
"""


FAULTY = """
from grpokit.api import AlgorithmSpec, hookimpl

@hookimpl
def grpokit_algorithms():
    return [AlgorithmSpec(name="odd", axis="regulariser", summary="A part with a fault.",
                          target="grpokit_odd.part:part")]
"""
FAULT = """
import os

def part():
    calls = []

    def regulariser(inputs, ratio_NT):
        calls.append(1)
        if len(calls) == 3 and os.environ.get("RANK") == "1":
            raise ValueError("the third one is too much")
        return None

    return regulariser
"""


def write(
    model: Path, folder: Path, *, algorithm: Any = GRPO, every: int = 2, **sections: Any
) -> Path:
    """A recipe with four questions a step."""
    wanted = recipe(
        model,
        folder / "runs",
        algorithm=algorithm,
        rollout={"prompts": 4, "group": 4, "max_tokens": 12, "shuffle": False},
        train={
            "steps": STEPS,
            "save_every": every,
            "seed": 7,
            "out": str(folder / "runs"),
            "show_every": 0,
        },
        **sections,
    )
    path = folder / "r.yaml"
    path.write_text(to_yaml(wanted.model_dump(mode="json", by_alias=True)))
    return path


@pytest.fixture(scope="module")
def written(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tiny_model_folder, tmp_path_factory.mktemp("processes"))


def start(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "grpokit", "train", *arguments, "--plain"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **(environment or {}), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
    )


def finish(process: subprocess.Popen[str], *, code: int = 0) -> str:
    output = process.communicate(timeout=120)[0]
    assert process.returncode == code, output
    return output


def train(folder: Path, *arguments: str, code: int = 0, **settings: str) -> str:
    return finish(start(folder, *arguments, environment=settings), code=code)


def newest(folder: Path) -> Path:
    return max((folder / "runs").iterdir(), key=lambda path: path.stat().st_mtime_ns)


def metrics(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def weights(run: Path) -> str:
    return hashlib.sha256((run / "final/adapter_model.safetensors").read_bytes()).hexdigest()


def children(process: int) -> list[int]:
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(word) for word in text.split()]


@pytest.fixture(scope="module")
def shared(written: Path) -> Path:
    """The run of two processes."""
    output = train(written.parent, "r.yaml", "--processes", "2")
    assert f"done: {STEPS} steps" in output
    return newest(written.parent)


def until(process: subprocess.Popen[str], words: str) -> Iterator[str]:
    assert process.stdout
    for line in process.stdout:
        yield line
        if words in line:
            return


def test_two_processes_make_the_run_of_one(written: Path, shared: Path) -> None:
    train(written.parent, "r.yaml")
    alone = newest(written.parent)
    assert alone != shared
    ours, theirs = metrics(alone), metrics(shared)
    assert [row["step"] for row in theirs] == list(range(1, STEPS + 1))
    first = (run / "rollouts.jsonl" for run in (alone, shared))
    a, b = ([json.loads(line) for line in path.read_text().splitlines()][:4] for path in first)
    assert a == b, "the first step draws, scores and selects the same"
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.keys() == other.keys()
        for name, value in mine.items():
            assert other[name] == pytest.approx(value, rel=2e-3, abs=2e-4), (mine["step"], name)
    left, right = (load_file(run / "final/adapter_model.safetensors") for run in (alone, shared))
    for name, value in left.items():
        assert (value - right[name]).abs().max() < 2e-4, name
    assert (shared / "logs/process-1.log").is_file()
    assert not list(shared.rglob(".tmp*"))


def test_a_signal_saves_and_the_run_goes_on_exactly(written: Path, shared: Path) -> None:
    """Service managers signal every process, and the one that started the others passes it on."""
    process = start(written.parent, "r.yaml", "--processes", "2")
    list(until(process, "step 3/"))
    for each in (*children(process.pid), process.pid):
        os.kill(each, signal.SIGTERM)
    output = finish(process, code=143)
    run = newest(written.parent)
    assert run != shared
    assert "stopped by SIGTERM" in output
    assert f"grpokit train --resume {run}" in output
    assert 3 <= len(metrics(run)) < STEPS
    train(written.parent, "--resume", str(run))  # the recipe of the run says how many processes
    assert weights(run) == weights(shared)
    assert metrics(run) == metrics(shared)


def test_a_reason_to_stop_ends_them_all_and_saves(tiny_model_folder: Path, tmp_path: Path) -> None:
    """The first process alone watches; the others hear of it."""
    write(
        tiny_model_folder,
        tmp_path,
        every=100,
        rewards=[{"use": "contains", "with": {"text": "never"}}],
    )
    settings = ("--steps", "60", "--set", "train.on_finding=stop", "--set", "rollout.max_tokens=2")
    output = train(tmp_path, "r.yaml", "--processes", "2", *settings, "--skip-reward-check", code=8)
    assert "stopped at step 30 by constant-reward" in output
    assert "another process" not in output
    run = newest(tmp_path)
    assert [path.name for path in (run / "checkpoints").glob("step-*")] == ["step-000030"]
    told = json.loads((run / "diagnosis.json").read_text())
    assert (told["last_step"], told["stop"]) == (30, True)
    assert "constant-reward" in (run / "logs/process-1.log").read_text()


def test_ctrl_c_before_the_processes_have_met(written: Path) -> None:
    process = start(written.parent, "r.yaml", "--processes", "2")
    while len(children(process.pid)) < 2:
        time.sleep(0.02)
    pressed = time.monotonic()
    process.send_signal(signal.SIGINT)
    finish(process, code=130)
    assert time.monotonic() - pressed < 20


def test_a_process_that_is_killed_ends_them_all(written: Path) -> None:
    process = start(written.parent, "r.yaml", "--processes", "2", "--steps", "1000")
    list(until(process, "step 2/"))
    first, second = children(process.pid)
    killed = time.monotonic()
    os.kill(second, signal.SIGKILL)
    output = finish(process, code=137)
    assert time.monotonic() - killed < 30
    assert "process 1 was killed by signal 9" in output
    assert "another process of the run has ended" in output
    assert "Traceback" not in output
    assert not Path(f"/proc/{first}").exists()


def test_no_process_outlives_the_one_that_started_them(written: Path) -> None:
    process = start(written.parent, "r.yaml", "--processes", "2", "--steps", "100000")
    list(until(process, "step 2/"))
    workers = children(process.pid)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{worker}/fd").exists() for worker in workers):
        assert time.monotonic() < deadline, "a worker trains on"
        time.sleep(0.1)
    saved = list((newest(written.parent) / "checkpoints").glob("step-*"))
    assert saved, "what was trained is on the disk"


def test_a_reward_that_fails_on_one_process_ends_them_all(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    """With the message of the one, in the terminal and in the log of the other."""
    folder = tmp_path
    install(folder / "site", "grpokit-picky", FAILING, files={"score.py": SCORE})
    write(
        tiny_model_folder,
        folder,
        rewards=[{"use": "picky"}],
        scoring={"isolate": True, "max_error_rate": 0.0},
    )
    began = time.monotonic()
    output = train(
        folder,
        "r.yaml",
        "--processes",
        "2",
        code=4,
        PYTHONPATH=str(folder / "site"),
    )
    assert time.monotonic() - began < 60
    assert "I do not like this one" in output
    assert "picky" in output
    assert "process 1" not in output or "another process" not in output
    assert "I do not like this one" in (newest(folder) / "logs/process-1.log").read_text()


def test_an_evaluation_that_fails_on_one_process_ends_them_all(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    """Each marks its part of the answers; all of them hear of what one cannot mark."""
    folder = tmp_path
    install(folder / "site", "grpokit-picky", FAILING, files={"score.py": SCORE})
    write(
        tiny_model_folder,
        folder,
        scoring={"isolate": False, "max_error_rate": 0.0},
        eval={
            "dataset": {"use": "arithmetic", "with": {"split": "test"}},
            "rewards": [{"use": "picky"}],
            "limit": 4,
            "every": 1,
        },
    )
    began = time.monotonic()
    options = ("r.yaml", "--processes", "2")
    output = train(folder, *options, code=4, PYTHONPATH=str(folder / "site"))
    assert time.monotonic() - began < 60
    assert "2 of 4 answers could not be marked" in output
    assert "I do not like this one" in output
    assert list((newest(folder) / "checkpoints").glob("step-*")), "the step before it is saved"


def test_a_fault_in_a_loss_on_one_process_ends_them_all_and_keeps_the_steps(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    """The loss is called twice a step in each process: two optimiser steps."""
    folder = tmp_path
    install(folder / "site", "grpokit-odd", FAULTY, files={"part.py": FAULT})
    odd = {**GRPO, "parts": {"regulariser": {"use": "odd/odd"}}}
    write(tiny_model_folder, folder, algorithm=odd, every=100)
    began = time.monotonic()
    output = train(folder, "r.yaml", "--processes", "2", code=1, PYTHONPATH=str(folder / "site"))
    assert time.monotonic() - began < 60
    assert "process 1: ValueError: the third one is too much" in output
    assert "Traceback" not in output
    saved = [path.name for path in (newest(folder) / "checkpoints").glob("step-*")]
    assert saved == ["step-000001"]


def test_other_launchers_are_refused(written: Path) -> None:
    output = train(written.parent, "r.yaml", code=2, WORLD_SIZE="2")
    assert "--processes 2" in output
