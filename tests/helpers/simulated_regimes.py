"""Kinds of sound runs: short and long ones, small and large groups, and runs that have little to learn."""

from __future__ import annotations

from collections.abc import Callable

from simulated_runs import Run, clean_run

__all__ = ["REGIMES", "sound_run"]


def sound_run(regime: str, seed: int) -> Run:
    """A sound run of one of ``REGIMES``."""
    run = clean_run(seed)
    REGIMES[regime](run)
    return run


def _mixed(_run: Run) -> None:
    """As they come."""


def _short(run: Run) -> None:
    run.steps = run.rng.randint(35, 80)


def _long(run: Run) -> None:
    run.steps = run.rng.randint(600, 1000)


def _small_groups(run: Run) -> None:
    run.prompts, run.group = run.rng.choice((2, 4)), 4


def _large_groups(run: Run) -> None:
    run.prompts, run.group = run.rng.choice((8, 16)), run.rng.choice((32, 64))


def _noisy(run: Run) -> None:
    """A judge's rewards: each with an error of its own."""
    run.noise = run.rng.uniform(0.1, 0.4)


def _quiet(run: Run) -> None:
    """Marks for parts of an answer."""
    run.graded = True


def _pruning(run: Run) -> None:
    """A few completions of each group train, so gradients are of fewer rows."""
    run.grad_noise = run.rng.uniform(0.5, 0.8)


def _dynamic(run: Run) -> None:
    """Groups are drawn until enough of them are alive."""
    run.rounds = run.rng.choice((3, 5))


def _fast(run: Run) -> None:
    run.middle, run.pace, run.gain = run.rng.uniform(5, 15), run.rng.uniform(2, 5), 5.0


def _slow(run: Run) -> None:
    run.middle, run.pace, run.gain = run.rng.uniform(100, 200), 60.0, run.rng.uniform(1.5, 3.0)
    run.steps = run.rng.randint(250, 400)


def _none(run: Run) -> None:
    """Nothing is learned, and nothing else is wrong: `no-learning` is true of it."""
    run.gain, run.entropy_left, run.growth = 0.0, run.rng.uniform(0.85, 1.0), 0.0
    run.skill, run.spread = run.rng.uniform(-1.0, 0.8), run.rng.uniform(0.5, 1.0)
    run.format_start = 1.0


def _converged(run: Run) -> None:
    """It learns for some tens of steps, and has then reached what it can."""
    run.cap = run.rng.uniform(0.5, 0.85)
    run.skill, run.gain = run.rng.uniform(-2.0, -1.0), run.rng.uniform(3.0, 5.0)
    run.middle, run.pace = run.rng.uniform(10, 40), run.rng.uniform(4, 10)
    run.steps = run.rng.randint(300, 500)


def _easy(run: Run) -> None:
    """From five sixths to nine tenths are right from the first step on; little is left to learn."""
    run.group, run.cap = run.rng.choice((8, 16)), 1.0
    run.skill, run.gain, run.spread = run.rng.uniform(1.7, 2.3), run.rng.uniform(0.0, 0.4), 0.7
    run.format_start = 1.0


REGIMES: dict[str, Callable[[Run], None]] = {
    "mixed": _mixed,
    "short": _short,
    "long": _long,
    "small groups": _small_groups,
    "large groups": _large_groups,
    "noisy rewards": _noisy,
    "graded rewards": _quiet,
    "pruning": _pruning,
    "dynamic sampling": _dynamic,
    "learns fast": _fast,
    "learns slowly": _slow,
    "learns nothing": _none,
    "converged": _converged,
    "easy set": _easy,
}
"""What is true of a run's numbers, and no fault."""
