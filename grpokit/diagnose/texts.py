"""What saved rollouts say of the completions themselves: loops, ends that are missing, one answer for all."""

from __future__ import annotations

from grpokit.diagnose.evidence import GAIN, Evidence, beyond, first_beyond, gained, graded
from grpokit.diagnose.history import History

__all__ = ["answer_collapse", "missing_end", "repetition"]

LOOPS, MORE = 0.25, 0.2
"""Share of repeated runs of words, and its growth since the start, that are worth a warning."""
ENDLESS = 0.6
GOES_ON = 0.9
ONE, ONLY = 0.6, 0.9


def repetition(history: History) -> Evidence | None:
    """Completions say again what they have said: a quarter of it, and more than at the start.

    Or three fifths of it whatever the start; then there is a reason to stop if nothing is gained.
    """
    start = history.start("repetition")
    if start is None:
        return None
    warn = min(max(LOOPS, start + MORE), ENDLESS)
    stop = float("inf") if _gains(history) else ENDLESS
    return graded(
        history,
        "repetition",
        name="repetition",
        warn=warn,
        stop=stop,
        fact=lambda value: (
            f"{value:.0%} of the runs of four words in a completion stand in it "
            f"already, {start:.0%} at the start"
        ),
    )


def missing_end(history: History) -> Evidence | None:
    """The best completions of nearly every step go on until the limit of tokens cuts them.

    What is best has its answer, so the limit is not too short for it: it does not know how to end.
    """
    windows = beyond(history, "best_cut", GOES_ON)
    if windows is None:
        return None
    return Evidence(
        name="missing-end",
        severity="warn",
        value=windows[0].median,
        threshold=GOES_ON,
        first=first_beyond(history, "best_cut", GOES_ON),
        reach=windows[1].steps[0],
        waste="truncated",
        fact=f"{windows[0].median:.0%} of the completions with the step's highest reward ran into "
        "the limit of tokens: they do not end when they are done",
    )


def answer_collapse(history: History) -> Evidence | None:
    """One completion for prompts whose answers differ, and no gain of reward that excuses it."""
    if _gains(history):
        return None
    return graded(
        history,
        "one_answer",
        name="answer-collapse",
        warn=ONE,
        stop=ONLY,
        waste="one_answer",
        fact=lambda value: (
            f"one and the same completion answers different prompts: {value:.0%} of "
            "the way from what the right answers have in common to all of them"
        ),
    )


def _gains(history: History) -> bool:
    gain = gained(history)
    return gain is not None and gain >= GAIN * history.scale
