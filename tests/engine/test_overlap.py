"""A run whose rewards are asked while completions are drawn is the run whose rewards are asked afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from grpokit.scoring.early import Early
from resume_runs import recipe, run
from tiny_model import write_tiny_model

HF = {"use": "hf", "with": {"threads": 1, "device": "cpu", "generate_rows": 4}}


@pytest.mark.parametrize("algorithm", [{"use": "grpo"}, {"use": "dapo"}])
def test_the_run_is_the_same(tmp_path: Path, monkeypatch, algorithm: dict[str, Any]) -> None:
    model = write_tiny_model(tmp_path / "model")
    told: list[int] = []
    finished = Early.finished

    def counted(self: Early, p: int, group: Any) -> None:
        told.append(p)
        finished(self, p, group)

    monkeypatch.setattr(Early, "finished", counted)

    def outcome(name: str, *, overlap: bool) -> Any:
        train = {"steps": 3, "save_every": 3, "seed": 7, "out": str(tmp_path / name)}
        return run(
            recipe(
                model,
                tmp_path / name,
                algorithm=algorithm,
                scoring={"isolate": True, "overlap": overlap},
                backend=HF,
                train=train,
            )
        )

    apart = outcome("apart", overlap=False)
    assert told == []
    assert outcome("overlapped", overlap=True) == apart
    assert len(told) >= 6  # two groups a step at least
