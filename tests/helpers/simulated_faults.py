"""Synthetic runs with one fault, planted at a random step and of random strength."""

from __future__ import annotations

import math
from collections.abc import Callable

from simulated_damage import DAMAGE, stands_still
from simulated_runs import Run, State, clean_run

__all__ = ["FAULTS", "faulty_run"]


def faulty_run(name: str, seed: int) -> Run:
    """A run with one of ``FAULTS``, from a random step on and at a random strength."""
    run = clean_run(seed)
    run.onset = run.rng.randint(1, 120)
    run.strength = run.rng.random()
    run.steps = max(run.steps, run.onset + 150)
    FAULTS[name](run)
    return run


def _failing(run: Run) -> None:
    share = 0.05 + 0.95 * run.strength

    def hurt(run: Run, step: int, state: State) -> None:
        state.failed = share if share < 0.97 else 1.0
        state.abstained = state.failed

    run.hurt = hurt


def _abstaining(run: Run) -> None:
    def hurt(run: Run, step: int, state: State) -> None:
        state.abstained = 0.1 + 0.9 * run.strength

    run.hurt = hurt


def _constant(run: Run) -> None:
    """The total no longer depends on the answer."""
    level = run.rng.choice((0.0, 0.1, 0.5))
    stands_still(run)

    def hurt(run: Run, step: int, state: State) -> None:
        state.total = level

    run.hurt = hurt


def _saturated(run: Run) -> None:
    """The helper gives every completion full marks."""
    run.helper = max(run.helper, 0.1)

    def hurt(run: Run, step: int, state: State) -> None:
        state.format = 1.0

    run.hurt = hurt


def _farming(run: Run) -> None:
    """The helper is learned from the onset on, and nothing else."""
    stands_still(run)
    run.helper = run.rng.uniform(0.2, 0.6)
    run.skill = run.rng.uniform(-2.5, -0.8)
    run.onset = run.rng.randint(20, 100)
    run.steps = run.onset + 200
    run.format_start = run.rng.uniform(0.05, 0.3)
    end = run.format_start + run.rng.uniform(0.5, 0.7)
    pace = run.rng.uniform(5, 30)

    onset, run.onset, before = run.onset, 1, run.format_start

    def hurt(run: Run, step: int, state: State) -> None:
        grown = 1 - math.exp(-max(step - onset, 0) / pace)
        state.format = before + (end - before) * grown

    run.hurt = hurt


def _lengthening(run: Run) -> None:
    """Completions and total grow together; answers stay as they are."""
    stands_still(run)
    run.onset = run.rng.randint(25, 100)
    run.steps = run.onset + 180
    run.growth = 0.0
    run.evals = run.rng.choice((None, 25))
    run.saved = run.saved or not (run.helper or run.evals)
    final, pace = run.rng.uniform(1.0, 3.0), run.rng.uniform(20, 60)

    def hurt(run: Run, step: int, state: State) -> None:
        grown = 1 - math.exp(-(step - run.onset) / pace)
        state.length *= 1 + final * grown
        state.bonus = 0.5 * grown + 0.01
        state.length_reward = min(run.rng.gauss(0.8, 0.08), 1.0)

    run.hurt = hurt


def _collapsing(run: Run) -> None:
    """Entropy falls within tens of steps to a fraction, and learning ends there."""
    left, pace = run.rng.uniform(0.01, 0.15), run.rng.uniform(2, 12)
    run.cap, run.gain = min(run.cap, 0.9), run.rng.uniform(0.0, 1.0)
    run.skill = run.rng.uniform(-2.0, -0.3)
    run.onset = run.rng.randint(20, 120)
    run.entropy_left = run.rng.uniform(0.6, 1.0)
    stopped: list[float] = []

    def hurt(run: Run, step: int, state: State) -> None:
        stopped.append(state.skill)
        state.skill = stopped[0]
        state.entropy *= left + (1 - left) * math.exp(-(step - run.onset) / pace)

    run.hurt = hurt


def _diverging(run: Run) -> None:
    run.kl = run.rng.uniform(0.005, 0.1)
    run.onset = run.rng.randint(25, 120)
    pace, final = run.rng.uniform(5, 30), run.rng.uniform(1.0, 20.0)

    def hurt(run: Run, step: int, state: State) -> None:
        assert state.kl is not None
        state.kl += final * (1 - math.exp(-(step - run.onset) / pace)) * run.rng.uniform(0.8, 1.2)

    run.hurt = hurt


def _mismatched(run: Run) -> None:
    extra = run.rng.uniform(0.07, 0.5)

    def hurt(run: Run, step: int, state: State) -> None:
        state.gap += extra * run.rng.uniform(0.7, 1.3)

    run.hurt = hurt


def _truncating(run: Run) -> None:
    """Completions are cut off, and answers with them."""
    share = run.rng.uniform(0.2, 0.9)
    stands_still(run)

    def hurt(run: Run, step: int, state: State) -> None:
        state.truncated = share * run.rng.uniform(0.8, 1.1)
        state.skill -= 2 * share

    run.hurt = hurt


def _repeating(run: Run) -> None:
    """The sampler draws with the same seed."""
    run.saved = True
    run.entropy, run.length = run.rng.uniform(0.3, 1.5), run.rng.uniform(60, 600)
    run.entropy_left = run.rng.uniform(0.4, 0.9)
    share = run.rng.uniform(0.45, 0.94)

    def hurt(run: Run, step: int, state: State) -> None:
        state.duplicates = min(share * run.rng.uniform(0.9, 1.1), 0.94)

    run.hurt = hurt


def _frozen(run: Run) -> None:
    stands_still(run)
    run.spread, run.skill = 1.0, run.rng.uniform(-1.5, 1.0)

    def hurt(run: Run, step: int, state: State) -> None:
        state.grad = 0.0

    run.hurt = hurt


def _too_hard(run: Run) -> None:
    stands_still(run)
    run.onset = 1
    run.skill, run.spread = run.rng.uniform(-6.5, -5.0), 0.7
    run.format_start = 1.0
    run.helper = run.rng.choice((0.0, 0.1))


def _too_easy(run: Run) -> None:
    stands_still(run)
    run.onset = 1
    run.skill, run.spread, run.cap = run.rng.uniform(5.0, 6.5), 0.7, 1.0
    run.format_start = 1.0


def _memorising(run: Run) -> None:
    """Training gets better, evaluations do not or get worse."""
    run.evals = 25
    run.skill, run.gain, run.spread = run.rng.uniform(-1.5, -0.5), run.rng.uniform(2.5, 4.0), 1.0
    run.middle, run.pace = run.rng.uniform(60, 120), 20.0
    run.onset = 1
    chance, loss = run.rng.uniform(0.2, 0.5), run.rng.uniform(0.0, 0.001)

    def hurt(run: Run, step: int, state: State) -> None:
        state.held_out = max(chance - loss * step, 0.05)

    run.hurt = hurt


FAULTS: dict[str, Callable[[Run], None]] = {
    "reward-failures": _failing,
    "abstentions": _abstaining,
    "constant-reward": _constant,
    "saturated-component": _saturated,
    "format-farming": _farming,
    "length-hacking": _lengthening,
    "entropy-collapse": _collapsing,
    "kl-blow-up": _diverging,
    "sampler-mismatch": _mismatched,
    "truncation": _truncating,
    "duplicates": _repeating,
    "frozen-weights": _frozen,
    "dead-groups-wrong": _too_hard,
    "dead-groups-right": _too_easy,
    "over-fitting": _memorising,
    **DAMAGE,
}
"""The finding that each fault is to be called by."""
