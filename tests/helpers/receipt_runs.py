"""A finished run of a small recipe, as `train` and `eval --base` leave it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from grpokit.compose.load import Loaded, load_recipe
from grpokit.compose.plan import make_plan, plan_json
from grpokit.engine.checkpoint import write_manifest
from grpokit.engine.rundir import RunDir
from grpokit.evaluate.records import Evaluation, Item, compare_evaluations, write_evaluation
from grpokit.evaluate.run import prepare
from grpokit.registry.catalog import Catalog

__all__ = ["RECIPE", "write_recipe", "write_run"]

RECIPE = """\
grpokit: 1
summary: Nine sums.
model: {id: tiny-sums, lora: null, dtype: float32}
dataset: {use: arithmetic, with: {split: train, operands: [[0, 9], [0, 9]], held_out: 0.5}}
rewards:
  - {use: number, weight: 0.9, with: {from: [whole]}}
  - {use: example-reward/distinct, weight: 0.1}
rollout: {prompts: 2, group: 2, max_tokens: 4}
backend: {use: hf, with: {device: cpu, threads: 1}}
train: {steps: 2, seed: 1}
eval:
  dataset: {use: arithmetic, with: {split: test, operands: [[0, 9], [0, 9]], held_out: 0.5}}
  correct: number
  limit: 9
"""
BASE = (False, False, True, False, False, False, False, False, False)
TRAINED = (True, True, True, True, True, True, True, True, False)
CHECK = {"format": 1, "skipped": False, "checked": True, "probes": 40, "findings": []}


def write_recipe(folder: Path) -> Path:
    path = folder / "sums.yaml"
    path.write_text(RECIPE, "utf-8")
    return path


def write_run(
    recipe: Path,
    catalog: Catalog,
    plan: Mapping[str, Any],
    seed: int = 1,
    *,
    trained: Sequence[bool] = TRAINED,
    base: Sequence[bool] = BASE,
    overrides: Sequence[str] = (),
    evaluated: bool = True,
) -> Path:
    out = recipe.parent / "runs"
    changes = [f"train.seed={seed}", f"train.out={out}", *overrides]
    loaded = load_recipe(str(recipe), overrides=changes, catalog=catalog)
    if any(change.startswith("algorithm") for change in overrides):
        plan = plan_json(make_plan(loaded, catalog))
    run = RunDir.create(out, "sums", loaded.recipe, plan)
    run.write_json("reward-check.json", CHECK)
    run.metrics.append(
        {"step": step, "tokens": 12, "seconds": {"total": 1.5}, "total/completions_generated": 4 * step}
        for step in (1, 2)
    )  # fmt: skip
    run.final.mkdir()
    (run.final / "run.json").write_text('{"step": 2}')
    write_manifest(run.final, 2)
    if evaluated:
        _evaluate(run, loaded, catalog, {"base": base, "trained": trained})
    return run.path


def _evaluate(
    run: RunDir, loaded: Loaded, catalog: Catalog, right: dict[str, Sequence[bool]]
) -> None:
    exam = prepare(loaded.recipe, catalog)
    found = []
    for label, marks in right.items():
        items = tuple(
            Item(
                id=prompt.id, index=prompt.index, question="q", answer="1", text="1", tokens=1,
                finish="stop", scores={"number": float(mark), "distinct": 1.0}, total=1.0, correct=mark,
            )
            for prompt, mark in zip(exam.prompts, marks, strict=True)
        )  # fmt: skip
        model = {
            "model": "tiny-sums",
            "weights": "aa" if label == "base" else "bb",
            "device": "cpu",
        }
        found.append(
            Evaluation(
                label=label, items=items, decides=exam.decides, threshold=exam.threshold,
                fingerprint={"model": model, **exam.fingerprint},
            )
        )  # fmt: skip
    write_evaluation(run.path / "eval" / "20260101-000000", found, compare_evaluations(*found))
