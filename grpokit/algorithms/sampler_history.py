"""Axis ``sampler``, parts that remember how the model did on each row. No torch here.

They change in ``observe`` only, and what they know goes into the checkpoint, keyed by row. A row whose
every score abstained leaves no record.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from grpokit.algorithms.metric import metric_of
from grpokit.algorithms.sampler import Stage, Staged, all_rows, cycle, in_order, scan, value_of
from grpokit.errors import PreflightError
from grpokit.spec.contracts import Walk
from grpokit.spec.flow import Draw, Outcome

__all__ = ["EasyDrop", "History", "Variance", "scores_by_row"]


def scores_by_row(outcome: Outcome, metric: str, part: str) -> dict[int, list[float]]:
    """Data set row to the scores of all its completions in the step, abstentions left out."""
    found: dict[int, list[float]] = {}
    table = metric_of(outcome.scores, metric, part)
    for prompt, group in zip(outcome.rollout.prompts, table, strict=True):
        known = [float(value) for value in group if value is not None]
        if known:
            found.setdefault(prompt.index, []).extend(known)
    return found


@dataclass
class History:
    """SRPO's history resampling (arXiv 2504.14286).

    A row whose completions were all correct when it was last asked is asked no more: in an epoch each
    row comes once, so the record of one epoch decides about the next. Rows with both right and wrong
    completions stay, and so do rows that were all wrong: they may become solvable.

    Attributes:
        metric, threshold: a completion is correct if its metric is at least the threshold.
        again_after: steps after which such a row is asked again; None is never.
        stages: as in ``Staged``; only rows of the step's stage are asked. None is every row.
        records: row to (step, correct completions, completions).
    """

    metric: str = "total"
    threshold: float = 1.0
    again_after: int | None = None
    stages: tuple[Stage, ...] = ()
    records: dict[int, tuple[int, int, int]] = field(default_factory=dict)

    def __call__(self, walk: Walk, position: int, count: int, step: int, /) -> Draw:
        change = "set" if self.again_after is None else "lower"
        none_left = (
            f"every row{' of the stage' * bool(self.stages)} is solved: all completions had {self.metric} {self.threshold:g} or more",
            f"end the run here, {change} again_after of the sampler, or take harder rows",
        )
        stage = Staged(self.stages).stage(step) if self.stages else Stage(None, {})

        def keep(row: int) -> bool:
            return not self.solved(row, step) and stage.holds(walk, row)

        return scan(walk, position, count, keep, none_left=none_left)

    def solved(self, row: int, step: int) -> bool:
        """The row is left out of this step."""
        when, right, asked = self.records.get(row, (0, 0, 1))
        return right == asked and (self.again_after is None or step - when <= self.again_after)

    def observe(self, outcome: Outcome) -> None:
        for row, scores in scores_by_row(outcome, self.metric, "history").items():
            right = sum(score >= self.threshold for score in scores)
            self.records[row] = (outcome.step, right, len(scores))

    def state(self) -> Mapping[str, Any]:
        return {"records": _keyed(self.records)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.records = {
            int(row): (when, right, asked) for row, (when, right, asked) in state["records"].items()
        }


@dataclass
class EasyDrop:
    """Rows with a high mean score are dropped at the borders of stages (POLARIS).

    The mean is that of all completions since the last border. A dropped row never comes back.

    Attributes:
        above: rows with a mean above it are dropped.
        every, after: a border lies behind each ``every``-th step, and behind these steps.
        sums: row to (sum of scores, completions) since the last border.
    """

    metric: str = "total"
    above: float = 0.9
    every: int | None = None
    after: frozenset[int] = frozenset()
    sums: dict[int, tuple[float, int]] = field(default_factory=dict)
    dropped: set[int] = field(default_factory=set)

    def __call__(self, walk: Walk, position: int, count: int, step: int, /) -> Draw:
        del step
        none_left = (
            f"every row was dropped: their mean {self.metric} was above {self.above:g}",
            "end the run here, raise the bound of the sampler, or take harder rows",
        )
        return scan(walk, position, count, lambda row: row not in self.dropped, none_left=none_left)

    def observe(self, outcome: Outcome) -> None:
        for row, scores in scores_by_row(outcome, self.metric, "easy-drop").items():
            total, count = self.sums.get(row, (0.0, 0))
            self.sums[row] = (total + sum(scores), count + len(scores))
        step = outcome.step
        if step in self.after or (self.every is not None and step % self.every == 0):
            self.dropped |= {
                row for row, (total, count) in self.sums.items() if total / count > self.above
            }
            self.sums = {}

    def state(self) -> Mapping[str, Any]:
        return {"sums": _keyed(self.sums), "dropped": sorted(self.dropped)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.sums = {int(row): (total, count) for row, (total, count) in state["sums"].items()}
        self.dropped = set(state["dropped"])


@dataclass
class Variance:
    """The rows whose accuracy varied most, in turn (1-shot RLVR, arXiv 2504.20571).

    The accuracy of a row is its mean metric in one step; its variance is over the steps that asked it.
    With a ``column`` the accuracies stand there (a list a row, or its variance as one number), from a
    run before. Without, the first ``warmup`` steps ask every row in order and record; then the ``top``
    rows are chosen for good. Of equal ones the first rows count.

    Attributes:
        accuracies: row to accuracies, until the rows are chosen.
        chosen: the rows, the most variable first; None before.
    """

    top: int = 1
    column: str | None = None
    warmup: int = 0
    metric: str = "total"
    accuracies: dict[int, list[float]] = field(default_factory=dict)
    chosen: tuple[int, ...] | None = None
    _known: tuple[Walk, tuple[int, ...]] | None = field(default=None, repr=False)

    def __call__(self, walk: Walk, position: int, count: int, step: int, /) -> Draw:
        if self.column is not None:
            return cycle(self._of_column(walk, self.column), position, count)
        if self.chosen is None:
            return in_order(walk, position, count, step)
        if not self.chosen:
            raise PreflightError(
                f"no row was asked twice in the {self.warmup} steps of the warm-up, so none has a "
                "variance",
                place="algorithm",
                remedy="raise warmup of the sampler to two epochs at least",
            )
        return cycle(self.chosen, position, count)

    def _of_column(self, walk: Walk, column: str) -> tuple[int, ...]:
        if self._known is None or self._known[0] is not walk:
            spread = {row: _spread(walk, row, column) for row in all_rows(walk, "variance")}
            self._known = (walk, _most(spread, self.top))
        return self._known[1]

    def observe(self, outcome: Outcome) -> None:
        if self.column is not None or self.chosen is not None:
            return
        for row, scores in scores_by_row(outcome, self.metric, "variance").items():
            self.accuracies.setdefault(row, []).append(statistics.fmean(scores))
        if outcome.step >= self.warmup:
            seen = {row: values for row, values in self.accuracies.items() if len(values) > 1}
            spread = {row: statistics.pvariance(values) for row, values in seen.items()}
            self.chosen = _most(spread, self.top)
            self.accuracies = {}

    def state(self) -> Mapping[str, Any]:
        chosen = None if self.chosen is None else list(self.chosen)
        return {"accuracies": _keyed(self.accuracies), "chosen": chosen}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.accuracies = {int(row): list(values) for row, values in state["accuracies"].items()}
        self.chosen = None if state["chosen"] is None else tuple(state["chosen"])


def _keyed(records: Mapping[int, Any]) -> dict[str, Any]:
    """JSON, in the order of the rows."""
    return {str(row): list(records[row]) for row in sorted(records)}


def _most(spread: Mapping[int, float], top: int) -> tuple[int, ...]:
    return tuple(sorted(spread, key=lambda row: (-spread[row], row))[:top])


def _spread(walk: Walk, row: int, column: str) -> float:
    value = value_of(walk, row, column, "variance")
    values = value if isinstance(value, list | tuple) else [value]
    if values and all(isinstance(each, int | float) and isfinite(each) for each in values):
        return float(value) if values[0] is value else statistics.pvariance(map(float, values))
    raise PreflightError(
        f"`variance` wants accuracies in the column `{column}`; row {row} has {value!r:.60}",
        place="data set",
        remedy="write a list of numbers, or one number: their variance",
    )
