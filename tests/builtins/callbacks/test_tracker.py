"""What trackers have in common, without any of their packages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from grpokit.api import Completion, Recipe, StepRecord
from grpokit.builtins.callbacks.offline import log_records
from grpokit.builtins.callbacks.tracker import (
    Note,
    Tracker,
    TrackerConfig,
    flat,
    numbers_of,
    settings_of,
)
from grpokit.builtins.callbacks.wandb import WandbConfig, preflight
from grpokit.compose.load import load_recipe
from grpokit.compose.plan import make_plan, raise_errors
from grpokit.errors import PreflightError
from grpokit.registry.catalog import Catalog

BARE: dict[str, Any] = {
    "grpokit": 1,
    "model": {"id": "m"},
    "dataset": {"use": "inline"},
    "rewards": [
        {
            "use": "judge",
            "with": {
                "api_key": "sk-1",
                "key_env": "MY_KEY",
                "url": "https://me:pw@host/v1",
                "max_tokens": 5,
                "headers": {"Authorization": "Bearer x"},
            },
        }
    ],
}


def recipe(**sections: Any) -> Recipe:
    return Recipe.model_validate_json(json.dumps(BARE | sections))


def record(step: int, **metrics: float) -> StepRecord:
    return StepRecord(step=step, metrics={"reward": 0.5, **metrics}, seconds={"total": 1.0})


class Kept(Tracker):
    """Keeps what it is sent; ``has`` is what the tracker had when the run was killed."""

    name = "kept-a/b"

    def __init__(self, has: int | None = None, **settings: int) -> None:
        super().__init__(TrackerConfig(**settings))
        self.has = has
        self.sent: list[tuple[int, dict[str, float]]] = []
        self.shown: list[tuple[int, list[str]]] = []
        self.closed: list[bool] = []

    def open(self, run: Path, recipe: Recipe, note: Note) -> None:
        note.id = note.id or "1"
        if self.has is not None:
            note.step = self.has

    def send(self, step: int, numbers: Mapping[str, float]) -> None:
        self.sent.append((step, dict(numbers)))

    def show(self, step: int, samples: Sequence[Completion]) -> None:
        self.shown.append((step, [each.text for each in samples]))

    def close(self, *, complete: bool) -> None:
        self.closed.append(complete)


def test_numbers_have_groups_and_no_nan() -> None:
    given = StepRecord(
        step=1,
        metrics={"reward": 0.5, "rewards/a/mean": 1.0, "kl": float("nan")},
        seconds={"update": 2.0, "update/optimizer": 0.5},
    )
    assert numbers_of(given) == {
        "train/reward": 0.5,
        "rewards/a/mean": 1.0,
        "seconds/update": 2.0,
        "seconds/update.optimizer": 0.5,
    }


def test_settings_hold_no_secrets() -> None:
    (reward,) = settings_of(recipe())["rewards"]
    assert reward["with"] == {
        "api_key": "(not logged)",
        "key_env": "MY_KEY",
        "url": "https://(not logged)@host/v1",
        "max_tokens": 5,
        "headers": {"Authorization": "(not logged)"},
    }
    assert flat({"a": [{"b": 1}, 2], "c": {}}) == {"a.0.b": 1, "a.1": 2, "c": {}}


def test_steps_that_are_taken_again_are_not_sent_again(tmp_path: Path) -> None:
    first = Kept()
    first.on_start(tmp_path, recipe())
    for step in (1, 2, 3):
        first.on_step(record(step), ())
    first.on_evaluation(2, {"accuracy": 0.5})
    again = Kept()
    again.on_start(tmp_path, recipe())
    for step in (2, 3, 4):
        again.on_step(record(step), ())
    again.on_evaluation(2, {"accuracy": 0.5})
    again.on_end(tmp_path)
    again.on_stop(tmp_path)
    assert [step for step, _ in again.sent] == [4]
    assert again.closed == [True]
    assert json.loads((tmp_path / "trackers/kept-a-b.json").read_text()) == {
        "id": "1",
        "step": 4,
        "evaluated": 2,
    }


def test_what_a_tracker_lost_is_sent_from_the_records_of_the_run(tmp_path: Path) -> None:
    rows = [{"step": step, "reward": step / 10, "seconds": {"total": 1.0}} for step in (1, 2, 3)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "evals.jsonl").write_text('{"step": 2, "accuracy": 0.25}\n')
    late = Kept(has=1)
    late.on_start(tmp_path, recipe())
    assert late.sent == [
        (2, {"train/reward": 0.2, "seconds/total": 1.0}),
        (3, {"train/reward": 0.3, "seconds/total": 1.0}),
        (2, {"eval/accuracy": 0.25}),
    ]


def test_samples_are_off_unless_asked_for(tmp_path: Path) -> None:
    texts = [Completion(token_ids=(1,), text=text, finish="stop") for text in "abc"]
    quiet, asked = Kept(), Kept(samples=2, samples_every=3)
    for number, each in enumerate((quiet, asked)):
        each.on_start(tmp_path / str(number), recipe()) if (tmp_path / str(number)).mkdir() else 0
        each.on_start(tmp_path / str(number), recipe())
        for step in range(1, 6):
            each.on_step(record(step), texts)
    assert quiet.shown == []
    assert asked.shown == [(1, ["a", "b"]), (4, ["a", "b"])]


def test_a_torn_note_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "trackers").mkdir()
    (tmp_path / "trackers/kept-a-b.json").write_text('{"id": "1", "st')
    assert (Note(tmp_path, "kept-a/b").id, Note(tmp_path, "kept-a/b").step) == ("", 0)


def test_a_torn_offline_file_is_read_up_to_the_tear() -> None:
    def part(kind: int, data: bytes) -> bytes:
        return b"\0" * 4 + len(data).to_bytes(2, "little") + bytes([kind]) + data

    whole = b":W&B\0\0\0" + part(1, b"one") + part(2, b"tw") + part(4, b"o")
    assert list(log_records(whole)) == [b"one", b"two"]
    assert list(log_records(whole + part(1, b"three")[:-1])) == [b"one", b"two"]
    assert list(log_records(b"")) == []


def test_without_a_key_wandb_is_offline_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    def warned(config: WandbConfig) -> bool:
        return any(each.level == "warning" for each in preflight(config))

    assert warned(WandbConfig())
    assert not warned(WandbConfig(mode="offline"))
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password abc\n")
    assert not warned(WandbConfig())
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert warned(WandbConfig())
    monkeypatch.setenv("WANDB_API_KEY", "abc")
    assert not warned(WandbConfig())


def test_a_missing_package_is_told_before_anything_is_loaded(tmp_path: Path) -> None:
    catalog = Catalog.load()
    names = ("tensorboard", "wandb", "trackio", "mlflow")
    text = "extends: quickstart\ncallbacks: [" + ", ".join(f"{{use: {n}}}" for n in names) + "]\n"
    (tmp_path / "r.yaml").write_text(text)
    plan = make_plan(load_recipe(str(tmp_path / "r.yaml"), overrides=[], catalog=catalog), catalog)
    told = {p.key: p for p in plan.findings if p.code == "P216" and p.level == "error"}
    for number, name in enumerate(names):
        assert told[f"callbacks.{number}"].fact.startswith(f"the package {name} is not installed")
        assert f"pip install 'grpokit[{name}]'" in told[f"callbacks.{number}"].remedy
    with pytest.raises(PreflightError) as error:
        raise_errors(plan)
    assert len([line for line in error.value.problems if "P216" in line]) == len(names)
