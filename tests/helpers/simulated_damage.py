"""Further faults: of single rewards, of the optimiser, of texts and of time. See ``simulated_faults.py``."""

from __future__ import annotations

import math
from collections.abc import Callable

from simulated_runs import Run, State

__all__ = ["DAMAGE", "stands_still"]


def stands_still(run: Run) -> None:
    """Nothing is learned, so the policy does not become more certain either."""
    run.gain, run.entropy_left = 0.0, run.rng.uniform(0.7, 1.0)


def _silent_helper(run: Run) -> None:
    """One of two rewards reads nothing and says the same of all."""
    run.helper = run.rng.choice((0.1, 0.2))
    run.onset = 1
    run.form = run.rng.choice((0.0, 0.3))


def _not_finite(run: Run) -> None:
    def hurt(run: Run, step: int, state: State) -> None:
        state.skipped = 1.0

    run.hurt = hurt


def _dissolving(run: Run) -> None:
    """Entropy grows and answers get lost."""
    run.skill, run.gain, run.cap = run.rng.uniform(-0.5, 0.8), 0.0, 0.95
    run.entropy_left = 1.0
    run.onset = run.rng.randint(25, 100)
    final, pace = run.rng.uniform(1.5, 5.0), run.rng.uniform(5, 30)

    def hurt(run: Run, step: int, state: State) -> None:
        grown = 1 - math.exp(-(step - run.onset) / pace)
        state.entropy *= 1 + final * grown
        state.skill -= 2.5 * grown

    run.hurt = hurt


def _clipped(run: Run) -> None:
    share = run.rng.uniform(0.25, 0.7)

    def hurt(run: Run, step: int, state: State) -> None:
        state.clip = share * run.rng.uniform(0.85, 1.15)

    run.hurt = hurt


def _forgetting(run: Run) -> None:
    """What was learned is lost again, half of it or more."""
    run.skill, run.gain, run.cap = run.rng.uniform(-1.5, -0.5), 4.0, 0.95
    run.middle, run.pace, run.spread = run.rng.uniform(10, 30), 6.0, 0.8
    run.onset = run.rng.randint(90, 150)
    run.steps = run.onset + 150
    lost = run.rng.uniform(3.0, 4.5)

    def hurt(run: Run, step: int, state: State) -> None:
        state.skill -= lost * min((step - run.onset) / 20, 1.0)

    run.hurt = hurt


def _solving(run: Run) -> None:
    """No fault: the prompts are solved, and a note says so."""
    run.skill, run.gain, run.cap = run.rng.uniform(-1.5, -0.5), run.rng.uniform(5.5, 7.0), 1.0
    run.middle, run.pace, run.spread = run.rng.uniform(20, 60), 8.0, 0.7
    run.onset = 1


def _rejecting(run: Run) -> None:
    share = run.rng.uniform(0.13, 0.9)

    def hurt(run: Run, step: int, state: State) -> None:
        state.rejected = min(share * run.rng.uniform(0.85, 1.15), 1.0)

    run.hurt = hurt


def _looping(run: Run) -> None:
    """Completions go round in circles more and more."""
    run.saved = True
    run.onset = run.rng.randint(22, 120)
    final, pace = run.rng.uniform(0.35, 0.9), run.rng.uniform(3, 20)

    def hurt(run: Run, step: int, state: State) -> None:
        grown = 1 - math.exp(-(step - run.onset) / pace)
        state.repetition = min(state.repetition + final * grown, 1.0)

    run.hurt = hurt


def _endless(run: Run) -> None:
    """Right answers, and chatter behind them up to the limit."""
    run.saved = True
    share = run.rng.uniform(0.93, 1.0)

    def hurt(run: Run, step: int, state: State) -> None:
        state.best_cut = share
        state.truncated = min(share * run.rng.uniform(0.95, 1.0), 1.0)

    run.hurt = hurt


def _one_answer(run: Run) -> None:
    """The policy falls onto one answer."""
    run.saved = True
    stands_still(run)
    share, pace = run.rng.uniform(0.7, 1.0), run.rng.uniform(2, 15)
    began = run.skill

    def hurt(run: Run, step: int, state: State) -> None:
        grown = 1 - math.exp(-(step - run.onset) / pace)
        state.one_answer = share * grown * run.rng.uniform(0.95, 1.0)
        state.skill = began - 2 * grown

    run.hurt = hurt


def _jumping(run: Run) -> None:
    """One step in six has a gradient many times as large as usual."""
    run.onset = run.rng.randint(75, 120)
    size, run.grad_noise = run.rng.uniform(8, 40), run.rng.uniform(0.2, 0.5)
    run.spread = 1.0
    run.cap = min(run.cap, 0.9)

    def hurt(run: Run, step: int, state: State) -> None:
        if step % 6 == 0:
            state.grad *= size

    run.hurt = hurt


def _learning_nothing(run: Run) -> None:
    """A learning rate that moves nothing."""
    run.gain, run.entropy_left, run.growth = 0.0, run.rng.uniform(0.9, 1.0), 0.0
    run.onset, run.helper = 1, 0.0
    run.skill, run.spread = run.rng.uniform(-0.8, 0.5), run.rng.uniform(0.4, 0.8)


def _slow_sampler(run: Run) -> None:
    """Another program takes the machine, from the onset on."""
    run.onset = run.rng.randint(25, 120)
    run.growth = min(run.growth, 0.0)
    factor = run.rng.uniform(2.0, 6.0)

    def hurt(run: Run, step: int, state: State) -> None:
        state.slower *= factor

    run.hurt = hurt


def _slow_judge(run: Run) -> None:
    """The judge is a model on a busy machine."""
    run.pace_of_tokens = run.rng.uniform(100, 400)
    run.length = max(run.length, 30.0)
    times = run.rng.uniform(2.5, 20)

    def hurt(run: Run, step: int, state: State) -> None:
        state.scoring = times * run.rng.uniform(0.7, 1.4)

    run.hurt = hurt


DAMAGE: dict[str, Callable[[Run], None]] = {
    "constant-component": _silent_helper,
    "gradient-not-finite": _not_finite,
    "entropy-explosion": _dissolving,
    "clipping": _clipped,
    "reward-drop": _forgetting,
    "solved": _solving,
    "rejected-tokens": _rejecting,
    "repetition": _looping,
    "missing-end": _endless,
    "answer-collapse": _one_answer,
    "gradient-spikes": _jumping,
    "no-learning": _learning_nothing,
    "slow-generation": _slow_sampler,
    "slow-rewards": _slow_judge,
}
"""The finding that each fault is to be called by."""
