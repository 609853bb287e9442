"""Each fault ends a smoke run at its stage, with its name, a remedy and its exit code."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands import Commands
from dists import install

HOOKS = """
from grpokit.api import AlgorithmSpec, RewardSpec, hookimpl

@hookimpl
def grpokit_rewards():
    names = ("same", "silent", "raises", "fragile")
    return [
        RewardSpec(name=name, summary="A reward.", target=f"grpokit_faulty.rewards:{name}", range=None)
        for name in names
    ]

@hookimpl
def grpokit_algorithms():
    parts = {"nan": "regulariser", "forgetful": "regulariser", "level": "advantage", "deaf": "clip"}
    return [
        AlgorithmSpec(name=name, summary="A part.", target=f"grpokit_faulty.parts:{name}", axis=axis)
        for name, axis in parts.items()
    ]
"""
REWARDS = """
def same(completion):
    return 0.25

def silent(completion):
    return None

def raises(completion):
    raise ZeroDivisionError("no luck")

def fragile(completion):
    if "answer" not in completion:
        raise LookupError("no answer in it")
    return 1.0
"""
PARTS = """
import torch
from grpokit.algorithms.axes import Clipped

def nan():
    return lambda inputs, ratio_NT: inputs.logprobs_NT * float("nan")

def forgetful():
    return lambda inputs, ratio_NT: inputs.logprobs_NT * torch.rand(())

def level():
    return lambda totals_PG, valid_PG: torch.zeros_like(totals_PG)

def deaf():
    def clip(ratio_NT, advantages_N1, inputs):
        zero_NT = ratio_NT * 0.0
        return Clipped(zero_NT, {})
    return clip
"""


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    folder = tmp_path_factory.mktemp("faulty")
    files = {"rewards.py": REWARDS, "parts.py": PARTS}
    install(folder / "site", "grpokit-faulty", HOOKS, files=files)
    paths = [str(folder / "site"), os.environ.get("PYTHONPATH", "")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        with Commands(folder, "grpokit.smoke") as found:
            yield found


def smoke(commands: Commands, tmp_path: Path, *changes: str) -> int:
    given = [part for change in changes for part in ("--set", change)]
    out = tmp_path / "kept"
    return commands.run("train", "quickstart", "--smoke", "--smoke-out", str(out), *given)


FAULTS = {
    "a constant reward": (
        "rewards=[{use: faulty/same}]",
        (4, "train", "same gives 0.25 to each of 32 completions", "grpokit rewards"),
    ),
    "a reward without a score": (
        "rewards=[{use: faulty/silent}]",
        (4, "train", "silent has no score for any of 32 completions", "grpokit rewards"),
    ),
    "a reward that raises": (
        "rewards=[{use: faulty/raises}]",
        (3, "plan", "the reward raises of faulty", "no luck"),
    ),
    "a reward that raises on random text": (
        "rewards=[{use: faulty/fragile}]",
        (4, "train", "fragile", "no answer in it"),
    ),
    "a loss that is no number": (
        "algorithm.parts={regulariser: {use: faulty/nan}}",
        (5, "train", "regulariser faulty/nan", "logarithm"),
    ),
    "advantages that are all 0": (
        "algorithm.parts={advantage: {use: faulty/level}}",
        (3, "train", "advantage faulty/level gives none", "rollouts.jsonl"),
    ),
    "a clip without a gradient": (
        "algorithm.parts={clip: {use: faulty/deaf}}",
        (3, "train", "clip faulty/deaf gives none", "rollouts.jsonl"),
    ),
    "random numbers of nobody's seed": (
        "algorithm.parts={regulariser: {use: faulty/forgetful}}",
        (6, "resume", "step 2 ends with other weights", "derive_seed"),
    ),
    "data that is not there": (
        "dataset={use: jsonl, with: {path: nowhere.jsonl}}",
        (3, "plan", "nowhere.jsonl: there is no such file", "dataset.with.path"),
    ),
}


@pytest.mark.parametrize(("change", "expected"), FAULTS.values(), ids=FAULTS)
def test_fails_by_name(
    commands: Commands, tmp_path: Path, change: str, expected: tuple[int, str, str, str]
) -> None:
    code, stage, fact, remedy = expected
    extra = ["eval.correct=null"] if change.startswith("rewards") else []
    assert smoke(commands, tmp_path, change, *extra) == code, commands.output
    said = " ".join(commands.output.split())
    assert re.findall(r"^✗ (\w+)", commands.output, re.MULTILINE) == [stage]
    assert fact in said
    assert remedy in said
    assert "Traceback" not in said
    assert "resume with" not in said
    assert f"kept for you to look at: {tmp_path / 'kept'}" in said
    assert (tmp_path / "kept" / "smoke.yaml").is_file()


def test_options_that_contradict_it_are_refused(commands: Commands, tmp_path: Path) -> None:
    code = commands.run("train", "quickstart", "--smoke", "--steps", "3", "--processes", "2")
    assert code == 2
    assert "--smoke and --steps, --processes exclude each other" in commands.output


def test_a_folder_that_is_taken_is_left_alone(commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "mine").write_text("mine")
    assert smoke(commands, tmp_path) == 6
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["mine"]
