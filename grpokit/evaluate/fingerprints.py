"""Whether two evaluations measured the same thing: what may differ between them, and what must not.

Two accuracies compare where nothing differs but the model: the same questions in the same template, drawn
with the same sampling by the same engine, and marked by the same grader. This is the one place that says so,
for ``eval --against`` and ``runs compare`` alike. It looks at what ``summary.json`` says of a model
(:meth:`grpokit.evaluate.records.Evaluation.as_dict`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from grpokit.compose.diff import MISSING, leaves
from grpokit.errors import PreflightError

__all__ = ["Differences", "check_same_exam", "differences"]

Pair = tuple[Any, Any]

MODEL = frozenset({"label", "model.model", "model.revision", "model.weights", "model.adapter"})
"""What is being compared."""
TOKENS = frozenset({"model.tokenizer", "model.stop_ids"})
"""Belong to the model: they may differ where the base model does. The chat template may not: it is
how a question is asked."""


@dataclass(frozen=True, kw_only=True)
class Differences:
    """Key -> the values of the first and of the second; ``(none)`` stands for a key that one does not have.

    Attributes:
        model: what may differ: which model it is, and rewards that do not decide what is correct.
        exam: what must not: questions, template, sampling, grader, engine, versions.
    """

    model: Mapping[str, Pair]
    exam: Mapping[str, Pair]

    @property
    def comparable(self) -> bool:
        """Nothing differs but the model."""
        return not self.exam

    def lines(self) -> tuple[str, ...]:
        """What must not differ and does, one key a line."""
        return tuple(f"{key}: {a} and {b}" for key, (a, b) in self.exam.items())


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> Differences:
    """What differs between two evaluations: each what ``Evaluation.as_dict`` and ``summary.json`` say of a model.

    The grader is the reward that decides, with its version, source and settings, whatever it is called. Other
    rewards that were scored along with it do not change what is correct.
    """
    ours, theirs = _marks(first), _marks(second)
    other = {
        key: (ours.get(key, MISSING), theirs.get(key, MISSING))
        for key in dict.fromkeys((*ours, *theirs))
        if ours.get(key, MISSING) != theirs.get(key, MISSING)
    }
    free = MODEL | TOKENS if "model.model" in other else MODEL
    model = {key: pair for key, pair in other.items() if key in free or key.startswith("rewards.")}
    return Differences(
        model=model, exam={key: pair for key, pair in other.items() if key not in model}
    )


def _marks(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the result depends on, by dotted key; a list of numbers is one value."""
    found = entry.get("fingerprint")
    mark: dict[str, Any] = dict(found) if isinstance(found, Mapping) else {}
    model = mark.get("model")
    if isinstance(model, Mapping) and "stop_ids" in model:
        mark["model"] = {**model, "stop_ids": str(model["stop_ids"])}
    rewards = mark.get("rewards")
    decides = entry.get("decides")
    grader = rewards.get(decides, MISSING) if isinstance(rewards, Mapping) else MISSING
    mark |= {"label": entry.get("label"), "grader": grader, "threshold": entry.get("threshold")}
    return dict(leaves(mark))


def check_same_exam(
    first: Mapping[str, Any],
    second: Mapping[str, Any],
    *,
    place: str = "comparison",
    remedy: str = "evaluate both in the same way",
) -> Differences:
    """Refuses a comparison in which more differs than the model; returns what differs.

    Raises:
        PreflightError: with every key that must not differ, and both values.
    """
    found = differences(first, second)
    if found.comparable:
        return found
    raise PreflightError(
        "the two evaluations differ in more than the model",
        place=place,
        remedy=remedy,
        problems=found.lines(),
    )
