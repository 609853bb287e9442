"""A step's numbers under one set of names, whoever wrote them. The names are those of ``metrics.jsonl``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["TRL_NAMES", "StepRow", "json_lines", "numbers", "own_row", "trl_row"]

TRL_NAMES = {
    "completions/mean_length": "length/mean",
    "completions/clipped_ratio": "truncated",
    "frac_reward_zero_std": "dead_groups",
    "clip_ratio/low_mean": "clip_low",
    "clip_ratio/high_mean": "clip_high",
    "sampling/sampling_logp_difference/mean": "sampler_gap",
    "sampling/importance_sampling_ratio/mean": "sampler_ratio",
    "sampling/importance_sampling_ratio/min": "sampler_ratio_min",
    "learning_rate": "lr",
}
"""Name in TRL's log history -> ours, where they differ (TRL 1.14 to 1.16)."""


SECONDS = ("generate", "score", "total")
"""Times of a step that are looked at."""


@dataclass(frozen=True, kw_only=True)
class StepRow:
    """The numbers of one step.

    Attributes:
        values: finite numbers by name. What was not measured is absent, never 0.
        odd: names that are there without a finite number: NaN, infinite or null.
    """

    step: int
    values: Mapping[str, float]
    odd: frozenset[str] = field(default_factory=frozenset)

    @property
    def is_evaluation(self) -> bool:
        """Whether it comes from an evaluation during training, beside the row of its step."""
        return bool(self.values) and self.values.keys() <= {"held_out", "held_out/reward"}


def own_row(row: Mapping[str, Any]) -> StepRow:
    """A line of ``metrics.jsonl``, or of ``evals.jsonl`` (its accuracy becomes ``held_out``).

    Adds ``completions``, which are the step's tokens over their mean length, ``failed``, the failures
    per completion, and times as ``seconds/total``.

    Raises:
        ValueError: the row has no step.
    """
    step, values, odd = numbers(row)
    if "accuracy" in values and "reward" not in values:
        return StepRow(step=step, values={"held_out": values["accuracy"]}, odd=odd)
    seconds = row.get("seconds")
    if isinstance(seconds, Mapping):
        for name in SECONDS:
            value = seconds.get(name)
            if isinstance(value, int | float) and 0 <= value < math.inf:
                values[f"seconds/{name}"] = float(value)
    if values.get("length/mean") and "tokens" in values:
        values["completions"] = float(round(values["tokens"] / values["length/mean"]))
        if "failures" in values:
            values["failed"] = values["failures"] / values["completions"]
    return StepRow(step=step, values=values, odd=odd)


def trl_row(row: Mapping[str, Any]) -> StepRow:
    """An entry of ``log_history`` in TRL's ``trainer_state.json``.

    An evaluation's ``eval_reward`` becomes ``held_out/reward``: it is a total, not an accuracy. TRL writes no number of completions and no
    count of failures; a reward of null or NaN says that no completion of the step could be scored.

    Raises:
        ValueError: the entry has no step.
    """
    step, values, odd = numbers(row)
    if "eval_reward" in values:
        return StepRow(step=step, values={"held_out/reward": values["eval_reward"]})
    named = {TRL_NAMES.get(name, name): value for name, value in values.items()}
    return StepRow(step=step, values=named, odd=frozenset(TRL_NAMES.get(n, n) for n in odd))


def json_lines(pieces: Iterable[bytes]) -> Iterator[tuple[int, dict[str, Any] | ValueError]]:
    """The lines of a file of JSON objects with their numbers; what is wrong with a damaged one.

    ``pieces`` are lines, with their ends or split at them; the last piece is no line if it has no end:
    it is empty, or just being written. Empty lines are passed over.
    """
    before: bytes | None = None
    for number, piece in enumerate(pieces):
        if before is not None and before.strip():
            yield number, _object(before)
        before = piece
    if before is not None and before.endswith(b"\n") and before.strip():
        yield number + 1, _object(before)


def _object(line: bytes) -> dict[str, Any] | ValueError:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return ValueError(str(error))
    return row if isinstance(row, dict) else ValueError("it is no object")


def numbers(row: Mapping[str, Any]) -> tuple[int, dict[str, float], frozenset[str]]:
    """The step, the finite numbers by name, and the names that are there without one.

    Raises:
        ValueError: the row has no step.
    """
    step = row.get("step")
    if not isinstance(step, int) or isinstance(step, bool):
        raise ValueError("it has no whole number `step`")  # noqa: TRY004  a damaged line, not a bug
    values: dict[str, float] = {}
    odd = set()
    for name, value in row.items():
        if isinstance(value, bool):
            continue
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            odd.add(str(name))
        elif isinstance(value, int | float) and abs(value) < 1e300:
            values[str(name)] = float(value)
    values.pop("step", None)
    return step, values, frozenset(odd)
