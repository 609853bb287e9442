"""Synthetic runs: sound ones of many kinds, and the same with one fault planted at a random step.

The numbers are those of ``metrics.jsonl``. Rewards and dead groups come from drawn completions:
prompts of different difficulty, a policy that gets better, G binary answers each. Shapes and noise
are those of real runs of the quickstart (64 short completions, entropy from 0.6 to 0.1 nats, up to
four fifths of the groups dead once it is solved) and of longer ones on sums and on maths.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

__all__ = ["FAULTS", "Run", "clean_run", "faulty_run"]


@dataclass
class Run:
    """The settings of one run, and the state that a fault may change from its onset on."""

    rng: random.Random
    steps: int
    prompts: int
    group: int
    skill: float
    gain: float
    middle: float
    pace: float
    spread: float
    format_start: float
    helper: float
    entropy: float
    entropy_left: float
    length: float
    growth: float
    gap: float
    kl: float | None
    truncated: float
    saved: bool
    evals: int | None
    cap: float = 0.97
    onset: int = 0
    strength: float = 1.0
    hurt: Callable[[Run, int, State], None] | None = None
    held_out: list[tuple[int, float]] = field(default_factory=list)

    def rows(self) -> Iterator[dict[str, Any]]:
        """A row a step, with one of an evaluation in between where the run evaluates."""
        for step in range(1, self.steps + 1):
            state = self._state(step)
            if self.hurt is not None and step >= self.onset:
                self.hurt(self, step, state)
            yield self._row(step, state)
            if self.evals and step % self.evals == 0:
                right = sum(self.rng.random() < state.held_out for _ in range(200))
                yield {"step": step, "accuracy": right / 200}

    def _state(self, step: int) -> State:
        progress = 1 / (1 + math.exp(-(step - self.middle) / self.pace))
        first = 1 / (1 + math.exp(-(1 - self.middle) / self.pace))
        progress = max((progress - first) / (1 - first), 0.0)
        skill = self.skill + self.gain * progress
        length = self.length * (1 + self.growth * progress) * math.exp(self.rng.gauss(0, 0.04))
        learned = 1 - math.exp(-step / 15)
        noisy = lambda deviation: math.exp(self.rng.gauss(0, deviation))  # noqa: E731
        entropy = self.entropy * (self.entropy_left + (1 - self.entropy_left) * (1 - progress))
        cap = self.cap
        return State(
            skill=skill,
            held_out=cap / (1 + math.exp(-(skill - 0.2) / math.hypot(1, self.spread / 1.7))),
            format=self.format_start + (1 - self.format_start) * learned,
            entropy=entropy * noisy(0.15),
            length=length,
            truncated=min(max(self.truncated * noisy(0.5), 0.0), 1.0),
            gap=self.gap * noisy(0.3) * (0.4 + 0.6 * entropy / self.entropy),
            kl=None if self.kl is None else self.kl * (progress + 0.02) * noisy(0.3),
            grad=0.2 * noisy(0.4),
            clip=0.004 * noisy(0.8),
            duplicates=min(0.9, 0.05 * noisy(0.5) + 0.8 * math.exp(-entropy * length / 3)),
            length_reward=max(min(self.rng.gauss(-0.05, 0.15), 1.0), -1.0),
        )

    def _row(self, step: int, state: State) -> dict[str, Any]:
        rng, count = self.rng, self.prompts * self.group
        rights: list[list[float]] = []
        totals: list[list[float]] = []
        forms: list[float] = []
        for _ in range(self.prompts):
            hard = rng.gauss(0, self.spread)
            chance = self.cap / (1 + math.exp(-(state.skill - hard)))
            right = [float(rng.random() < chance) for _ in range(self.group)]
            form = [float(one > 0 or rng.random() < state.format) for one in right]
            forms += form
            rights.append(right)
            totals.append(
                [(1 - self.helper) * r + self.helper * f for r, f in zip(right, form, strict=True)]
            )
        if state.total is not None:
            totals = [[state.total] * self.group for _ in totals]
            rights = [[state.total] * self.group for _ in totals]
        flat = [one for each in totals for one in each]
        flat = [
            one + state.bonus * self.rng.uniform(0.7, 1.3) if state.bonus else one for one in flat
        ]
        if state.bonus:
            totals = [[rng.random() for _ in range(self.group)] for _ in totals]
        right = [one for each in rights for one in each]
        row: dict[str, Any] = {"step": step, "abstained": state.abstained}
        if state.abstained < 1:
            row |= {"reward": _mean(flat), "reward_std": _spread(flat)}
            row |= _reward("number", right)
            if self.helper:
                row |= _reward("format", forms)
        dead = [each for each in totals if max(each) - min(each) < 1e-8]
        row["dead_groups"] = len(dead) / self.prompts
        row["dead_groups_high"] = sum(each[0] >= max(flat) - 1e-8 for each in dead) / self.prompts
        updates = int(len(dead) < self.prompts and state.abstained < 1)
        if updates:
            row["grad_norm"] = state.grad
        row |= {
            "optimizer_steps": updates,
            "failures": round(state.failed * count),
            "length/mean": state.length,
            "tokens": state.length * count,
            "truncated": round(state.truncated * count) / count,
            "entropy": state.entropy,
            "sampler_gap": state.gap,
            "clip_low": state.clip / 2,
            "clip_high": state.clip / 2,
            "skipped_steps": 0.0,
        }
        if state.kl is not None:
            row["kl"] = state.kl
        if self.saved:
            row |= {"duplicates": state.duplicates, "length_reward": state.length_reward}
        return row


@dataclass
class State:
    """What one step draws from."""

    skill: float
    held_out: float
    format: float
    entropy: float
    length: float
    truncated: float
    gap: float
    kl: float | None
    grad: float
    clip: float
    duplicates: float
    length_reward: float
    total: float | None = None
    bonus: float = 0.0
    abstained: float = 0.0
    failed: float = 0.0


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _spread(values: list[float]) -> float:
    if max(values) == min(values):
        return 0.0
    middle = _mean(values)
    return math.sqrt(max(sum([value * value for value in values]) / len(values) - middle**2, 0.0))


def _reward(name: str, values: list[float]) -> dict[str, float]:
    return {
        f"rewards/{name}/mean": _mean(values),
        f"rewards/{name}/std": _spread(values),
    }


def clean_run(seed: int) -> Run:
    """A sound run: fast or slow, short or long answers, with or without a helper reward."""
    rng = random.Random(seed)
    steps = rng.randint(200, 300)
    return Run(
        rng=rng,
        steps=steps,
        prompts=rng.choice((4, 4, 8, 8)),
        group=rng.choice((8, 8, 16)),
        skill=rng.uniform(-2.0, 0.5),
        gain=rng.uniform(1.0, 5.0),
        middle=rng.uniform(10, 120),
        pace=rng.uniform(6, 40),
        spread=rng.uniform(0.5, 2.0),
        format_start=rng.uniform(0.1, 1.0),
        helper=rng.choice((0.0, 0.1, 0.2)),
        entropy=rng.uniform(0.15, 1.5),
        entropy_left=rng.uniform(0.07, 0.8),
        length=math.exp(rng.uniform(math.log(8), math.log(600))),
        growth=rng.uniform(-0.2, 1.5),
        gap=math.exp(rng.uniform(math.log(1e-4), math.log(0.02))),
        kl=rng.choice((None, rng.uniform(0.01, 0.3))),
        truncated=rng.choice((0.0, rng.uniform(0, 0.05))),
        saved=rng.random() < 0.7,
        evals=rng.choice((None, 25, 50)),
        cap=rng.uniform(0.85, 1.0),
    )


def faulty_run(name: str, seed: int) -> Run:
    """A run with one of ``FAULTS``, from a random step on and at a random strength."""
    run = clean_run(seed)
    run.onset = run.rng.randint(1, 120)
    run.strength = run.rng.random()
    run.steps = max(run.steps, run.onset + 150)
    FAULTS[name](run)
    return run


def _stands_still(run: Run) -> None:
    """Nothing is learned, so the policy does not become more certain either."""
    run.gain, run.entropy_left = 0.0, run.rng.uniform(0.7, 1.0)


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
    _stands_still(run)

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
    _stands_still(run)
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
    _stands_still(run)
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
    _stands_still(run)

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
    _stands_still(run)
    run.spread, run.skill = 1.0, run.rng.uniform(-1.5, 1.0)

    def hurt(run: Run, step: int, state: State) -> None:
        state.grad = 0.0

    run.hurt = hurt


def _too_hard(run: Run) -> None:
    _stands_still(run)
    run.onset = 1
    run.skill, run.spread = run.rng.uniform(-6.5, -5.0), 0.7
    run.format_start = 1.0
    run.helper = run.rng.choice((0.0, 0.1))


def _too_easy(run: Run) -> None:
    _stands_still(run)
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
}
"""The finding that each fault is to be called by."""
