"""Run folders for comparisons: chosen curves, recipes, sources of components, stored evaluations."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from grpokit.evaluate.records import Evaluation, Item, compare_evaluations, write_evaluation
from saved_runs import saved_run

__all__ = ["FINGERPRINT", "append", "compared_run", "evaluation", "found_values", "store"]

FINGERPRINT: dict[str, Any] = {
    "model": {"model": "tiny", "revision": "", "weights": "w0", "adapter": "", "dtype": "float32"},
    "grpokit": "0.1.0",
    "dataset": "d0",
    "items": "i0",
    "prompt": {"use": "plain", "system": None},
    "sampling": {"group": 1, "max_tokens": 20, "temperature": 0.0},
    "batch": 32,
    "rewards": {"exact": "exact 0.1.0 aaaa bbbb"},
}


def compared_run(
    out: Path,
    name: str,
    *,
    seed: int = 1,
    steps: int = 40,
    reward: Callable[[int], float] = lambda step: step / 100,
    seconds: float = 2.0,
    source: str = "aaaa",
    torch: str = "2.13.0",
    **sections: Any,
) -> Path:
    """A folder that a run of that many steps leaves: 8 completions of 4 tokens a step."""
    train = {"steps": steps, "seed": seed, "out": str(out), **sections.pop("train", {})}
    run = saved_run(out, None, name=name, train=train, **sections)
    component = {"kind": "reward", "id": "exact", "version": "0.1.0", "source_hash": source}
    plan = {
        "name": name,
        "components": [
            {"role": "dataset", "kind": "dataset", "id": "inline", "version": "0.1.0",
             "source_hash": "dddd", "settings": {}},
            {"role": "reward exact", "settings": {}, **component},
        ],
        "environment": {"torch": torch},
        "dataset_fingerprint": "f0",
    }  # fmt: skip
    (run / "plan.json").write_text(json.dumps(plan))
    with (run / "metrics.jsonl").open("w") as file:
        for step in range(1, steps + 1):
            row = {
                "step": step,
                "reward": reward(step),
                "rewards/exact/mean": reward(step),
                "length/mean": 4.0,
                "tokens": 32,
                "entropy": 1 / step,
                "dead_groups": 0.25,
                "total/completions_generated": 8 * step,
                "seconds": {"generate": seconds / 2, "total": seconds},
            }
            file.write(json.dumps(row) + "\n")
    (run / "final").mkdir()
    (run / "final" / "run.json").write_text(json.dumps({"step": steps}))
    return run


def evaluation(
    right: Sequence[bool] | str,
    *,
    label: str = "trained",
    adapter: str = "a1",
    samples: int = 1,
    **other: Any,
) -> Evaluation:
    """Answers as ``"1101"``; with several a question, those to one question stand together."""
    fingerprint = {
        **FINGERPRINT,
        **other,
        "model": {**FINGERPRINT["model"], "adapter": adapter, **other.get("model", {})},
    }
    items = tuple(
        Item(
            id=f"q{place // samples}",
            index=place // samples,
            question="?",
            answer="a",
            text=f"{adapter} {place}",
            tokens=3,
            finish="stop",
            scores={"exact": float(int(each))},
            total=float(int(each)),
            correct=bool(int(each)),
            sample=place % samples,
        )
        for place, each in enumerate(right)
    )
    return Evaluation(
        label=label, items=items, decides="exact", threshold=1.0, fingerprint=fingerprint
    )


def store(run: Path, *models: Evaluation, name: str = "20260101-000000") -> Path:
    """Writes an evaluation of a run, as ``grpokit eval`` does."""
    paired = compare_evaluations(*models) if len(models) == 2 else None
    return write_evaluation(run / "eval" / name, models, paired)


def append(run: Path, text: str, name: str = "metrics.jsonl") -> None:
    with (run / name).open("a") as file:
        file.write(text)


def found_values(data: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Of a comparison's differences: labels of the runs -> value."""
    each = next(each for each in data["differences"] if each["what"] == what)
    return {" ".join(value["runs"]): value["value"] for value in each["values"]}
