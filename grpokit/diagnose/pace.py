"""Time that goes elsewhere, gradients that jump, and a reward that does not move."""

from __future__ import annotations

import statistics

from grpokit.diagnose.evidence import Evidence, beyond, first_beyond
from grpokit.diagnose.history import BACK, WINDOW, History
from grpokit.diagnose.robust import mad

__all__ = ["gradient_spikes", "no_learning", "slow_generation", "slow_rewards"]

SOME, MOST = 0.2, 0.5
"""Share of a step's time that scoring takes: worth a note, and a warning."""
SECOND = 1.0
"""Seconds of scoring a step below which nobody minds."""
SLOWER = 0.6
"""Of the start's tokens a second."""
TALLER = 1.2
DEVIATIONS, TIMES = 8.0, 3.0
SPIKES = 4
LONG = 100
FOREVER = 150
"""Rows in which something should have been learned."""
EASY = 0.7
"""Of the reward's scale: who stands there from the start has little to learn."""
FLAT = 0.05
"""Change of reward since the start, in units of its scale, that is still called none."""
ALIVE = 0.5


def slow_rewards(history: History) -> Evidence | None:
    """Scoring takes a large share of each step; calls that ran out of time count as failures."""
    seconds = history.window("seconds/score")
    if seconds is None or seconds.mean < SECOND:
        return None
    windows = history.two("scoring")
    if windows is None:
        return None
    share = min(each.mean for each in windows)
    if share < SOME:
        return None
    limit = MOST if share >= MOST else SOME
    return Evidence(
        name="slow-rewards",
        severity="warn" if share >= MOST else "note",
        value=windows[0].mean,
        threshold=limit,
        first=first_beyond(history, "scoring", limit),
        reach=windows[1].steps[0],
        fact=f"rewards take {seconds.mean:.1f} s of a step, {windows[0].mean:.0%} of its time",
    )


def slow_generation(history: History) -> Evidence | None:
    """Completions are drawn at less than 0.6 of the start's pace, and they are not longer.

    By the time it takes as well as by tokens a second: few tokens are slow ones in any runtime.
    """
    start, pace = history.start("seconds/generate"), history.start("pace")
    longest, before = history.window("length/max"), history.start("length/max")
    if not start or not pace or longest is None or before is None:
        return None
    if longest.median > TALLER * before:
        return None
    windows = beyond(history, "seconds/generate", start / SLOWER)
    paces = history.two("pace")
    if windows is None or paces is None or max(each.median for each in paces) > SLOWER * pace:
        return None
    return Evidence(
        name="slow-generation",
        severity="warn",
        value=paces[0].median,
        threshold=SLOWER * pace,
        first=first_beyond(history, "seconds/generate", start / SLOWER),
        reach=windows[1].steps[0],
        fact=f"drawing a step's completions takes {windows[0].median:.1f} s, {start:.1f} s at the "
        f"start, at {paces[0].median:.0f} tokens a second instead of {pace:.0f}",
    )


def gradient_spikes(history: History) -> Evidence | None:
    """Four times in thirty rows the gradient jumps out of its range, and back at once.

    Its range is that of the hundred rows before: three medians, and eight robust deviations. One
    that stays higher is no spike; learning begins so.
    """
    recent = history.window("grad_norm", size=WINDOW + BACK)
    before = history.window("grad_norm", size=LONG - WINDOW - BACK, back=WINDOW + BACK)
    if recent is None or before is None:
        return None
    middle = statistics.median(before.values)
    limit = max(TIMES * middle, middle + DEVIATIONS * mad(before.values))
    around = (middle, *recent.values, middle)
    places = [
        place
        for place, value in enumerate(recent.values)
        if value > limit and max(around[place], around[place + 2]) <= limit
    ]
    if not limit or len(places) < SPIKES:
        return None
    value = max(recent.values[place] for place in places)
    return Evidence(
        name="gradient-spikes",
        severity="warn",
        value=value,
        threshold=limit,
        first=recent.steps[places[0]],
        reach=recent.steps[0],
        fact=f"the norm of the gradient jumped {len(places)} times in {len(recent.values)} steps, "
        f"up to {value:.3g}, where {middle:.3g} is usual",
    )


def no_learning(history: History) -> Evidence | None:
    """The reward stands where it began, its slope over 150 rows may be 0, and groups are alive.

    A run that has gained and stands still is done, and one that began near the top has little to
    learn.
    """
    name = history.goal or "reward"
    window, start = history.window(name, size=FOREVER), history.start(name)
    dead = history.window("dead_groups", size=FOREVER)
    if window is None or start is None or dead is None or dead.median >= ALIVE:
        return None
    now, flat = statistics.median(window.values[-WINDOW:]), FLAT * history.scale
    if now >= EASY * history.scale or abs(now - start) >= flat:
        return None
    slope = window.slope()
    if not slope.low <= 0 <= slope.high:
        return None
    return Evidence(
        name="no-learning",
        severity="warn",
        value=now - start,
        threshold=flat,
        first=window.steps[0],
        reach=window.steps[0],
        fact=f"the reward is {now:.3f} after {len(history.rows)} steps, and was {start:.3f} at the "
        "start",
    )
