"""Groups that teach nothing, because all of their completions are equally right or wrong."""

from __future__ import annotations

from grpokit.diagnose.broken import all_equal
from grpokit.diagnose.evidence import Evidence, beyond, first_beyond, learned
from grpokit.diagnose.history import History

__all__ = ["all_right", "all_wrong", "solved_run"]

WARN = 0.6
STOP = 0.9
LONG = 50
"""Rows for which nearly all groups are dead before that is a reason to stop."""


def all_wrong(history: History) -> Evidence | None:
    """Most groups are all wrong, and the reward does not rise out of it."""
    return _dead(history, "dead/wrong", "dead-groups-wrong", "all wrong")


def all_right(history: History) -> Evidence | None:
    """Most groups are all right in a run that had nothing to learn from the start."""
    return (
        None if learned(history) else _dead(history, "dead/right", "dead-groups-right", "all right")
    )


def solved_run(history: History) -> Evidence | None:
    """The same in a run that has learned: it is done."""
    windows = beyond(history, "dead/right", WARN)
    if windows is None or not learned(history):
        return None
    return Evidence(
        name="solved",
        severity="note",
        value=windows[0].median,
        threshold=WARN,
        first=first_beyond(history, "dead/right", WARN),
        reach=windows[1].steps[0],
        waste="dead/right",
        fact=f"{windows[0].median:.0%} of the groups are all right: these prompts are solved",
    )


def _dead(history: History, series: str, name: str, what: str) -> Evidence | None:
    windows = beyond(history, series, WARN)
    if windows is None or all_equal(history):
        return None
    long = history.window(series, size=LONG)
    grave = long is not None and long.median >= STOP
    seen = long if grave and long is not None else windows[0]
    oldest = long if grave and long is not None else windows[1]
    if not grave and series == "dead/wrong" and _rising(history):
        return None
    value = seen.median
    return Evidence(
        name=name,
        severity="stop" if grave else "warn",
        value=value,
        threshold=STOP if grave else WARN,
        first=first_beyond(history, series, WARN),
        reach=oldest.steps[0],
        waste=series,
        fact=f"{value:.0%} of the groups are {what}",
    )


def _rising(history: History) -> bool:
    """Whether the reward that counts has climbed over the last fifty rows, or thirty."""
    name = history.goal or "reward"
    window = history.window(name, size=LONG) or history.window(name, size=30)
    return window is not None and window.slope().low > 0
