"""Run folders with rollouts that a test has chosen, written as the engine writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from grpokit.engine.rundir import RunDir
from grpokit.spec.recipe import Recipe

__all__ = ["completion", "group", "saved_run"]


def completion(
    sample: int,
    text: str,
    total: float | None,
    advantage: float = 0.0,
    errors: Mapping[str, str] | None = None,
    **rewards: float | None,
) -> dict[str, Any]:
    row = {
        "sample": sample,
        "text": text,
        "tokens": len(text),
        "finish": "length" if text.endswith("...") else "stop",
        "rewards": rewards,
        "total": total,
        "advantage": advantage,
        "kept": True,
    }
    return {**row, "errors": dict(errors)} if errors else row


def group(
    step: int, index: int, answer: object, completions: Sequence[Mapping[str, Any]], **more: Any
) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"question {index}"}]
    prompt = {"id": f"id{index}", "index": index, "messages": messages, "answer": answer}
    return {"step": step, "prompt": prompt, **more, "completions": list(completions)}


def saved_run(
    out: Path, groups: Sequence[Mapping[str, Any]] | None, name: str = "saved", **sections: Any
) -> Path:
    """A folder as a run leaves it, without weights."""
    recipe = Recipe.model_validate(
        {
            "grpokit": 1,
            "model": {"id": "tiny-sums"},
            "dataset": {"use": "inline", "with": {"rows": [{"question": "q", "answer": "a"}]}},
            "rewards": [{"use": "exact"}],
            "train": {"steps": 10, "out": str(out)},
            **sections,
        }
    )
    run = RunDir.create(out, name, recipe, {"name": name})
    if groups is not None:
        run.rollouts.append(groups)
        steps = sorted({each["step"] for each in groups})
        run.metrics.append({"step": step, "reward": step / 4} for step in steps)
    return run.path


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
