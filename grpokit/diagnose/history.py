"""Every number of a run as a series, with windows and a frozen start."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

from grpokit.diagnose.robust import Slope, theil_sen
from grpokit.diagnose.rows import StepRow

__all__ = ["BACK", "START", "WINDOW", "History", "Window"]

WINDOW = 20
"""Rows of a window."""
BACK = 10
"""Rows between two consecutive windows."""
START = 20
"""Rows of the warm-up, whose medians stay the baseline: one that moves along hides a drift."""
STALE = 20
"""Rows after which a number that is no longer written says nothing."""
FREE = 6.0
"""Nats of a completion (entropy per token times mean tokens) from which equal ones are no chance."""
SIDE = re.compile(r"format|style|tag|xml|length|think|brevity|penalty", re.IGNORECASE)
"""Names of rewards that are taken for helpers where nobody says which one counts."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """Consecutive values of one number, with their steps."""

    steps: tuple[int, ...]
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    def slope(self) -> Slope:
        return theil_sen(self.steps, self.values)


@dataclass
class _Series:
    rows: list[int] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    start: float | None = None
    """Median of the first START values."""
    best: float | None = None
    """The highest median of WINDOW values, looked at every BACK of them."""

    def add(self, row: int, step: int, value: float) -> None:
        self.rows.append(row)
        self.steps.append(step)
        self.values.append(value)
        count = len(self.values)
        if count == START:
            self.start = statistics.median(self.values)
        if count >= WINDOW and count % BACK == 0:
            middle = statistics.median(self.values[-WINDOW:])
            self.best = middle if self.best is None else max(self.best, middle)


class History:
    """Rows as series. A number need not be in every row; TRL writes some only now and then.

    ``goal`` names the reward that says whether an answer is right. Without a name it is the only
    reward, or the only one that is not called a format, a style, a length ...
    """

    def __init__(self, goal: str | None = None) -> None:
        self._goal = goal
        self._series: dict[str, _Series] = {}
        self._dead: float | None = None
        self.rows: list[StepRow] = []
        self.rewards: list[str] = []
        """Names of the rewards that have been seen."""
        self.scale = 1.0
        """The largest mean reward of a step, at least 1. Gains are measured by it."""

    def add(self, row: StepRow) -> None:
        """Takes the next row, and what follows from it."""
        self.scale = max(self.scale, abs(row.values.get("reward", 0.0)))
        if not row.is_evaluation:
            self.rows.append(row)
        place = len(self.rows) - 1
        for name, value in {**row.values, **self._derived(row.values)}.items():
            series = self._series.get(name)
            if series is None:
                series = self._new(name)
            series.add(place, row.step, value)

    def _new(self, name: str) -> _Series:
        head, tail = "rewards/", "/mean"
        if name.startswith(head) and name.endswith(tail):
            self.rewards.append(name[len(head) : -len(tail)])
        return self._series.setdefault(name, _Series())

    def window(self, name: str, *, size: int = WINDOW, back: int = 0) -> Window | None:
        """The last ``size`` values but ``back``; None where there are fewer, or none lately."""
        series = self._series.get(name)
        if series is None or len(series.values) < size + back:
            return None
        if series.rows[-1] < len(self.rows) - STALE:
            return None
        cut = slice(len(series.values) - size - back, len(series.values) - back)
        return Window(steps=tuple(series.steps[cut]), values=tuple(series.values[cut]))

    def two(self, name: str) -> tuple[Window, Window] | None:
        """Two consecutive windows, the newer one first."""
        now, before = self.window(name), self.window(name, back=BACK)
        return None if now is None or before is None else (now, before)

    def start(self, name: str) -> float | None:
        """The frozen baseline: the median of the first START values, once there are as many."""
        series = self._series.get(name)
        return None if series is None else series.start

    def best(self, name: str) -> float | None:
        """The highest that a window's median has ever been."""
        series = self._series.get(name)
        return None if series is None else series.best

    def known(self, name: str) -> Window | None:
        """All values of a number."""
        series = self._series.get(name)
        if series is None:
            return None
        return Window(steps=tuple(series.steps), values=tuple(series.values))

    @property
    def goal(self) -> str | None:
        """The series of the reward that counts; None where several may."""
        if self._goal is not None and self._goal in self.rewards:
            return f"rewards/{self._goal}/mean"
        chosen = self.rewards
        if len(chosen) > 1:
            chosen = [name for name in chosen if not SIDE.search(name)]
        return f"rewards/{chosen[0]}/mean" if len(chosen) == 1 else None

    def _derived(self, values: Mapping[str, float]) -> dict[str, float]:
        found: dict[str, float] = {}
        if "clip_low" in values and "clip_high" in values:
            found["clipped"] = values["clip_low"] + values["clip_high"]
        dead = self._dead = values.get("dead_groups", self._dead)
        if "grad_norm" in values and dead is not None and values.get("optimizer_steps", 1.0) > 0:
            found["stuck"] = float(values["grad_norm"] == 0.0 and dead < 1.0)
        if "dead_groups" in values:
            found.update(self._split(values))
        if "rejected" not in values and values.get("sampler_ratio_min") == 0.0:
            found["rejected"] = max(1.0 - values.get("sampler_ratio", 1.0), 0.0)
        if values.get("seconds/total") and "seconds/score" in values:
            found["scoring"] = values["seconds/score"] / values["seconds/total"]
        if values.get("seconds/generate") and "tokens" in values:
            found["pace"] = values["tokens"] / values["seconds/generate"]
        if {"duplicates", "entropy", "length/mean"} <= values.keys():
            free = values["entropy"] * values["length/mean"]
            found["repeats"] = values["duplicates"] if free >= FREE else 0.0
        return found

    def _split(self, values: Mapping[str, float]) -> dict[str, float]:
        """Dead groups that are all right and all wrong.

        Ours are counted (`dead_groups_high`), and at most the share of right answers. Where nobody
        counted, or the whole step has one value: a live group is taken to be half right.
        """
        mean = values.get(self.goal or "reward", values.get("reward"))
        if mean is None or not 0.0 <= mean <= 1.0:
            return {}
        dead, high = values["dead_groups"], values.get("dead_groups_high")
        if high is None or values.get("reward_std", 1.0) < 1e-9:
            high = mean - (1.0 - dead) / 2
        right = min(max(high, 0.0), dead, mean)
        return {"dead/right": right, "dead/wrong": dead - right}
