"""Run directories -> the numbers of ``results.json``. Everything is read back from the disk."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from grpokit.bench.matrix import Matrix
from grpokit.bench.runs import Finished
from grpokit.engine.rundir import RunDir
from grpokit.evaluate.intervals import wilson
from grpokit.evaluate.spread import spread

__all__ = ["STAGES", "WINDOW", "machine", "results"]

STAGES = ("generate", "score", "update")
"""Stages with a time of their own; the rest of a step is ``other``."""
WINDOW = 10
"""Steps at the end over which ``reward_last`` is a mean."""
UNIT = (0.0, 1.0)


def results(
    matrix: Matrix, base: Mapping[str, Any], finished: Sequence[Finished]
) -> dict[str, Any]:
    """The content of ``results.json``; algorithms in the order in which they were named."""
    recipe = matrix.recipe
    algorithms = [
        _algorithm(matrix, [each for each in finished if each.cell.contestant == contestant])
        for contestant in matrix.contestants
    ]
    for each in algorithms:
        each["difference"] = _difference(algorithms[0], each)
    plan = matrix.cells[0].plan
    return {
        "format": 1,
        "recipe": matrix.name,
        "overrides": list(matrix.overrides),
        "model": recipe.model.id,
        "steps": recipe.train.steps,
        "seeds": list(matrix.seeds),
        "prompts": recipe.rollout.prompts,
        "group": recipe.rollout.group,
        "questions": base["items"],
        "correct": f"{base['decides']} >= {base['threshold']:g}",
        "device": plan["device"],
        "machine": machine(),
        "environment": plan["environment"],
        "finished": _last_written(finished),
        "base": {key: base[key] for key in ("accuracy", "interval", "items")},
        "algorithms": algorithms,
    }


def machine() -> dict[str, Any]:
    """The processor and its cores: wall times mean nothing without them."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        pass
    return {"processor": name, "cores": os.cpu_count(), "system": platform.system()}


def _last_written(finished: Sequence[Finished]) -> str:
    """When the last step of all runs was recorded."""
    files = (RunDir(each.cell.folder).metrics.path for each in finished)
    times = [path.stat().st_mtime for path in files if path.exists()]
    return datetime.fromtimestamp(max(times, default=0.0), UTC).isoformat(timespec="seconds")


def _algorithm(matrix: Matrix, finished: Sequence[Finished]) -> dict[str, Any]:
    """One contestant over its seeds. Numbers are None where every seed failed."""
    cell = finished[0].cell
    section = cell.recipe.algorithm.model_dump(mode="json", by_alias=True)
    runs = [_run(matrix.folder, each) for each in finished]
    done = [run for run in runs if not run["failure"]]
    whole: dict[str, Any] = {
        "label": cell.contestant.label,
        "algorithm": section,
        "runs": runs,
        "failed": len(runs) - len(done),
        "accuracy": None,
        "pooled": None,
    }
    if not done:
        return whole
    right, items = (sum(run[key] for run in done) for key in ("right", "items"))
    names = ("tokens", "questions", "completions", "trained", "optimizer_steps", "dead_groups")
    stages = dict.fromkeys(name for run in done for name in run["seconds"])
    return {
        **whole,
        "accuracy": spread([run["accuracy"] for run in done], within=UNIT).as_dict(),
        "pooled": {"right": right, "items": items, "interval": list(wilson(right, items))},
        "reward_last": spread([run["reward_last"] for run in done]).as_dict(),
        "reward": [fmean(values) for values in zip(*(run["reward"] for run in done), strict=True)],
        "seconds": {name: fmean(run["seconds"][name] for run in done) for name in stages},
        **{name: fmean(run[name] for run in done) for name in names},
    }


def _run(folder: Path, finished: Finished) -> dict[str, Any]:
    """One run, from its ``metrics.jsonl`` and its evaluation."""
    cell = finished.cell
    place = cell.folder.relative_to(folder)
    head = {"seed": cell.seed, "folder": str(place), "failure": finished.failure}
    if finished.summary is None:
        return head
    rows = RunDir(cell.folder).metrics.read()
    rewards = _rewards(rows)
    return {
        **head,
        "accuracy": finished.summary["accuracy"],
        "right": finished.summary["correct"],
        "items": finished.summary["items"],
        "reward": rewards,
        "reward_last": fmean(rewards[-WINDOW:]),
        "seconds": _seconds(rows),
        "tokens": sum(row["tokens"] for row in rows),
        "questions": rows[-1]["total/questions_seen"],
        "completions": rows[-1]["total/completions_generated"],
        "trained": rows[-1]["total/completions_trained"],
        "optimizer_steps": rows[-1]["total/optimizer_steps"],
        "dead_groups": _weighted(rows, "dead_groups", "questions"),
    }


def _rewards(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """Mean reward a step; a step without a single total repeats the one before."""
    found: list[float] = []
    for row in rows:
        found.append(row.get("reward", found[-1] if found else 0.0))
    return found


def _seconds(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Wall time of the steps by stage. Loading, saving and evaluating are not among them."""
    total = sum(row["seconds"]["total"] for row in rows)
    stages = {name: sum(row["seconds"].get(name, 0.0) for row in rows) for name in STAGES}
    return {**stages, "other": max(0.0, total - sum(stages.values())), "total": total}


def _weighted(rows: Sequence[Mapping[str, Any]], name: str, weight: str) -> float:
    """Mean of a share over all groups: steps may differ in their number."""
    return float(sum(row[name] * row[weight] for row in rows) / sum(row[weight] for row in rows))


def _difference(first: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any] | None:
    """Accuracy of ``other`` minus that of ``first``, paired by seed; None for the first itself.

    Runs with the same seed share the order of the questions, so what a seed makes easy or hard for
    both falls out of the difference.
    """
    if first is other:
        return None
    known = {run["seed"]: run["accuracy"] for run in first["runs"] if not run["failure"]}
    gaps = [
        run["accuracy"] - known[run["seed"]]
        for run in other["runs"]
        if not run["failure"] and run["seed"] in known
    ]
    if not gaps:
        return None
    found = spread(gaps, within=(-1.0, 1.0))
    return {**found.as_dict(), "verdict": found.verdict}
