"""What a monitor hands back, and the one way to compare two windows with a threshold."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from grpokit.diagnose.history import History, Window

__all__ = [
    "Evidence",
    "Monitor",
    "Severity",
    "at_top",
    "beyond",
    "first_beyond",
    "gained",
    "graded",
    "high",
    "learned",
    "solved",
]

Severity = Literal["note", "warn", "stop"]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Numbers that passed a threshold.

    Attributes:
        name: which finding; a key of ``findings.FINDINGS``.
        subject: the reward it is about, where there are several.
        value: what was measured, in the unit of ``fact``.
        threshold: what it passed.
        first: the first step of it.
        reach: the oldest step in the windows by which it was judged.
        waste: the series that says which share of a step's completions was lost; empty for all.
        fact: one sentence with the numbers.
    """

    name: str
    severity: Severity
    value: float
    threshold: float
    first: int
    reach: int
    fact: str
    subject: str = ""
    waste: str = ""


Monitor = Callable[[History], Evidence | None]

GAIN = 0.1
"""From the frozen start, in units of the reward: a run that gained this has learned something."""
SOLVED = 0.8
"""Of the reward that counts: from here on a run has little left to learn."""


def beyond(history: History, name: str, limit: float) -> tuple[Window, Window] | None:
    """Both windows, where the medians of both are at least ``limit``."""
    windows = history.two(name)
    if windows is None or min(each.median for each in windows) < limit:
        return None
    return windows


def first_beyond(history: History, name: str, limit: float) -> int:
    """The first step of the last stretch at or beyond the limit.

    The stretch goes back from the newest value while the median of five is beyond it.
    """
    known = history.known(name)
    assert known is not None
    size = 5
    place = len(known.values)
    while place > size and statistics.median(known.values[place - size : place]) >= limit:
        place -= 1
    start = max(place - size, 0)
    stretch = zip(known.steps[start:], known.values[start:], strict=True)
    return next((step for step, value in stretch if value >= limit), known.steps[-1])


def graded(
    history: History,
    series: str,
    *,
    name: str,
    warn: float,
    fact: Callable[[float], str],
    stop: float = float("inf"),
    waste: str = "",
) -> Evidence | None:
    """Evidence that both windows have reached the graver of two limits; ``fact`` says it of the newest median."""
    limits: tuple[tuple[Severity, float], ...] = (("stop", stop), ("warn", warn))
    for severity, limit in limits:
        windows = beyond(history, series, limit)
        if windows is not None:
            return Evidence(
                name=name,
                severity=severity,
                value=windows[0].median,
                threshold=limit,
                first=first_beyond(history, series, limit),
                reach=windows[1].steps[0],
                waste=waste,
                fact=fact(windows[0].median),
            )
    return None


def gained(history: History, name: str = "reward") -> float | None:
    """How far the newest window's median is above the frozen start."""
    window, start = history.window(name), history.start(name)
    return None if window is None or start is None else window.median - start


def learned(history: History) -> bool:
    """Whether the reward that counts is well above the run's first five rows.

    By GAIN, or by half of what was missing there; who began at 0.9 had little to learn.
    """
    name = history.goal or "reward"
    known, window = history.known(name), history.window(name)
    if known is None or window is None:
        return False
    first = statistics.median(known.values[:5])
    needed = min(GAIN, (1.0 - first) / 2) if first < 0.9 else GAIN
    return window.median - first >= needed


def at_top(history: History) -> bool:
    """Whether the reward that counts is near the top of a scale from 0 to 1, and was learned."""
    return high(history) and learned(history)


def high(history: History) -> bool:
    """Whether the reward that counts is near the top of a scale from 0 to 1."""
    window = history.window(history.goal or "reward")
    return window is not None and SOLVED <= window.median <= 1.0


def solved(history: History) -> bool:
    """At the top, or with half of the groups all right, after learning."""
    right = history.window("dead/right")
    return at_top(history) or (right is not None and right.median >= 0.5 and learned(history))
