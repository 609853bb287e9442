"""Axis ``select``: which completions train. Plain Python; there are few rows and no gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from grpokit.api import Advantages, ComponentError, Rollout, Scores, Selection, derive_seed
from grpokit_cppo.config import DEFAULT_RATE, PruneConfig

__all__ = ["Candidate", "Prune", "build", "quota", "ranked"]

TIE = 1e-6
"""Advantages whose relative difference is smaller are equal: they differ by rounding only."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One completion. ``lot`` is its random number, a hash of what it is for."""

    p: int
    g: int
    advantage: float
    valid: bool
    lot: int

    @property
    def row(self) -> tuple[int, int]:
        return (self.p, self.g)


KEYS: Mapping[str, Callable[[float], float]] = {
    "smallest": lambda advantage: -abs(advantage),
    "largest": abs,
    "smallest-raw": lambda advantage: -advantage,
    "largest-raw": lambda advantage: advantage,
    "random": lambda _: 0.0,
}
"""What is pruned -> a key whose lowest values stay."""


def ranked(pool: Sequence[Candidate], *, metric: str, by_lot: bool) -> list[Candidate]:
    """The candidates, those that stay longest first.

    Equal keys are ordered by place in the rollout or by lot. Completions without a score come last
    under every metric: their advantage of 0 is no measurement.
    """
    key = KEYS[metric]
    ordered = sorted(pool, key=lambda one: (not one.valid, key(one.advantage)))
    level, levels = 0, {one.row: 0 for one in ordered[:1]}
    for before, after in pairwise(ordered):
        low, high = key(before.advantage), key(after.advantage)
        equal = before.valid == after.valid and high - low <= TIE * max(abs(low), abs(high))
        level += not equal
        levels[after.row] = level
    by_lot = by_lot or metric == "random"
    return sorted(ordered, key=lambda one: (levels[one.row], one.lot if by_lot else 0, one.row))


def quota(config: PruneConfig, *, questions: int, group: int, place: str) -> int:
    """How many completions to ``questions`` questions stay: k = questions * group * (1 - rate).

    Raises:
        ComponentError: k is no whole number of at least 1, or more than there is.
    """
    problem = config.problem(questions=questions, group=group)
    if problem is not None:
        setting, fact, remedy = problem
        raise ComponentError(fact, place=f"{place}.{setting}", remedy=remedy)
    if config.keep is not None:
        return config.keep * questions
    return round(questions * group * (1 - (DEFAULT_RATE if config.rate is None else config.rate)))


@dataclass(frozen=True, kw_only=True)
class Prune:
    """Keeps the completions that teach most (CPPO, arXiv 2503.22342).

    I_q = the k completions of largest |A_i| of question q, k = G (1 - rate). Advantages are those of
    the whole group, neither computed again nor rescaled, so those that stay do not add up to 0.

    Rows keep the order of the rollout and have weight 1. Degenerate: under scope ``question`` a
    question without signal keeps its first k, unless ``drop_dead``; under the other scopes such rows
    rank last. A threshold that nobody reaches selects nothing, and nothing trains.
    """

    config: PruneConfig
    place: str = "algorithm.parts.select.with"

    def __call__(self, rollout: Rollout, scores: Scores, advantages: Advantages) -> Selection:
        del scores
        config = self.config
        groups = _candidates(rollout, advantages)
        dead_P: list[bool] = advantages.dead_P.tolist()
        skip = {p for p, dead in enumerate(dead_P) if dead} if config.drop_dead else set()
        pools = self._pools(groups)
        kept: set[tuple[int, int]] = set()
        for pool in pools:
            kept.update(one.row for one in self._best(pool) if one.p not in skip)
        rows = tuple(row for row in rollout.rows() if row in kept)
        all_rows = sum(len(group) for p, group in enumerate(groups) if p not in skip)
        return Selection(
            rows=rows,
            weights=(1.0,) * len(rows),
            denominator=len(rows) if config.normalise == "kept" else all_rows,
        )

    def _pools(self, groups: list[list[Candidate]]) -> list[list[Candidate]]:
        """The completions among which the rank is taken: one list a question, or a device."""
        config = self.config
        if config.scope == "question":
            return groups
        each, rest = divmod(len(groups), config.devices)
        if rest:
            raise ComponentError(
                f"{len(groups)} questions cannot be dealt to {config.devices} devices evenly",
                place=f"{self.place}.devices",
                remedy="set rollout.prompts to a multiple of devices",
            )
        firsts = range(0, len(groups), each) if each else ()
        return [
            [one for group in groups[first : first + each] for one in group] for first in firsts
        ]

    def _best(self, pool: Sequence[Candidate]) -> Sequence[Candidate]:
        config = self.config
        if config.metric == "threshold":
            assert config.gamma is not None
            return [one for one in pool if one.valid and abs(one.advantage) >= config.gamma]
        questions = len({one.p for one in pool})
        if not pool:
            return ()
        group = len(pool) // questions
        count = quota(config, questions=questions, group=group, place=self.place)
        return ranked(pool, metric=config.metric, by_lot=config.ties == "random")[:count]


def _candidates(rollout: Rollout, advantages: Advantages) -> list[list[Candidate]]:
    sampling = rollout.sampling
    advantages_PG: list[list[float]] = advantages.advantages_PG.tolist()
    valid_PG: list[list[bool]] = advantages.valid_PG.tolist()
    return [
        [
            Candidate(
                p=p,
                g=g,
                advantage=advantages_PG[p][g],
                valid=valid_PG[p][g],
                lot=derive_seed("cppo", sampling.seed, sampling.step, prompt.id, p, g),
            )
            for g in range(len(group))
        ]
        for p, (prompt, group) in enumerate(zip(rollout.prompts, rollout.completions, strict=True))
    ]


def build(config: PruneConfig) -> Prune:
    """What ``algorithm.parts.select: {use: cppo/prune}`` builds."""
    return Prune(config=config)
