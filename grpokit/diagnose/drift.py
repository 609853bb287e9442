"""Entropy, divergence, clipping, the sampler, truncation and repeats."""

from __future__ import annotations

import statistics

from grpokit.diagnose.evidence import (
    GAIN,
    Evidence,
    beyond,
    first_beyond,
    gained,
    graded,
    high,
    solved,
)
from grpokit.diagnose.history import WINDOW, History
from grpokit.diagnose.robust import median_error

__all__ = [
    "clipping",
    "divergence",
    "duplicates",
    "entropy_collapse",
    "entropy_explosion",
    "rejected_tokens",
    "reward_drop",
    "sampler_gap",
    "truncation",
]

FALLEN, GONE = 0.3, 0.1
"""Share of the start's entropy that is left: worth a warning, and a reason to stop."""
SLOW = 60
NO_GAIN = 0.05
"""Reward that a fall of entropy has to earn, or it is a collapse; half again is enough for a low one."""


def entropy_collapse(history: History) -> Evidence | None:
    """Entropy fell to less than a third of the start's while the reward earned nothing for it.

    A run that learns loses entropy too: its reward rises meanwhile, or the fall is slow (more than
    SLOW rows to a third) and the reward has gained since the start, or the task is solved, or was
    easy: who is right may be certain.
    """
    windows, start = history.two("entropy"), history.start("entropy")
    if windows is None or not start or solved(history) or high(history):
        return None
    left = max(each.median for each in windows) / start
    fall = _fall(history, 3 * windows[0].median) if left <= FALLEN else None
    if fall is None:
        return None
    rows, before, earned = fall
    enough = min(NO_GAIN * history.scale, max(abs(before) / 2, NO_GAIN / 2))
    gain = gained(history) or 0.0
    if earned >= enough or (rows > SLOW and gain >= GAIN * history.scale):
        return None
    grave = left <= GONE
    return Evidence(
        name="entropy-collapse",
        severity="stop" if grave else "warn",
        value=windows[0].median,
        threshold=(GONE if grave else FALLEN) * start,
        first=_first_below(history, "entropy", FALLEN * start),
        reach=windows[1].steps[0],
        fact=f"entropy is {windows[0].median:.3g} nats, {windows[0].median / start:.0%} of the "
        f"start's {start:.3g}, and the reward changed by at most {earned:+.3f} meanwhile",
    )


def _fall(history: History, level: float) -> tuple[int, float, float] | None:
    """Rows since entropy was last at ``level``, the reward there, and what it may have gained since.

    Since the first rows where entropy was never there. It may: an error more than was measured, for
    few completions a step are a noisy reward.
    """
    entropy, reward = history.known("entropy"), history.known("reward")
    now = history.window("reward")
    if entropy is None or reward is None or now is None:
        return None
    places = range(len(entropy.values) - 1, 4, -1)
    high = (p for p in places if sorted(entropy.values[p - 4 : p + 1])[2] >= level)
    place = next(high, 0)
    end = entropy.steps[place]
    before = [v for s, v in zip(reward.steps, reward.values, strict=True) if s <= end][-WINDOW:]
    before = before if len(before) >= 5 else list(reward.values[:5])
    level = statistics.median(before)
    most = now.median - level + median_error(before, now.values)
    return len(entropy.values) - place, level, most


def _first_below(history: History, name: str, limit: float) -> int:
    known = history.known(name)
    assert known is not None
    first = known.steps[-1]
    above = 0
    for step, value in zip(reversed(known.steps), reversed(known.values), strict=True):
        above = above + 1 if value > limit else 0
        if above == 3:
            break
        if value <= limit:
            first = step
    return first


def entropy_explosion(history: History) -> Evidence | None:
    """Entropy is twice the start's or more, and the reward is below the start's."""
    start, lost = history.start("entropy"), gained(history)
    if not start or lost is None or lost > -NO_GAIN * history.scale:
        return None
    return graded(
        history,
        "entropy",
        name="entropy-explosion",
        warn=2 * start,
        stop=4 * start,
        fact=lambda value: (
            f"entropy is {value:.3g} nats, {value / start:.1f} times the start's, "
            f"and the reward has lost {-lost:.3f}"
        ),
    )


def divergence(history: History) -> Evidence | None:
    """KL to the reference beyond 8 times the start's and 0.5 nats, or beyond 2.0 whatever the start.

    With 2.0 nats a token and no gain of reward there is no reason to go on.
    """
    start = history.start("kl")
    if start is None:
        return None
    limit = min(max(8 * start, 0.5), 2.0)
    windows = beyond(history, "kl", limit)
    if windows is None:
        return None
    gain = gained(history)
    grave = (
        windows[0].median >= max(2.0, limit) and gain is not None and gain < NO_GAIN * history.scale
    )
    return Evidence(
        name="kl-blow-up",
        severity="stop" if grave else "warn",
        value=windows[0].median,
        threshold=2.0 if grave else limit,
        first=first_beyond(history, "kl", limit),
        reach=windows[1].steps[0],
        fact=f"the divergence from the reference is {windows[0].median:.3g} nats a token, "
        f"{start:.3g} at the start",
    )


def clipping(history: History) -> Evidence | None:
    """Tokens whose ratio was clipped, on both sides together."""
    return graded(
        history,
        "clipped",
        name="clipping",
        warn=0.2,
        stop=0.4,
        fact=lambda value: f"{value:.0%} of the tokens had their ratio clipped",
    )


def sampler_gap(history: History) -> Evidence | None:
    """The sampler's log-probabilities are not the trainer's.

    A small model in bfloat16 was measured at up to 0.03 in sound runs, so the warning needs 0.05, or
    0.02 and three times the run's own start.
    """
    start = history.start("sampler_gap")
    if start is None:
        return None
    return graded(
        history,
        "sampler_gap",
        name="sampler-mismatch",
        warn=max(0.02, min(0.05, 3 * start)),
        stop=0.1,
        fact=lambda value: (
            f"sampler and trainer differ by {value:.3g} nats a token, {start:.3g} at the start"
        ),
    )


def rejected_tokens(history: History) -> Evidence | None:
    """Tokens that the correction leaves out, as sampler and trainer differ too much on them.

    The longer a completion is, the sooner the product over its tokens is outside of all bounds.
    """
    return graded(
        history,
        "rejected",
        name="rejected-tokens",
        warn=0.1,
        stop=0.5,
        waste="rejected",
        fact=lambda value: f"the correction leaves {value:.0%} of the tokens out of the update",
    )


def truncation(history: History) -> Evidence | None:
    """Completions that ran into the limit of tokens.

    While the reward has gained, what is cut off does not matter much (an answer, and chatter after
    it): then it takes more than half of them, and is no reason to stop.
    """
    gain = gained(history)
    learns = gain is not None and gain >= GAIN * history.scale
    stop, warn = (float("inf"), 0.5) if learns else (0.3, 0.1)
    return graded(
        history,
        "truncated",
        name="truncation",
        warn=warn,
        stop=stop,
        waste="truncated",
        fact=lambda value: f"{value:.0%} of the completions ran into the limit of tokens",
    )


def duplicates(history: History) -> Evidence | None:
    """Equal completions in a group although the policy's entropy leaves room for many."""
    windows = beyond(history, "repeats", 0.35)
    if windows is None:
        return None
    return Evidence(
        name="duplicates",
        severity="warn",
        value=windows[0].median,
        threshold=0.35,
        first=first_beyond(history, "repeats", 0.35),
        reach=windows[1].steps[0],
        waste="repeats",
        fact=f"{windows[0].median:.0%} of the completions repeat another one of their group, "
        "and the entropy says that they should not",
    )


def reward_drop(history: History) -> Evidence | None:
    """The reward has fallen by a fifth of its scale and a third of itself from the best window it ever had.

    And by five errors of a window's median: the best of many windows is partly luck.
    """
    best, windows = history.best("reward"), history.two("reward")
    if best is None or windows is None:
        return None
    error = 5 * median_error(windows[0].values)
    limit = best - max(0.2 * history.scale, abs(best) / 3, error)
    now = max(each.median for each in windows)
    if now > limit:
        return None
    return Evidence(
        name="reward-drop",
        severity="warn",
        value=windows[0].median,
        threshold=limit,
        first=_first_below(history, "reward", limit),
        reach=windows[1].steps[0],
        fact=f"the reward is {windows[0].median:.3f}; it was {best:.3f}",
    )
