"""Rewards and gradients that are no numbers, never vary, or never reach the weights."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from grpokit.diagnose.evidence import Evidence, at_top, gained
from grpokit.diagnose.history import BACK, WINDOW, History
from grpokit.diagnose.rows import StepRow

__all__ = [
    "abstentions",
    "all_equal",
    "constant_component",
    "constant_reward",
    "failures",
    "frozen_weights",
    "no_gradient",
    "no_reward",
    "saturated_component",
]

IN_A_ROW = 3
"""Steps without any reward, or without a finite gradient, that are enough by themselves."""
VARIES = 0.02
"""Standard deviation of a component below which it says the same of every completion."""
EQUAL = 1e-6
TOP = 0.95


def no_reward(history: History) -> Evidence | None:
    """Three steps in a row in which no completion had a reward; steps that drew none are left out."""
    last = _last(history, lambda row: _told(row, "reward") or row.values.get("abstained", 0.0) > 0)
    if len(last) < IN_A_ROW or any("reward" in row.values for row in last):
        return None
    failed = any(row.values.get("failed", 0.0) > 0 or "reward" in row.odd for row in last)
    return Evidence(
        name="reward-failures" if failed else "abstentions",
        severity="stop",
        value=1.0,
        threshold=1.0,
        first=last[-1].step,
        reach=last[-1].step,
        fact=f"no completion has had a reward for {IN_A_ROW} steps",
    )


def no_gradient(history: History) -> Evidence | None:
    """Three steps in a row whose gradient was not finite; steps without an update are left out."""
    last = _last(history, lambda row: _told(row, "grad_norm") or _skipped(row))
    if len(last) < IN_A_ROW or not all("grad_norm" in r.odd or _skipped(r) for r in last):
        return None
    return Evidence(
        name="gradient-not-finite",
        severity="stop",
        value=float(len(last)),
        threshold=float(IN_A_ROW),
        first=last[-1].step,
        reach=last[-1].step,
        fact=f"the gradient was not finite for {IN_A_ROW} steps",
    )


def _last(history: History, wanted: Callable[[StepRow], bool]) -> list[StepRow]:
    """The newest IN_A_ROW rows that say something, the newest first; of the last fifty."""
    recent = itertools.islice(reversed(history.rows), 50)
    return list(itertools.islice(filter(wanted, recent), IN_A_ROW))


def _told(row: StepRow, name: str) -> bool:
    return name in row.values or name in row.odd


def _skipped(row: StepRow) -> bool:
    return row.values.get("skipped_steps", 0.0) > 0


def failures(history: History) -> Evidence | None:
    """Rewards that raised, ran out of time or returned no finite number."""
    return _frequent(
        history,
        "failed",
        name="reward-failures",
        limits=(0.01, 0.5),
        fact=lambda value: f"rewards failed {value:.2f} times a completion",
    )


def abstentions(history: History) -> Evidence | None:
    """Completions that no reward would judge, failures left out."""
    failed = history.window("failed")
    return _frequent(
        history,
        "abstained",
        name="abstentions",
        limits=(0.05, 0.5),
        less=failed.mean if failed else 0.0,
        fact=lambda value: f"{value:.0%} of the completions had no reward",
    )


def _frequent(
    history: History,
    series: str,
    *,
    name: str,
    limits: tuple[float, float],
    fact: Callable[[float], str],
    less: float = 0.0,
) -> Evidence | None:
    """Evidence that a share, by its mean in both windows and ``less`` subtracted, has reached a limit to warn or to stop."""
    windows = history.two(series)
    if windows is None:
        return None
    share = min(each.mean for each in windows) - less
    reached = [limit for limit in limits if share >= limit]
    if not reached:
        return None
    return Evidence(
        name=name,
        severity="stop" if len(reached) == 2 else "warn",
        value=windows[0].mean,
        threshold=reached[-1],
        first=_first_above(history, series),
        reach=windows[1].steps[0],
        waste=series,
        fact=fact(windows[0].mean),
    )


def _first_above(history: History, name: str) -> int:
    """The first step of the whole run at which a number was above 0."""
    known = history.known(name)
    assert known is not None
    found = zip(known.steps, known.values, strict=True)
    return next(step for step, value in found if value > 0)


def constant_reward(history: History) -> Evidence | None:
    """Every completion of thirty steps got one and the same total."""
    rows = WINDOW + BACK
    if not all_equal(history, rows) or at_top(history):
        return None
    known = history.window("reward", size=rows)
    assert known is not None
    level = known.values[-1]
    return Evidence(
        name="constant-reward",
        severity="stop",
        value=level,
        threshold=EQUAL,
        first=_since_equal(history, "reward_std"),
        reach=known.steps[0],
        fact=f"every completion gets the reward {level:.4g}",
    )


def all_equal(history: History, rows: int = BACK) -> bool:
    """Whether the last rows have one total for all completions, the same in every row."""
    spread, level = (history.window(name, size=rows) for name in ("reward_std", "reward"))
    if spread is None or level is None:
        return False
    return max(spread.values) <= EQUAL and max(level.values) - min(level.values) <= EQUAL


def _since_equal(history: History, name: str, limit: float = EQUAL) -> int:
    """The first step of the last stretch without spread."""
    known = history.known(name)
    assert known is not None
    first = known.steps[-1]
    for step, value in zip(reversed(known.steps), reversed(known.values), strict=True):
        if value > limit:
            break
        first = step
    return first


def constant_component(history: History) -> Evidence | None:
    """One of several rewards says the same of every completion, and that is not full marks."""
    for name in [] if all_equal(history) else _without_spread(history, share=1.0):
        level = history.window(f"rewards/{name}/mean")
        if level is not None and not _full_marks(history, name, level.median):
            return Evidence(
                name="constant-component",
                severity="warn",
                subject=name,
                value=level.median,
                threshold=VARIES,
                first=_since_equal(history, f"rewards/{name}/std", VARIES),
                reach=level.steps[0],
                fact=f"the reward {name} is {level.median:.4g} for every completion",
            )
    return None


def saturated_component(history: History) -> Evidence | None:
    """One of several rewards gives every completion full marks: done, and no longer a teacher."""
    for name in _without_spread(history, share=0.9):
        level = history.window(f"rewards/{name}/mean")
        if level is not None and _full_marks(history, name, level.median):
            return Evidence(
                name="saturated-component",
                severity="note",
                subject=name,
                value=level.median,
                threshold=TOP,
                first=_since_equal(history, f"rewards/{name}/std", VARIES),
                reach=level.steps[0],
                fact=f"the reward {name} gives every completion {level.median:.4g}",
            )
    return None


def _without_spread(history: History, *, share: float) -> list[str]:
    """Rewards, of several, whose spread was below VARIES in this share of two windows' rows."""
    names = history.rewards
    found = []
    for name in names if len(names) > 1 else ():
        windows = history.two(f"rewards/{name}/std")
        if windows is None:
            continue
        values = [value for each in windows for value in each.values]
        if sum(value < VARIES for value in values) >= share * len(values):
            found.append(name)
    return found


def _full_marks(history: History, name: str, level: float) -> bool:
    """At 0.95 or more, or at the most that it has ever given on average."""
    known = history.known(f"rewards/{name}/mean")
    gain = gained(history, f"rewards/{name}/mean")
    best = known is not None and level >= max(known.values) - VARIES
    return level >= TOP or (best and gain is not None and gain >= 0.1)


def frozen_weights(history: History) -> Evidence | None:
    """The gradient is exactly 0 in steps that have something to teach."""
    return _frequent(
        history,
        "stuck",
        name="frozen-weights",
        limits=(0.2, 0.7),
        fact=lambda value: (
            f"the gradient was exactly 0 in {value:.0%} of the steps with live groups"
        ),
    )
