"""Measurements -> results.json: medians, ratios, and whether all computed the same gradient."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from statistics import median
from typing import Any

from grpokit.bench.results import machine
from grpokit.bench.step.grid import Cell, Settings
from grpokit.bench.step.runs import Measured
from grpokit.spec.stepwork import STAGES

__all__ = ["difference", "ratio", "results"]

UPDATE = ("forward", "backward", "optimizer", "update")
"""Stages of an update, however finely they are told."""


def results(
    measured: Sequence[Measured],
    settings: Settings,
    model: Mapping[str, Any],
    planned: Mapping[Cell, Mapping[str, Any] | None],
) -> dict[str, Any]:
    """Everything that is shown, and what it was made from."""
    grid = list(dict.fromkeys(each.cell for each in measured))
    return {
        "grpokit_bench_step": 1,
        "finished": max((each.when for each in measured), default=_now()),
        "began": min((each.when for each in measured), default=_now()),
        "machine": machine(),
        "model": model.get("name", settings.model),
        "settings": {k: v for k, v in asdict(settings).items() if k != "model"},
        "cells": [
            _cell(
                [each for each in measured if each.cell == cell],
                _base(measured, cell),
                settings,
                planned.get(cell),
            )
            for cell in grid
        ],
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _base(measured: Sequence[Measured], cell: Cell) -> Measured | None:
    """Whose gradient the others of a cell are compared with.

    The plain path, or else the first; in float32 where the grid has it: two gradients in bfloat16
    differ from each other about as much as each does from the right one.
    """
    for at in (replace(cell, dtype="float32"), cell):
        there = [each for each in measured if each.cell == at and not each.failure]
        if there:
            return next((each for each in there if each.contestant.spec.plain), there[0])
    return None


def _cell(
    measured: Sequence[Measured],
    base: Measured | None,
    settings: Settings,
    planned: Mapping[str, Any] | None,
) -> dict[str, Any]:
    cell = measured[0].cell
    rows = [_contestant(each, settings) for each in measured]
    good = [row for row in rows if not row["failure"]]
    for each, row in zip(measured, rows, strict=True):
        if not each.failure and base is not None:
            gradients = (found.data.get("gradients", {}) for found in (base, each))
            row["base"] = each is base
            row["gradient_difference"] = difference(*gradients)
    for row in good:
        row["ratios"] = {
            other["label"]: {
                name: ratio(other[name], row[name]) for name in ("step", "update", "memory")
            }
            for other in good
            if row["own"] and other is not row
        }
    return {
        **asdict(cell),
        "kept": cell.kept,
        "compared_with": f"{base.contestant.label} in {base.cell.dtype}" if base else None,
        "planned_memory": planned,
        "contestants": rows,
    }


def _contestant(each: Measured, settings: Settings) -> dict[str, Any]:
    head = {
        "label": each.contestant.label,
        "name": each.contestant.spec.name,
        "own": each.contestant.own,
        "plain": each.contestant.spec.plain,
        "measured": each.when,
        "failure": each.failure,
        "versions": each.data.get("versions", {}),
    }
    if each.failure:
        return head
    steps = each.data["steps"][1:]  # the first warms up
    seconds = {
        name: _spread([step.get(name, 0.0) for step in steps])
        for name in (*STAGES, "update", "other", "total")
    }
    update = _spread([sum(step.get(name, 0.0) for name in UPDATE) for step in steps])
    passes = seconds["forward"]["median"] + seconds["backward"]["median"]
    floor = each.data.get("floor")
    tokens = settings.prompts * each.cell.group * each.cell.completion
    cuda = each.data.get("cuda_peak")
    return {
        **head,
        "seconds": seconds,
        "first_step": each.data["steps"][0]["total"],
        "generate": seconds["generate"]["median"],
        "update": update["median"],
        "update_range": [update["min"], update["max"]],
        "step": seconds["total"]["median"],
        "step_range": [seconds["total"]["min"], seconds["total"]["max"]],
        "tokens_per_second": ratio(tokens, seconds["total"]["median"]),
        "memory": each.data.get("memory_peak") if cuda is None else cuda,
        "memory_of": "process" if cuda is None else "GPU",
        "memory_process": each.data.get("memory_peak"),
        "memory_loaded": each.data.get("memory_loaded")
        if cuda is None
        else each.data["cuda_loaded"],
        "floor": floor,
        "floor_ratio": ratio(passes, floor) if passes else None,
        "loss": each.data.get("loss"),
        "grad_norm": each.data.get("grad_norm"),
        "facts": each.data.get("facts", {}),
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": median(values), "min": min(values), "max": max(values)}


def ratio(over: float | None, under: float | None) -> float | None:
    """None where one of them is not known, or nothing is to be divided by."""
    return None if over is None or not under else over / under


def difference(one: Mapping[str, Sequence[float]], other: Mapping[str, Sequence[float]]) -> Any:
    """Relative distance of two gradients, from the norms and samples of their weights.

    sqrt(sum (a - b)^2 / sum a^2) over the samples, and the same over the norms; the larger of the two.
    None where they are gradients of different weights.
    """
    if not one or one.keys() != other.keys():
        return None
    found = []
    for part in (slice(0, 1), slice(1, None)):
        pairs = [
            pair for name in one for pair in zip(one[name][part], other[name][part], strict=True)
        ]
        scale = sum(a * a for a, _ in pairs)
        found.append(math.sqrt(sum((a - b) ** 2 for a, b in pairs) / scale) if scale else 0.0)
    return max(found)
