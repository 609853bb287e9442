"""One step and its rounds, with a backend that answers from a table. Whole runs are in test_resume.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch

from grpokit.algorithms import Composition, clip_ratio, group_centred, sequence_mean
from grpokit.engine.loop import Loop
from grpokit.engine.observer import Observer
from grpokit.engine.order import RowOrder
from grpokit.errors import CheckpointError, Interrupted, NonFiniteError
from grpokit.scoring.budget import ErrorBudget
from grpokit.spec.flow import (
    Allocation,
    Completion,
    Draw,
    Gathered,
    Outcome,
    Prompt,
    Resets,
    Rollout,
    Sampling,
    Scores,
    Update,
)
from grpokit.spec.recipe import PromptSection

GROUP = 2


class Rows:
    """Row i is worth i: its two completions score 0 and 1 where i is odd, both 0 where it is even."""

    columns = ("question",)
    fingerprint = "x"

    def __init__(self, size: int, *, same: bool = False) -> None:
        self.size, self.same = size, same

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return {"question": "q" if self.same else str(index)}


class Backend:
    """Remembers what it was asked. ``stop`` raises in the update."""

    def __init__(self) -> None:
        self.asked: list[list[Prompt]] = []
        self.samplings: list[Sampling] = []
        self.updates: list[dict[str, Any]] = []
        self.resets: list[Resets] = []
        self.stop = False

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, poll: Any) -> Rollout:
        del poll
        self.asked.append(list(prompts))
        self.samplings.append(sampling)
        answer = Completion(token_ids=(1, 2), text="x", finish="stop")
        return Rollout(
            prompts=tuple(prompts),
            prompt_ids=tuple((p.index,) for p in prompts),
            completions=tuple((answer,) * GROUP for _ in prompts),
            sampling=sampling,
        )

    def update(self, loss: Any, rollout: Rollout, *args: Any) -> Update:
        if self.stop:
            raise Interrupted(2)
        advantages, selection, step, poll = args
        self.updates.append(
            {
                "rows": [p.index for p in rollout.prompts],
                "advantages": advantages.advantages_PG.tolist(),
                "selection": selection,
                "step": step,
                "poll": poll,
            }
        )
        return Update(metrics={}, optimizer_steps=1, seconds={})

    def reset(self, resets: Resets) -> None:
        self.resets.append(resets)


class Scorer:
    measures = False

    def score(self, rollout: Rollout, should_stop: Any, facts: Any) -> Scores:
        del should_stop, facts
        total = tuple((0.0, float(prompt.index % 2)) for prompt in rollout.prompts)
        return Scores(rewards={"r": total}, components={}, total=total, seconds={"r": 0.5})


def composition(**parts: Any) -> Composition:
    return Composition(advantage=group_centred, clip=clip_ratio, aggregation=sequence_mean, **parts)


def make_loop(algorithm: Any, *, rows: Rows | None = None, prompts: int = 2) -> Loop:
    rows = rows or Rows(10)
    backend: Any = Backend()
    scorer: Any = Scorer()
    return Loop(
        backend=backend,
        algorithm=algorithm,
        dataset=rows,
        order=RowOrder(rows, seed=1, shuffle=False),
        scorer=scorer,
        budget=ErrorBudget(0.5),
        prompt=PromptSection(),
        sampling=Sampling(group=GROUP, max_tokens=4),
        observer=Observer(),
        poll=lambda: None,
        prompts=prompts,
        forwards=3,
    )


def until_live(want: int, bound: int = 10) -> Callable[[Gathered], Allocation]:
    """Asks one question after another until ``want`` groups are alive."""

    def allocate(gathered: Gathered) -> Allocation:
        dead_P = gathered.advantages.dead_P.tolist()
        live = tuple(p for p, dead in enumerate(dead_P) if not dead)
        if len(live) >= want or gathered.rounds == bound:
            return Allocation(keep=live[:want])
        return Allocation(keep=(), more=1)

    return allocate


class Memory:
    """A sampler that skips what it has seen twice, and says what it knows."""

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}

    def __call__(self, walk: Any, position: int, count: int, step: int) -> Draw:
        rows: list[int] = []
        while len(rows) < count:
            row = walk.at(position)
            position += 1
            if self.seen.get(str(row), 0) < 2:
                rows.append(row)
        return Draw(rows=tuple(rows), position=position)

    def observe(self, outcome: Outcome) -> None:
        for prompt in outcome.rollout.prompts:
            key = str(prompt.index)
            self.seen[key] = self.seen.get(key, 0) + 1

    def state(self) -> dict[str, int]:
        return dict(self.seen)

    def load_state(self, state: Mapping[str, int]) -> None:
        self.seen = dict(state)


def test_without_further_rounds_a_step_takes_the_next_rows() -> None:
    loop = make_loop(composition())
    records = [loop.step(index).record for index in (1, 2, 3)]
    backend: Any = loop.backend
    assert [update["rows"] for update in backend.updates] == [[0, 1], [2, 3], [4, 5]]
    assert [update["step"] for update in backend.updates] == [1, 2, 3]
    assert [s.step for s in backend.samplings] == [1, 2, 3]
    assert records[-1].metrics["epoch"] == pytest.approx(0.6)
    assert records[-1].metrics["rounds"] == 1
    assert backend.resets == []


def test_rounds_go_on_until_the_batch_is_full_and_what_was_dropped_is_counted() -> None:
    loop = make_loop(composition(allocator=until_live(2)))
    result = loop.step(1)
    backend: Any = loop.backend
    assert [[p.index for p in part] for part in backend.asked] == [[0, 1], [2], [3]]
    (update,) = backend.updates
    assert update["rows"] == [1, 3]
    assert update["advantages"] == [[-0.5, 0.5], [-0.5, 0.5]]
    assert update["selection"].rows == ((0, 0), (0, 1), (1, 0), (1, 1))
    metrics = result.record.metrics
    assert metrics["rounds"] == 3
    assert metrics["questions"] == 4
    assert metrics["dropped_groups"] == 0.5
    assert metrics["reward"] == 0.25
    assert result.record.seconds["score/r"] == 1.5
    totals = {name: value for name, value in metrics.items() if name.startswith("total/")}
    assert totals == {
        "total/questions_seen": 4,
        "total/completions_generated": 8,
        "total/completions_trained": 4,
        "total/forwards_saved": 4 * 3,
        "total/optimizer_steps": 1,
    }
    loop.step(2)
    assert backend.updates[-1]["rows"] == [5, 7]
    assert loop.totals.questions_seen == 8


def test_advantages_of_the_kept_groups_forget_the_dropped_ones() -> None:
    """A batch statistic is that of the groups that train."""

    def from_batch(totals_PG: torch.Tensor, valid_PG: torch.Tensor) -> torch.Tensor:
        return torch.where(valid_PG, totals_PG - totals_PG.mean(), 0.0)

    algorithm = composition(allocator=until_live(1)).replace("advantage", from_batch)
    loop = make_loop(algorithm)
    loop.order = RowOrder(Rows(10), seed=1, shuffle=False)
    loop.algorithm = algorithm.replace(
        "allocate", lambda gathered: Allocation(keep=(1,) if gathered.rounds else ())
    )
    loop.step(1)
    backend: Any = loop.backend
    assert backend.updates[0]["advantages"] == [[-0.5, 0.5]]


def test_no_group_kept_means_all_of_them() -> None:
    loop = make_loop(composition(allocator=until_live(5, bound=1)), prompts=1)
    loop.step(1)
    backend: Any = loop.backend
    assert backend.updates[0]["rows"] == [0]
    assert set(backend.updates[0]["selection"].weights) == {0.0}


def test_a_question_that_comes_again_in_a_later_round_is_drawn_anew() -> None:
    loop = make_loop(composition(allocator=until_live(3)), rows=Rows(4, same=True))
    loop.step(1)
    backend: Any = loop.backend
    names = [prompt.id for part in backend.asked for prompt in part]
    assert len(set(names)) == len(names) == 6
    assert names[5] == f"{names[0]}#6"


def test_an_allocation_may_ask_another_number_first() -> None:
    class Wide:
        def first(self, prompts: int) -> int:
            return 3 * prompts

        def __call__(self, gathered: Gathered) -> Allocation:
            assert gathered.wanted == 2
            return Allocation(keep=tuple(range(len(gathered.rollout.prompts))))

    loop = make_loop(composition(allocator=Wide()))
    loop.step(1)
    backend: Any = loop.backend
    assert backend.updates[0]["rows"] == [0, 1, 2, 3, 4, 5]


def test_an_interrupted_step_is_taken_again_from_where_it_was() -> None:
    loop = make_loop(composition(sampler=Memory(), allocator=until_live(2)))
    backend: Any = loop.backend
    loop.step(1)
    before = json.dumps(loop.state())
    backend.stop = True
    with pytest.raises(Interrupted):
        loop.step(2)
    assert json.dumps(loop.state()) == before
    backend.stop = False
    loop.step(2)
    assert backend.updates[-1]["rows"] == [5, 7]


def test_state_brings_another_loop_to_the_same_place() -> None:
    loop = make_loop(composition(sampler=Memory(), allocator=until_live(2)), rows=Rows(11))
    for index in (1, 2, 3):
        loop.step(index)
    state = json.loads(json.dumps(loop.state()))
    other = make_loop(composition(sampler=Memory(), allocator=until_live(2)), rows=Rows(11))
    other.load_state(state)
    one, two = loop.step(4), other.step(4)
    assert one.record.metrics == two.record.metrics
    assert loop.state() == other.state()
    with pytest.raises(CheckpointError, match="remembers nothing, the checkpoint holds sampler"):
        make_loop(composition()).load_state(state)


def test_resets_come_before_the_update_and_a_policy_reset_is_not_interrupted() -> None:
    wanted = {2: Resets(reference=True, optimizer=True), 3: Resets(policy=True)}
    loop = make_loop(composition(reset=lambda step: wanted.get(step, Resets())))
    for index in (1, 2, 3):
        loop.step(index)
    backend: Any = loop.backend
    assert backend.resets == [wanted[2], wanted[3]]
    assert [update["poll"] is None for update in backend.updates] == [False, False, True]


def test_where_nothing_trains_the_policy_is_not_reset() -> None:
    """Row 0 is dead: a policy that began anew there would only have forgotten."""
    loop = make_loop(composition(reset=lambda _: Resets(policy=True, optimizer=True)), prompts=1)
    loop.step(1)
    backend: Any = loop.backend
    assert backend.resets == []
    loop.step(2)
    assert backend.resets == [Resets(policy=True, optimizer=True)]


def test_the_way_of_drawing_may_change_with_the_step() -> None:
    from dataclasses import replace

    def longer(sampling: Sampling) -> Sampling:
        return replace(sampling, max_tokens=10 * sampling.step)

    loop = make_loop(composition(rollout=longer))
    results = [loop.step(index) for index in (1, 2)]
    assert [r.batch.rollout.sampling.max_tokens for r in results] == [10, 20]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_advantages_that_are_not_finite_never_reach_the_update(value: float) -> None:
    algorithm = composition().replace(
        "advantage", lambda totals_PG, _: torch.full_like(totals_PG, value)
    )
    loop = make_loop(algorithm)
    with pytest.raises(NonFiniteError, match="step 3: the algorithm made advantages"):
        loop.step(3)
    assert loop.position == 0
