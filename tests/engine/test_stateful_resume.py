"""Runs with parts that remember: killed and resumed, they equal the run that was not, bit by bit.

A part with a memory needs one line in ``CASES``; a test says which one is missing.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from commands import Commands
from grpokit.algorithms.sampler_history import History
from grpokit.compose.write import to_yaml
from grpokit.errors import Interrupted
from grpokit.registry.catalog import Catalog
from grpokit.registry.resolve import create
from grpokit.spec.components import AlgorithmSpec
from resume_runs import STEPS, Cut, Outcome, outcome, recipe, run

CASES: dict[str, dict[str, Any]] = {
    # a part, with settings under which it does something in eight steps
    "history": {"metric": "length", "threshold": 0.45, "again_after": 4},
    "easy-drop": {"above": 0.85, "every": 2, "metric": "length"},
    "variance": {"warmup": 6, "top": 2, "metric": "length"},
    "std-filter": {
        "since": 1,
        "start": 3,
        "beta": 0.9,
        "on_bound": "train",
        "max_rounds": 3,
        "ratio": 0.5,
    },
    "staged": {"stages": [{"steps": 4, "where": {"domain": "a"}}, {"where": {"domain": "b"}}]},
    "stages": {
        "stages": [{"from": 3, "max_tokens": 16, "temperature": 1.3}, {"from": 5, "top_k": 9}]
    },
    "dynamic-sampling": {"metric": "contains", "on_bound": "train", "max_rounds": 4},
    "rescue": {},
    "adaptive-filter": {"warmup": 4},
    "adaptive-entropy": {"target": 3.4, "coefficient": 0.01},
    "prolong": {"every": 3, "kl_above": 1e-6, "window": 2},
}
ALGORITHMS: dict[str, dict[str, Any]] = {
    "dapo": {"metric": "contains", "on_bound": "train", "overlong_cache": 4},
    "srpo": {
        "stages": [{"steps": 4, "where": {"domain": "a"}}, {}],
        "metric": "length",
        "threshold": 0.45,
        "again_after": 4,
    },
    "ad-gfpo": {"warmup": 4},
    "prorl": {"every": 3, "on_bound": "train", "max_rounds": 3},
    "prorl-v2": {"every": 3, "on_bound": "train", "max_rounds": 3},
    "polaris": {
        "metric": "length",
        "drop_above": 0.85,
        "stages": [{"from": 4, "temperature": 1.2}],
    },
}


def specs() -> dict[str, AlgorithmSpec]:
    entries = Catalog.load().entries("algorithm")
    return {
        entry.id: entry.spec
        for entry in entries
        if isinstance(entry.spec, AlgorithmSpec) and entry.plugin.name == "grpokit"
    }


def section(name: str) -> dict[str, Any]:
    """The algorithm section of a recipe."""
    if name in ALGORITHMS:
        return {"use": name, "with": ALGORITHMS[name]}
    return {"use": "grpo", "parts": {specs()[name].axis: {"use": name, "with": CASES[name]}}}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def whole_run(model: Path, folder: Path, name: str) -> Outcome:
    return run(recipe(model, folder / "whole", algorithm=section(name)))


@pytest.mark.parametrize("name", [*CASES, *ALGORITHMS])
def test_killed_and_resumed_is_as_if_it_had_not_been(
    tiny_model_folder: Path, tmp_path: Path, name: str
) -> None:
    whole = whole_run(tiny_model_folder, tmp_path, name)
    assert [row["step"] for row in whole.metrics] == list(range(1, STEPS + 1))
    assert any(row.get("grad_norm", 0) > 0 for row in whole.metrics)
    cuts = (Cut(5, "update"), Cut(6, "score"), Cut(8, "generate", Interrupted))
    cut = run(recipe(tiny_model_folder, tmp_path / "cut", algorithm=section(name)), *cuts)
    assert cut == whole


def test_a_process_that_was_killed_too(tiny_model_folder: Path, tmp_path: Path) -> None:
    """The same with a real process and SIGKILL, through the command line."""
    algorithm = {
        "use": "dapo",
        "with": {**ALGORITHMS["dapo"], "max_rounds": 2},
        "parts": {
            "sampler": {"use": "history", "with": CASES["history"]},
            "reset": {"use": "prolong", "with": CASES["prolong"]},
        },
    }
    whole = run(recipe(tiny_model_folder, tmp_path / "whole", algorithm=algorithm))
    written = recipe(tiny_model_folder, tmp_path / "cut", algorithm=algorithm)
    (tmp_path / "r.yaml").write_text(to_yaml(written.model_dump(mode="json", by_alias=True)))
    with Commands(tmp_path) as commands:
        status = commands.run("train", "r.yaml", "--plain", kill=22, where="stage")
        assert status == -signal.SIGKILL, commands.output
        (cut,) = (tmp_path / "cut").iterdir()
        assert 0 < len((cut / "metrics.jsonl").read_text().splitlines()) < STEPS
        assert commands.run("train", "--resume", str(cut), "--plain") == 0, commands.output
    assert outcome(cut) == whole


REMEMBER = (
    "history",
    "easy-drop",
    "variance",
    "std-filter",
    "adaptive-filter",
    "adaptive-entropy",
    "prolong",
)


@pytest.mark.parametrize("name", REMEMBER)
def test_what_is_remembered_is_more_than_nothing(
    tiny_model_folder: Path, tmp_path: Path, name: str
) -> None:
    fresh = create(Catalog.load().find("algorithm", name), CASES[name])
    whole = whole_run(tiny_model_folder, tmp_path, name)
    assert whole.memory[specs()[name].axis] != fresh.state()


def test_a_forgotten_memory_is_noticed(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the equality above would prove nothing."""
    whole = whole_run(tiny_model_folder, tmp_path, "history")
    monkeypatch.setattr(History, "load_state", lambda self, state: None)
    wanted = recipe(tiny_model_folder, tmp_path / "cut", algorithm=section("history"))
    forgetful = run(wanted, Cut(5, "update"))
    assert forgetful.metrics != whole.metrics


def test_every_part_that_remembers_is_in_the_list() -> None:
    missing = []
    for name, spec in specs().items():
        entry = Catalog.load().find("algorithm", name)
        try:
            part = create(entry, CASES.get(name, ALGORITHMS.get(name, {})))
        except ValidationError:
            continue
        remembers = bool(part.state()) if not spec.axis else hasattr(part, "state")
        if remembers and name not in {**CASES, **ALGORITHMS}:
            missing.append(name)
    assert missing == []
