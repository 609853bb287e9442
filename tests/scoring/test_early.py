"""Groups are scored while others are drawn, with the scores of a rollout that is scored at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import pytest

from grpokit.errors import ComponentError
from grpokit.scoring.early import Early
from grpokit.scoring.scorer import RewardSetup, Scorer
from grpokit.spec.flow import Completion, Prompt, Rollout, Sampling, Scores
from naughty import naughty

Make = Callable[..., Scorer]


def rollout_of(*groups: Sequence[str]) -> Rollout:
    return Rollout(
        prompts=tuple(
            Prompt(
                id=str(p),
                index=p,
                row={"answer": "a"},
                messages=({"role": "user", "content": "Q"},),
            )
            for p in range(len(groups))
        ),
        prompt_ids=((1,),) * len(groups),
        completions=tuple(
            tuple(
                Completion(token_ids=(1,) * len(text), text=text, finish="stop") for text in group
            )
            for group in groups
        ),
        sampling=Sampling(group=len(groups[0]), max_tokens=9),
    )


def facts(scores: Scores) -> dict[str, Any]:
    """Everything but times."""
    return {name: value for name, value in asdict(scores).items() if name != "seconds"}


def begun(scorer: Scorer, rollout: Rollout) -> Early:
    early = scorer.early(rollout.prompts, rollout.group)
    assert early is not None
    return early


def idle(early: Early) -> None:
    """Pumps until the workers have answered all that they were asked."""
    end = time.monotonic() + 20
    while any(lane.busy for lane in early.lanes):
        early.pump()
        time.sleep(0.002)
        assert time.monotonic() < end


TEXTS = (("a", "b", "bad"), ("b", "a", "raise"), ("bad", "a", "a"), ("b", "b", "nan"))
REWARDS = ["good", "raises_on_bad", "rank", "batch", "mixed", "waits"]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0), ()])
def test_the_scores_are_those_of_the_whole(make: Make, order: tuple[int, ...]) -> None:
    remembers = naughty("remembers", module="lazy_rewards")
    rollout = rollout_of(*TEXTS)
    wanted = make(*REWARDS, remembers).score(rollout)
    scorer = make(*REWARDS, remembers)
    early = begun(scorer, rollout)
    with early:
        for p in order:
            early.finished(p, rollout.completions[p])
            early.pump()
    found = scorer.score(rollout, early=early)
    assert facts(found) == facts(wanted)
    assert found.failures


def test_a_group_is_scored_before_the_next_is_drawn(make: Make) -> None:
    rollout = rollout_of(*TEXTS)
    scorer = make("good", "batch")
    early = begun(scorer, rollout)
    good, batch = early.lanes
    early.finished(1, rollout.completions[1])
    idle(early)
    assert good.ledger is not None
    assert good.ledger.outcomes == []  # group 0 comes first
    early.finished(0, rollout.completions[0])
    idle(early)
    assert [each and each.value for each in good.ledger.outcomes] == [1, 0, 0, 0, 1, 0]
    assert batch.ledger is None  # it compares all of them
    assert scorer.score(rollout, early=early).total[0][0] == 2.0


def test_the_next_step_begins_anew(make: Make) -> None:
    scorer = make("good", "rank")
    for text in ("a", "b"):
        rollout = rollout_of((text, "b"), ("a", text))
        early = begun(scorer, rollout)
        early.finished(0, rollout.completions[0])
        found = scorer.score(rollout, early=early)
        assert facts(found) == facts(scorer.score(rollout))


def test_what_was_drawn_again_is_scored_again(make: Make) -> None:
    rollout, other = rollout_of(("a", "b"), ("a", "a")), rollout_of(("b", "b"), ("a", "a"))
    scorer = make("good")
    early = begun(scorer, rollout)
    early.finished(0, other.completions[0])
    idle(early)
    assert scorer.score(rollout, early=early).total == [[1.0, 0.0], [1.0, 1.0]]


def test_what_ends_the_drawing_ends_the_calls(make: Make) -> None:
    rollout = rollout_of(("hang", "a"), ("a", "a"))
    scorer = make("acts")
    early = begun(scorer, rollout)
    early.finished(0, rollout.completions[0])
    assert early.lanes[0].busy
    early.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert not any(lane.busy for lane in early.lanes)
    fine = rollout_of(("a", "a"), ("a", "a"))
    assert scorer.score(fine).total == [[1.0, 1.0], [1.0, 1.0]]


def test_a_worker_that_is_lost_costs_its_row(make: Make) -> None:
    rollout = rollout_of(("a", "exit"), ("a", "a"))
    scorer = make("acts")
    early = begun(scorer, rollout)
    with early:
        early.finished(0, rollout.completions[0])
        idle(early)
    found = scorer.score(rollout, early=early)
    assert found.total == [[1.0, None], [1.0, 1.0]]
    assert [failure.kind for failure in found.failures] == ["crash"]


def test_a_worker_that_died_while_it_waited_is_replaced(make: Make) -> None:
    rollout = rollout_of(("a", "b"), ("a", "a"))
    scorer = make("good")
    early = begun(scorer, rollout)
    early.finished(0, rollout.completions[0])
    idle(early)
    early.lanes[0].process.kill()  # type: ignore[union-attr]
    early.finished(1, rollout.completions[1])
    found = scorer.score(rollout, early=early)
    assert found.total == [[1.0, 0.0], [1.0, 1.0]]
    assert found.failures == ()


def test_an_error_is_that_of_the_whole(make: Make) -> None:
    rollout = rollout_of(("a", "spent"), ("a", "a"))

    def told(early: bool) -> str:
        scorer = make("ends_the_run")
        first = begun(scorer, rollout) if early else None
        if first is not None:
            with first:
                first.finished(0, rollout.completions[0])
                idle(first)
        return str(facts(scorer.score(rollout, early=first)))

    assert told(early=True) == told(early=False)


def test_there_is_no_early_without_workers(make: Make) -> None:
    rollout = rollout_of(("a", "b"))
    assert make("good", isolate=False).early(rollout.prompts, 2) is None
    with pytest.raises(ComponentError):
        make("is_not_there").early(rollout.prompts, 2)


def test_rewards_that_ask_the_policy_wait(make: Make) -> None:
    asking: RewardSetup = naughty("good", needs=frozenset({"token-statistics"}))
    assert make(asking).early(rollout_of(("a", "b")).prompts, 2) is None
