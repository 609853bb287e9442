"""Rounds together, and groups out of them."""

from __future__ import annotations

from grpokit.engine.merge import merge_rollouts, merge_scores, pick_rollout, pick_scores
from grpokit.spec.flow import Completion, Prompt, Rollout, Sampling, ScoreFailure, Scores


def failure(prompt: int, sample: int) -> ScoreFailure:
    return ScoreFailure(
        reward="r",
        plugin="p",
        row=2 * prompt + sample,
        prompt_index=prompt,
        sample=sample,
        kind="exception",
        message="boom",
    )


ONE = Scores(
    rewards={"r": ((1.0, 0.0), (None, 1.0))},
    components={"r/a": ((1.0, 1.0), (0.5, 0.5))},
    total=((1.0, 0.0), (None, 1.0)),
    failures=(failure(1, 0),),
    seconds={"r": 1.0},
    weights={"r": 0.5},
)
TWO = Scores(
    rewards={"r": ((0.25, None),)},
    components={"r/b": ((2.0, 2.0),)},
    total=((0.25, None),),
    failures=(failure(0, 1),),
    seconds={"r": 0.5},
    weights={"r": 0.5},
)


def rollout(*names: str) -> Rollout:
    return Rollout(
        prompts=tuple(Prompt(id=name, index=0, row={}, messages=()) for name in names),
        prompt_ids=tuple((ord(name),) for name in names),
        completions=tuple(
            (Completion(token_ids=(1,), text=name, finish="stop"),) * 2 for name in names
        ),
        sampling=Sampling(group=2, max_tokens=3),
    )


def test_tables_come_below_each_other_and_failures_keep_their_row() -> None:
    both = merge_scores(ONE, TWO)
    assert both.rewards == {"r": ((1.0, 0.0), (None, 1.0), (0.25, None))}
    assert both.components == {
        "r/a": ((1.0, 1.0), (0.5, 0.5), (None, None)),
        "r/b": ((None, None), (None, None), (2.0, 2.0)),
    }
    assert both.total == ((1.0, 0.0), (None, 1.0), (0.25, None))
    assert [(f.prompt_index, f.sample, f.row) for f in both.failures] == [(1, 0, 2), (2, 1, 5)]
    assert both.seconds == {"r": 1.5}
    assert both.weights == pick_scores(both, (0,)).weights == {"r": 0.5}


def test_groups_are_picked_in_order_and_may_come_twice() -> None:
    whole = merge_rollouts(rollout("a", "b"), rollout("c"))
    assert [p.id for p in whole.prompts] == ["a", "b", "c"]
    picked = pick_rollout(whole, (2, 0, 2))
    assert [p.id for p in picked.prompts] == ["c", "a", "c"]
    assert picked.prompt_ids == ((99,), (97,), (99,))
    assert [group[0].text for group in picked.completions] == ["c", "a", "c"]
    scores = pick_scores(merge_scores(ONE, TWO), (2, 0, 2))
    assert scores.total == ((0.25, None), (1.0, 0.0), (0.25, None))
    assert scores.components["r/b"] == ((2.0, 2.0), (None, None), (2.0, 2.0))
