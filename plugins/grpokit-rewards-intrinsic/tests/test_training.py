"""Each recipe of the plugin trains by the command, on a tiny model; and what is refused without one."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commands import Commands
from tiny_model import write_tiny_model

RECIPES = {
    "intuitor": "self-certainty",
    "rlpr": "reference-probability",
    "rlcr": "brier",
    "ttrl": "majority-vote",
}
SMALL = {
    "model": {"id": "tiny", "dtype": "float32"},
    "prompt": {"system": "x", "examples": []},
    "rollout": {"prompts": 2, "group": 4, "max_tokens": 8},
    "backend": {"use": "hf", "with": {"threads": 1, "device": "cpu"}},
    "optim": {"warmup": 0.0},
    "eval": None,
}


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    folder = tmp_path_factory.mktemp("training")
    write_tiny_model(folder / "tiny")
    with Commands(folder) as found:
        yield found


def train(commands: Commands, name: str, recipe: str, *more: str, **sections: Any) -> Path:
    data = {
        "grpokit": 1,
        "extends": f"rewards-intrinsic/{recipe}",
        **SMALL,
        "train": {"steps": 2, "save_every": 2, "out": name},
        **sections,
    }
    (commands.folder / f"{name}.yaml").write_text(json.dumps(data))
    assert commands.run("train", f"{name}.yaml", "--plain", *more) == 0, commands.output
    (run,) = (commands.folder / name).iterdir()
    return run


def steps_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def runs(commands: Commands) -> dict[str, tuple[Path, str]]:
    """Recipe -> its run of two steps, and what the command said."""
    return {
        recipe: (train(commands, recipe, recipe, "--skip-reward-check"), commands.output)
        for recipe in RECIPES
    }


@pytest.mark.parametrize(("recipe", "reward"), RECIPES.items())
def test_every_recipe_trains(runs, recipe, reward):
    run, output = runs[recipe]
    for line in steps_of(run):
        assert line["failures"] == 0
        assert math.isfinite(line.get(f"rewards/{reward}/mean", 0.0))
        assert ("measure" in line["seconds"]) is (recipe in ("intuitor", "rlpr"))
    assert ("looked at" in output) is (recipe in ("intuitor", "ttrl"))


def test_certainty_differs_from_completion_to_completion(runs):
    run, _ = runs["intuitor"]
    for line in steps_of(run):
        assert line["rewards/self-certainty/mean"] > 0
        assert line["rewards/self-certainty/std"] > 0


def test_an_interrupted_run_goes_on_with_the_same_rewards(commands, runs):
    """What is measured depends on the step alone, so that a resumed run is the uninterrupted one."""
    short = {"steps": 1, "save_every": 1, "out": "part"}
    part = train(commands, "part", "intuitor", "--skip-reward-check", train=short)
    assert commands.run("train", "--resume", str(part), "--steps", "2", "--plain") == 0
    for one, other in zip(steps_of(runs["intuitor"][0]), steps_of(part), strict=True):
        assert {k: v for k, v in one.items() if k != "seconds"} == {
            k: v for k, v in other.items() if k != "seconds"
        }


def test_an_evaluation_measures_too(commands):
    held_out = {
        "dataset": {"use": "arithmetic", "with": {"split": "test"}},
        "correct": "self-certainty",
        "threshold": 0.1,
        "limit": 4,
        "max_tokens": 4,
        "every": 1,
    }
    short = {"steps": 1, "save_every": 1, "out": "evaluated"}
    run = train(
        *(commands, "evaluated", "intuitor", "--skip-reward-check"), eval=held_out, train=short
    )
    (line,) = [json.loads(line) for line in (run / "evals.jsonl").read_text().splitlines()]
    assert line["accuracy"] == 1.0
    assert line["reward/self-certainty"] > 0.1
    assert commands.run("eval", str(run), "--json") == 0, commands.output
    assert "self-certainty" in commands.output
    assert commands.run("plan", "evaluated.yaml", "--probe") == 0, commands.output
    assert "self-certainty" in commands.output


REFUSED = [
    ("rewards", "try", "rewards-intrinsic/self-certainty", "--completion", "x"),
    ("export", "reward", "rewards-intrinsic/self-certainty", "--to", "trl"),
]


@pytest.mark.parametrize("argv", REFUSED)
def test_without_a_model_it_says_so(commands, argv):
    assert commands.run(*argv) != 0
    words = " ".join(commands.output.split())
    assert "`rewards-intrinsic/self-certainty` needs what the policy says" in words
    assert "Traceback" not in words


def test_saved_rollouts_are_not_scored_with_it(commands, runs):
    run, _ = runs["ttrl"]
    assert commands.run("runs", "rescore", str(run), "--reward", "rewards-intrinsic/self-certainty")
    words = " ".join(commands.output.split())
    assert "runs rescore, of texts that were saved" in words
    assert "needs what the policy says" in words
    assert not [file for file in run.rglob("*") if "rescore" in file.name and file.is_file()]


def test_a_plan_says_what_it_did_not_try(commands, runs):
    assert commands.run("plan", "rlpr.yaml") == 0, commands.output
    words = " ".join(commands.output.split())
    assert "P214" in words
    assert "not tried: reference-probability, for want of the policy" in words


def test_a_backend_that_does_not_measure_is_refused_in_plan(commands):
    assert commands.run("plan", "rewards-intrinsic/rlpr", "--set", "backend.use=trl") == 2
    words = " ".join(commands.output.split())
    assert "C510" in words
    assert "needs `continuations`, which the backend `trl/trl` does not provide" in words
