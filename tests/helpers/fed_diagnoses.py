"""A diagnosis that was fed a run with chosen numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from grpokit.diagnose.diagnosis import Diagnosis, Finding
from grpokit.diagnose.rows import own_row

__all__ = ["SOUND", "Value", "feed", "found", "nothing", "only"]

SOUND: dict[str, Any] = {
    "reward_std": 0.4,
    "dead_groups": 0.25,
    "dead_groups_high": 0.0,
    "abstained": 0.0,
    "failures": 0,
    "optimizer_steps": 1,
    "length/mean": 10.0,
    "tokens": 640.0,
    "truncated": 0.0,
    "entropy": 1.0,
    "sampler_gap": 0.001,
    "clip_low": 0.0,
    "clip_high": 0.0,
    "grad_norm": 0.2,
}
Value = float | None | Callable[[int], float | None]


def feed(rows: int, *, goal: str | None = None, **changes: Value) -> Diagnosis:
    """A run whose numbers are the given ones (functions of the step); ``a__b`` stands for ``a/b``."""
    diagnosis = Diagnosis(goal)
    for step in range(1, rows + 1):
        row = {**SOUND, "step": step, "reward": 0.3 + 0.001 * (step % 7)}
        for name, value in changes.items():
            chosen = value(step) if callable(value) else value
            row[name.replace("__", "/")] = chosen
        diagnosis.add(own_row({k: v for k, v in row.items() if v is not None or k == "grad_norm"}))
    return diagnosis


def found(diagnosis: Diagnosis) -> list[Finding]:
    """What is found, but for `no-learning`: the reward that is fed stands still on purpose."""
    return [each for each in diagnosis.findings() if each.name != "no-learning"]


def only(diagnosis: Diagnosis) -> Finding:
    told = found(diagnosis)
    assert len(told) == 1, told
    return told[0]


def nothing(diagnosis: Diagnosis) -> bool:
    return found(diagnosis) == []
