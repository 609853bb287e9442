"""Synthetic runs: sound ones of many kinds. ``simulated_faults.py`` plants faults into them.

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

__all__ = ["Run", "State", "clean_run"]


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
    loops: float
    bias: float
    rejected: float | None
    pace_of_tokens: float
    scoring: float
    cap: float = 0.97
    form: float | None = None
    noise: float = 0.0
    graded: bool = False
    rounds: int = 1
    grad_noise: float = 0.4
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
            grad=0.2 * noisy(self.grad_noise),
            clip=0.004 * noisy(0.8),
            duplicates=min(0.9, 0.05 * noisy(0.5) + 0.8 * math.exp(-entropy * length / 3)),
            length_reward=max(min(self.rng.gauss(-0.05, 0.15), 1.0), -1.0),
            repetition=min(self.loops * (1 + 0.5 * self.growth * progress) * noisy(0.3), 1.0),
            best_cut=min(self.truncated * noisy(0.8), 1.0),
            one_answer=min(self.bias * (1 - progress) * noisy(0.4), 1.0),
            rejected=None if self.rejected is None else min(self.rejected * noisy(0.6), 1.0),
            slower=noisy(0.08) * _hiccup(self.rng),
            scoring=self.scoring * noisy(0.3),
        )

    def _draw(self, state: State) -> tuple[list[list[float]], list[float], list[list[float]]]:
        """Right answers by group, formats of all completions, and totals by group."""
        rng = self.rng
        rights: list[list[float]] = []
        totals: list[list[float]] = []
        forms: list[float] = []
        for _ in range(self.prompts):
            hard = rng.gauss(0, self.spread)
            chance = self.cap / (1 + math.exp(-(state.skill - hard)))
            right = self._answers(chance)
            form = [float(one > 0 or rng.random() < state.format) for one in right]
            if self.form is not None:
                form = [self.form] * self.group
            forms += form
            rights.append(right)
            totals.append(
                [(1 - self.helper) * r + self.helper * f for r, f in zip(right, form, strict=True)]
            )
        if state.total is not None:
            totals = [[state.total] * self.group for _ in totals]
            rights = totals
        if self.noise:
            totals = [[one + rng.gauss(0, self.noise) for one in each] for each in totals]
        if state.bonus:
            totals = [
                [one + state.bonus * rng.uniform(0.7, 1.3) for one in each] for each in totals
            ]
        return rights, forms, totals

    def _answers(self, chance: float) -> list[float]:
        """Scores of a group: right or wrong, or the share of an answer's parts that are right."""
        if not self.graded:
            return [float(self.rng.random() < chance) for _ in range(self.group)]
        return [sum(self.rng.random() < chance for _ in range(10)) / 10 for _ in range(self.group)]

    def _rounds(self, state: State) -> tuple[list[list[float]], list[float], list[list[float]]]:
        """Draws until as many groups as wanted are alive, where the run does that."""
        rights, forms, totals = self._draw(state)
        for _ in range(self.rounds - 1):
            if sum(max(each) - min(each) > 1e-8 for each in totals) >= self.prompts:
                break
            more = self._draw(state)
            rights, forms, totals = rights + more[0], forms + more[1], totals + more[2]
        return rights, forms, totals

    def _row(self, step: int, state: State) -> dict[str, Any]:
        rights, forms, totals = self._rounds(state)
        prompts = len(totals)
        count = prompts * self.group
        flat = [one for each in totals for one in each]
        row: dict[str, Any] = {"step": step, "abstained": state.abstained}
        if state.abstained < 1:
            row |= {"reward": _mean(flat), "reward_std": _spread(flat)}
            row |= _reward("number", [one for each in rights for one in each])
            if self.helper:
                row |= _reward("format", forms)
        dead = [each for each in totals if max(each) - min(each) < 1e-8]
        row["dead_groups"] = len(dead) / prompts
        row["dead_groups_high"] = sum(each[0] >= max(flat) - 1e-8 for each in dead) / prompts
        updates = int(len(dead) < prompts and state.abstained < 1)
        if updates:
            row["grad_norm"] = state.grad
        generate = (0.3 + state.length * count / self.pace_of_tokens) * state.slower
        score = state.scoring * generate
        total = generate + score + updates * 0.8 * generate
        row["seconds"] = {"generate": generate, "score": score, "total": total}
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
            "skipped_steps": state.skipped,
            "length/max": min(state.length * 1.8, self.length * 4),
        }
        if state.skipped:
            row.pop("grad_norm", None)
        if state.rejected is not None:
            row["rejected"] = state.rejected
        if state.kl is not None:
            row["kl"] = state.kl
        if self.saved:
            names = ("duplicates", "length_reward", "repetition", "best_cut", "one_answer")
            row |= {name: getattr(state, name) for name in names}
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
    repetition: float
    best_cut: float
    one_answer: float
    rejected: float | None
    slower: float
    scoring: float
    skipped: float = 0.0
    total: float | None = None
    bonus: float = 0.0
    abstained: float = 0.0
    failed: float = 0.0


def _hiccup(rng: random.Random) -> float:
    """One step in fifty takes up to four times as long: a checkpoint, another program."""
    return rng.uniform(1.5, 4.0) if rng.random() < 0.02 else 1.0


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
        loops=rng.uniform(0.0, 0.15),
        bias=rng.uniform(0.0, 0.5),
        rejected=rng.choice((None, rng.uniform(0.0, 0.04))),
        pace_of_tokens=math.exp(rng.uniform(math.log(300), math.log(20_000))),
        scoring=math.exp(rng.uniform(math.log(0.001), math.log(0.4))),
    )
