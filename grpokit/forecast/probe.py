"""A recipe before it trains: its model on real questions of its data set, and what follows from that.

The questions are those of the first ten steps of the walk, a random part of them where they are more than are
asked for. So the forecast of these steps is about their own questions; and where the walk is shuffled they are
a random part of the data set as well. Samples have seeds of their own: no completion of the run is drawn here.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from grpokit.algorithms import Composition
from grpokit.algorithms.allocate import Rounds
from grpokit.compose.prompts import make_prompts
from grpokit.engine.loop import Loop
from grpokit.engine.observer import Observer
from grpokit.engine.ranks import Ranks
from grpokit.engine.session import make_loop
from grpokit.engine.signals import StopFlag
from grpokit.errors import PreflightError
from grpokit.evaluate.run import Progress
from grpokit.forecast.dead import dead_share
from grpokit.forecast.predict import Horizon, Share, learning_rates, predict
from grpokit.forecast.sample import Asked, Asker, Passing, Question, passing_of
from grpokit.spec.contracts import owns_loop
from grpokit.spec.flow import Scores
from grpokit.spec.seeds import derive_seed

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog
    from grpokit.spec.recipe import Recipe

__all__ = ["FIRST", "GROUPS", "Probe", "Rehearsal", "Teller", "probe"]

FIRST = 10
"""Steps that are predicted."""
GROUPS = (4, 8, 16, 32)
"""Group sizes that are predicted, besides the recipe's."""


class Teller(Protocol):
    """Shows how far the probe is: what is counted is ``noun``, of the part ``label``."""

    def __call__(self, label: str, noun: str) -> Progress: ...


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """The steps that were taken and thrown away.

    Attributes:
        dead: share of dead groups of each.
        seconds: of each.
        ended: why they ended early; empty if they did not.
    """

    dead: tuple[float, ...]
    seconds: tuple[float, ...]
    ended: str = ""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What was asked, and what came of it.

    Attributes:
        now: the questions before any step; ``later`` after the rehearsed ones, if there were any.
        horizon: the steps that are predicted.
        rows: of the data set; None without an end.
        differs: groups of the probe that the algorithm calls dead and equal totals do not, or the other way
            round, of how many were compared.
        rounds: how the algorithm asks further questions in place of dead groups; None if it does not.
    """

    recipe: Recipe
    passing: Passing
    samples: int
    now: Asked
    later: Asked | None
    rehearsal: Rehearsal
    horizon: Horizon
    rows: int | None
    differs: tuple[int, int]
    rounds: Rounds | None

    @property
    def questions(self) -> tuple[Question, ...]:
        return self.now.questions

    def dead(self, group: int) -> Share:
        """The predicted share of dead groups of this size, which the samples must reach."""
        later = None if self.later is None else _shares(self.later, group)
        return predict(_shares(self.now, group), later, self.horizon)

    def sizes(self) -> list[int]:
        """The group sizes of the table."""
        return sorted({*GROUPS, self.recipe.rollout.group})


def _shares(asked: Asked, group: int) -> list[float]:
    return [dead_share(question.totals, group) for question in asked.questions]


def probe(
    recipe: Recipe,
    catalog: Catalog,
    *,
    questions: int,
    samples: int,
    rehearse: int,
    tell: Teller,
) -> Probe:
    """Loads the model as training does, and asks.

    Raises:
        PreflightError: the recipe cannot run here, or the samples are fewer than a group.
        RewardError: rewards fail more often than the recipe bears.
        Interrupted: a signal came; nothing was written.
    """
    if samples < recipe.rollout.group:
        raise PreflightError(
            f"{samples} samples a question tell nothing of groups of {recipe.rollout.group}",
            place="--samples",
            remedy=f"--samples {recipe.rollout.group} or more, or --set rollout.group=SMALLER",
        )
    alone = recipe.model_copy(
        update={
            "train": recipe.train.model_copy(update={"processes": 1}),
            "rollout": recipe.rollout.model_copy(update={"staleness": 0}),
        }
    )
    with ExitStack() as stack:
        flag = stack.enter_context(StopFlag())
        loop = make_loop(alone, catalog, Observer(), flag, stack, Ranks())
        return _probe(
            alone, loop, questions=questions, samples=samples, rehearse=rehearse, tell=tell
        )


def _probe(
    recipe: Recipe, loop: Loop, *, questions: int, samples: int, rehearse: int, tell: Teller
) -> Probe:
    steps = min(FIRST, recipe.train.steps)
    rows, groups = _rows(loop, recipe, steps, questions)
    prompts = make_prompts(loop.prompt, loop.dataset, rows)
    passing = passing_of(recipe)
    size = max(1, recipe.rollout.prompts * recipe.rollout.group // samples)
    asker = _asker(loop, recipe, passing, samples, "probe")
    now = asker.ask(prompts, size, tell("base model", "questions"))
    differs = _compare(loop, now, recipe.rollout.group)
    rehearsal = Rehearsal(dead=(), seconds=())
    later = None
    moves = any(dead_share(each.totals, samples) < 1 for each in now.questions)
    wanted = min(rehearse, max(steps // 2, 1))
    if moves and wanted and not owns_loop(loop.backend):
        rehearsal = _rehearse(loop, recipe, wanted, tell("rehearsal", "steps"))
        if not rehearsal.ended:
            asker = _asker(loop, recipe, passing, samples, "probe", "later")
            later = asker.ask(prompts, size, tell(f"after {wanted} steps", "questions"))
    return Probe(
        recipe=recipe,
        passing=passing,
        samples=samples,
        now=now,
        later=later,
        rehearsal=rehearsal,
        horizon=Horizon(
            steps=steps,
            groups=groups,
            rehearsed=wanted if later is not None else 0,
            rates=learning_rates(recipe.optim, recipe.train.steps, steps),
        ),
        rows=loop.dataset.size,
        differs=differs,
        rounds=_rounds(loop),
    )


def _rows(loop: Loop, recipe: Recipe, steps: int, wanted: int) -> tuple[list[int], int]:
    """A random part of the rows of the first steps, and how many groups these have.

    Where they are fewer than are asked for, those of the steps after them as well, one epoch at most.
    """
    position = loop.position
    count = loop.algorithm.first(loop.prompts)
    found: dict[int, None] = {}
    within: list[int] = []
    size = loop.order.size
    for step in range(1, steps + 1 + -(-wanted // count)):
        if step > steps and (len(found) >= wanted or (size is not None and len(found) >= size)):
            break
        drawn = loop.algorithm.draw(loop.order, position, count, step)
        position = drawn.position
        found.update(dict.fromkeys(drawn.rows))
        if step == steps:
            within = list(found)
    if len(within) < wanted:
        return list(found)[:wanted], steps * count
    lot = random.Random(derive_seed(recipe.train.seed, "probe", "questions"))  # noqa: S311
    chosen = set(lot.sample(within, wanted))
    return [row for row in within if row in chosen], steps * count


def _asker(loop: Loop, recipe: Recipe, passing: Passing, samples: int, *purpose: str) -> Asker:
    drawn = loop.algorithm.sampling(replace(loop.sampling, step=1))
    return Asker(
        model=loop.backend,
        sampling=replace(drawn, group=samples, seed=derive_seed(recipe.train.seed, *purpose)),
        scorer=loop.scorer,
        passing=passing,
        budget=loop.budget,
        poll=loop.poll,
    )


def _compare(loop: Loop, asked: Asked, group: int) -> tuple[int, int]:
    """Asks the algorithm which groups are dead, the first ``group`` completions of each question."""
    if asked.first is None:
        return 0, 0
    rollout, scores = asked.first
    cut = replace(
        rollout,
        completions=tuple(each[:group] for each in rollout.completions),
        sampling=replace(rollout.sampling, group=group),
    )
    said: list[bool] = loop.advantages(cut, _first(scores, group), 1).dead_P.tolist()
    equal = [dead_share(totals[:group], group) == 1 for totals in scores.total]
    return sum(a != b for a, b in zip(said, equal, strict=True)), len(said)


def _first(scores: Scores, group: int) -> Scores:
    def cut(
        table: Sequence[Sequence[float | None]],
    ) -> tuple[Sequence[float | None], ...]:
        return tuple(row[:group] for row in table)

    return replace(
        scores,
        rewards={name: cut(table) for name, table in scores.rewards.items()},
        components={name: cut(table) for name, table in scores.components.items()},
        total=cut(scores.total),
        failures=tuple(each for each in scores.failures if each.sample < group),
    )


def _rehearse(loop: Loop, recipe: Recipe, steps: int, progress: Progress) -> Rehearsal:
    """Real steps with other random numbers than the run's. Nothing of them is kept.

    Raises:
        GrpokitError: what would end the run in its first steps, except that no group is live.
    """
    loop.sampling = replace(loop.sampling, seed=derive_seed(recipe.train.seed, "rehearsal"))
    dead: list[float] = []
    seconds: list[float] = []
    ended = ""
    progress(0, steps)
    for step in range(1, steps + 1):
        try:
            record = loop.step(step).record
        except PreflightError as error:
            ended = f"step {step}: {error.fact}"
            break
        dead.append(record.metrics["dead_groups"])
        seconds.append(record.seconds["total"])
        progress(step, steps)
    return Rehearsal(dead=tuple(dead), seconds=tuple(seconds), ended=ended)


def _rounds(loop: Loop) -> Rounds | None:
    """The rounds of a part that asks further questions, told by what it is made of."""
    if not isinstance(loop.algorithm, Composition):
        return None
    found = getattr(loop.algorithm.part("allocate"), "rounds", None)
    return found if isinstance(found, Rounds) else None


def step_seconds(probe: Probe) -> float | None:
    """Of a typical step, from the rehearsed ones; the first pays for things that come once."""
    return (
        statistics.median(probe.rehearsal.seconds[1:] or probe.rehearsal.seconds or [0.0]) or None
    )
