"""A reward that rises while what it stands for does not."""

from __future__ import annotations

import statistics
from collections import Counter

from grpokit.diagnose.evidence import Evidence, first_beyond, gained
from grpokit.diagnose.history import WINDOW, History, Window
from grpokit.diagnose.robust import median_error
from grpokit.scoring.rank import spearman

__all__ = ["format_farming", "length_hacking", "overfitting"]

LONG = 100
"""Rows over which a reward has to stay flat."""
FLAT = 0.05
"""Change over LONG rows, in units of the reward, that is still called flat."""
RISE = 0.3
HIGH = 0.8
"""Of the reward that counts: one that is as good as this is allowed to stay."""
LONGER = 1.5
RANK = 0.6
EVALUATIONS = 4


def format_farming(history: History) -> Evidence | None:
    """Another reward rose by 0.3 and stayed there, and the one that counts is flat for 100 rows.

    Flat: it changed by less than 0.05, or its slope's 95 % interval includes 0; and it stands within
    0.05 of its start.
    """
    goal = history.goal
    if goal is None:
        return None
    for name in history.rewards:
        side = f"rewards/{name}/mean"
        start = history.start(side)
        if side == goal or start is None:
            continue
        before, now = history.window(side, back=LONG - WINDOW), history.window(side)
        if before is None or now is None or min(before.median, now.median) - start < RISE:
            continue
        gain = gained(history, goal)
        if gain is None or not _flat(history, goal):
            return None
        return Evidence(
            name="format-farming",
            severity="warn",
            subject=name,
            value=now.median - start,
            threshold=RISE,
            first=first_beyond(history, side, start + RISE),
            reach=before.steps[0],
            fact=f"the reward {name} rose from {start:.2f} to {now.median:.2f} while "
            f"{_short(goal)} changed by {gain:+.3f}",
        )
    return None


def _flat(history: History, name: str) -> bool:
    """Neither near the top, nor above its start, nor climbing over the last LONG rows."""
    window, gain = history.window(name, size=LONG), gained(history, name)
    if window is None or gain is None or gain >= FLAT:
        return False
    slope = window.slope()
    climbs = slope.low > 0 and slope.middle * (window.steps[-1] - window.steps[0]) >= FLAT / 2
    return not climbs and statistics.median(window.values[-WINDOW:]) < HIGH


def _short(series: str) -> str:
    return series.removeprefix("rewards/").removesuffix("/mean")


def length_hacking(history: History) -> Evidence | None:
    """Completions are half as long again, the reward goes with their length, and little else does.

    The reward goes with the length: the rank correlation within the steps (from saved rollouts) is
    0.6 or more, or else that of the steps' means. Little else: the evaluations did not rise, or
    without any the reward that counts, where others are added to it. Where neither is there, only
    the correlation within the steps can speak.
    """
    windows, start = history.two("length/mean"), history.start("length/mean")
    if windows is None or not start or min(w.median for w in windows) < LONGER * start:
        return None
    within = history.window("length_reward")
    rank = within.median if within is not None else _rank_of_means(history)
    if rank is None or rank < RANK or _improved(history, known=within is not None):
        return None
    now = windows[0].median
    return Evidence(
        name="length-hacking",
        severity="warn",
        value=now / start,
        threshold=LONGER,
        first=first_beyond(history, "length/mean", LONGER * start),
        reach=windows[1].steps[0],
        fact=f"completions went from {start:.0f} to {now:.0f} tokens, their rank correlation with "
        f"the reward is {rank:.2f}, and nothing else rose with it",
    )


def _rank_of_means(history: History) -> float | None:
    lengths, rewards = (history.window(n, size=LONG) for n in ("length/mean", "reward"))
    if lengths is None or rewards is None or lengths.steps != rewards.steps:
        return None
    return spearman(Counter(zip(lengths.values, rewards.values, strict=True)))


def _improved(history: History, *, known: bool) -> bool:
    """Whether answers got better. Nobody can tell where only the total is there; then ``known`` says."""
    held_out = history.known("held_out")
    if held_out is not None and len(held_out.values) >= 3:
        last = statistics.fmean(held_out.values[-2:])
        return last - held_out.values[0] >= FLAT
    goal = history.goal
    if goal is not None and len(history.rewards) > 1:
        gain = gained(history, goal)
        return gain is None or gain >= FLAT
    return not known


def overfitting(history: History) -> Evidence | None:
    """The reward in training went up by much more than the evaluations, twice in a row.

    The gap is the rise of the one less that of the other since the first evaluation, and less twice
    the error of the first. Evaluations that have gained half as much as the reward are only slower.
    """
    held_out, name = history.known("held_out"), history.goal or "reward"
    if held_out is None:
        held_out, name = history.known("held_out/reward"), "reward"
    train = history.known(name)
    if held_out is None or train is None or len(held_out.values) < EVALUATIONS:
        return None
    if train.steps[0] > held_out.steps[0]:
        return None
    base = _around(train, held_out.steps[0])
    gaps = [
        (step, (_around(train, step) - base) - (value - held_out.values[0]))
        for step, value in zip(held_out.steps, held_out.values, strict=True)
    ]
    gap = min(each for _, each in gaps[-2:]) - 2 * median_error(
        train.values[:WINDOW], train.values[-WINDOW:]
    )
    rise = statistics.fmean(held_out.values[-2:]) - held_out.values[0]
    if gap < 0.15 or rise > (_around(train, held_out.steps[-1]) - base) / 2:
        return None
    fallen = max(held_out.values) - statistics.fmean(held_out.values[-2:])
    grave = gap >= 0.3 and fallen >= FLAT
    limit = 0.3 if grave else 0.15
    return Evidence(
        name="over-fitting",
        severity="stop" if grave else "warn",
        value=gaps[-1][1],
        threshold=limit,
        first=next(step for step, each in gaps if each >= 0.15),
        reach=held_out.steps[-2],
        fact=f"since the first evaluation {_short(name)} has gained {gaps[-1][1]:.2f} more in "
        f"training than in evaluations, whose last is {held_out.values[-1]:.2f} and best "
        f"{max(held_out.values):.2f}",
    )


def _around(window: Window, step: int) -> float:
    """The median of the WINDOW values around a step: half of them after it, where they are there."""
    pairs = zip(window.steps, window.values, strict=True)
    return statistics.median([v for s, v in pairs if s <= step + WINDOW // 2][-WINDOW:])
