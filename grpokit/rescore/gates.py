"""Limits of a comparison, for a pipeline: ``--gate sign-changes=0.01``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from grpokit.errors import RewardError
from grpokit.evaluate.gates import Gate, read_gates

__all__ = ["GATES", "Gate", "check", "parse"]

GATES: Mapping[str, tuple[str, bool, str]] = {
    "sign-changes": (
        "advantages.share",
        False,
        "share of completions whose advantage changes sign",
    ),
    "flips": ("flips.share", False, "share of completions that turn from right to wrong or back"),
    "changed": ("changed", False, "share of completions with another score"),
    "mean-change": ("mean_change", False, "change of the mean score, up or down"),
    "errors": ("new.errors", False, "share of completions that the new reward failed on"),
    "abstained": (
        "new.abstained",
        False,
        "share of completions that the new reward abstained from",
    ),
    "kendall": ("overall.kendall", True, "Kendall's tau-b over all completions"),
    "spearman": ("overall.spearman", True, "Spearman's rho over all completions"),
}
"""Name -> (where the value stands, whether the limit is a lower one, what it is)."""


def parse(texts: Sequence[str]) -> tuple[Gate, ...]:
    """``NAME=LIMIT`` of the command line. Raises RecipeError."""
    limits = {
        name: (-1.0 if lower else 0.0, math.inf if name == "mean-change" else 1.0)
        for name, (_, lower, _) in GATES.items()
    }
    return read_gates(texts, limits)


def check(gates: Sequence[Gate], main: Mapping[str, Any], advantages: Mapping[str, Any]) -> None:
    """Raises RewardError (exit code 4) if a limit is passed, with all that are.

    A value that cannot be computed passes no gate: nothing was shown.
    """
    data = {**main, "advantages": advantages}
    broken = []
    for gate in gates:
        where, lower, told = GATES[gate.name]
        value: Any = data
        for key in where.split("."):
            value = None if value is None else value[key]
        if value is None:
            broken.append(f"{gate.name} cannot be computed: {_why(gate.name, main)} ({told})")
        elif (value < gate.limit) if lower else (abs(value) > gate.limit):
            side = "less" if lower else "more"
            broken.append(f"{gate.name} is {value:.4g}, {side} than {gate.limit:g} ({told})")
    if broken:
        raise RewardError(
            "; ".join(broken),
            place="--gate",
            remedy="look at the disagreements above; if the change is wanted, set another limit",
        )


def _why(name: str, main: Mapping[str, Any]) -> str:
    """Why a value is not there."""
    if name == "flips" and main["flips"] is None:
        return "totals have no right and wrong, so it needs --reward"
    if GATES[name][1]:
        return "a side is constant, or nothing was scored by both"
    return "nothing was scored by both"
