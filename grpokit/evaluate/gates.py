"""Limits of an evaluation, for a pipeline: ``--gate min-accuracy=0.6``.

A limit holds where the lower bound of the 95 % interval reaches it: what could be chance passes no gate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grpokit.errors import RecipeError, RewardError
from grpokit.evaluate.paired import Comparison
from grpokit.evaluate.records import Evaluation

__all__ = ["GATES", "Gate", "check", "parse", "read_gates"]

GATES = {
    "min-accuracy": "the lower bound of the accuracy of the last model",
    "min-delta": "the lower bound of its difference to the first model",
}


@dataclass(frozen=True)
class Gate:
    """One limit."""

    name: str
    limit: float


def parse(texts: Sequence[str], *, compares: bool) -> tuple[Gate, ...]:
    """The gates of the command line, where two models are compared or not. Raises RecipeError."""
    gates = read_gates(texts, {"min-accuracy": (0, 1), "min-delta": (-1, 1)})
    if not compares and any(gate.name == "min-delta" for gate in gates):
        raise RecipeError(
            "min-delta compares two models", place="--gate", remedy="add --base or --against"
        )
    return gates


def read_gates(texts: Sequence[str], names: Mapping[str, tuple[float, float]]) -> tuple[Gate, ...]:
    """``NAME=LIMIT``, with the lowest and highest limit of each name. Raises RecipeError."""
    return tuple(_gate(text, names) for text in texts)


def _gate(text: str, names: Mapping[str, tuple[float, float]]) -> Gate:
    written, _, raw = text.partition("=")
    name = written.replace("_", "-")
    try:
        limit = float(raw)
    except ValueError:
        limit = math.nan
    if name not in names or not math.isfinite(limit):
        raise RecipeError(
            f"{text!r} is no gate",
            place="--gate",
            remedy=f"write NAME=NUMBER with a name of {', '.join(names)}",
        )
    least, most = names[name]
    if not least <= limit <= most:
        highest = f" to {most:g}: 0.01 are 1%" if math.isfinite(most) else ""
        raise RecipeError(
            f"{text!r} is no limit of {name}",
            place="--gate",
            remedy=f"write a number from {least:g}{highest}",
        )
    return Gate(name, limit)


def check(
    gates: Sequence[Gate], evaluations: Sequence[Evaluation], comparison: Comparison | None
) -> None:
    """Raises RewardError (exit code 4) with all limits that are not reached."""
    bounds = {"min-accuracy": evaluations[-1].interval[0]}
    if comparison is not None:
        bounds["min-delta"] = comparison.interval[0]
    missed = [
        f"{gate.name} is {bounds[gate.name]:.4f}, less than {gate.limit:g} ({GATES[gate.name]})"
        for gate in gates
        if bounds[gate.name] < gate.limit
    ]
    if missed:
        raise RewardError(
            "; ".join(missed),
            place="--gate",
            remedy="more questions or answers narrow the interval (--limit, --samples); "
            "if this is as good as it should be, set another limit",
        )
