"""Metrics of a step, from rollouts worked by hand."""

from __future__ import annotations

import pytest
import torch

from grpokit.engine.metrics import METRICS, rollout_rows, step_metrics
from grpokit.spec.flow import (
    Advantages,
    Completion,
    Gathered,
    Prompt,
    Rollout,
    Sampling,
    ScoreFailure,
    Scores,
    Selection,
    Update,
)


def completion(tokens: int, *, stop: bool = True) -> Completion:
    return Completion(token_ids=tuple(range(tokens)), text="x", finish="stop" if stop else "length")


def parts() -> tuple[Rollout, Scores, Advantages, Selection, Update]:
    prompts = tuple(
        Prompt(
            id=str(i), index=i, row={"answer": "1"}, messages=({"role": "user", "content": "q"},)
        )
        for i in range(3)
    )
    rollout = Rollout(
        prompts=prompts,
        prompt_ids=((1,), (2,), (3,)),
        completions=(
            (completion(2), completion(4, stop=False)),
            (completion(3), completion(3)),
            (completion(1), completion(5)),
        ),
        sampling=Sampling(group=2, max_tokens=5),
    )
    total = ((1.0, 0.0), (1.0, 1.0), (0.0, None))
    failure = ScoreFailure(
        reward="r", plugin="p", row=2, prompt_index=2, sample=1, kind="exception", message="boom"
    )
    scores = Scores(rewards={"r": total}, components={}, total=total, failures=(failure,))
    advantages = Advantages(
        advantages_PG=torch.tensor([[1.0, -1.0], [0.0, 0.0], [0.0, 0.0]]),
        valid_PG=torch.tensor([[True, True], [True, True], [True, False]]),
        dead_P=torch.tensor([False, True, True]),
    )
    rows = ((0, 0), (0, 1), (1, 0))
    selection = Selection(rows=rows, weights=(1.0, 1.0, 0.0), denominator=6)
    update = Update(metrics={"grad_norm": 0.5}, optimizer_steps=1, seconds={})
    return rollout, scores, advantages, selection, update


def whole(rounds: int = 1) -> Gathered:
    rollout, scores, advantages, *_ = parts()
    return Gathered(rollout=rollout, scores=scores, advantages=advantages, wanted=3, rounds=rounds)


def test_numbers_of_a_step() -> None:
    metrics = step_metrics(whole(), (0, 1, 2), *parts()[3:])
    expected = {
        "reward": 3 / 5,
        "rewards/r/mean": 3 / 5,
        "rewards/r/std": (0.6 * 0.4) ** 0.5,
        "dead_groups": 2 / 3,
        "dead_groups_high": 1 / 3,
        "abstained": 1 / 6,
        "failures": 1,
        "trained_rows": 2,
        "dropped_groups": 0,
        "rounds": 1,
        "questions": 3,
        "length/mean": 3.0,
        "length/min": 1,
        "length/max": 5,
        "truncated": 1 / 6,
        "tokens": 18,
        "grad_norm": 0.5,
        "optimizer_steps": 1,
    }
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value), name
    general = {name.replace("/r/", "/NAME/") for name in metrics}
    assert general <= set(METRICS)


def test_rollout_rows_tell_what_failed_and_what_trained() -> None:
    rollout, scores, advantages, selection, _ = parts()
    rows = rollout_rows(7, rollout, scores, (0, 1, 2), advantages, selection)
    assert [row["step"] for row in rows] == [7, 7, 7]
    assert [item["kept"] for row in rows for item in row["completions"]] == [
        True, True, False, False, False, False,
    ]  # fmt: skip
    assert rows[2]["completions"][1]["errors"] == {"r": "boom"}
    assert rows[2]["completions"][1]["total"] is None
    assert "errors" not in rows[0]["completions"][0]


def test_groups_that_do_not_go_on_count_in_the_rewards_and_train_nothing() -> None:
    """Group 2 comes first and group 1 twice; group 0 is dropped."""
    rollout, scores, _, _, update = parts()
    kept = (2, 1, 1)
    advantages = Advantages(
        advantages_PG=torch.tensor([[2.0, 0.0], [1.0, -1.0], [1.0, -1.0]]),
        valid_PG=torch.ones(3, 2, dtype=torch.bool),
        dead_P=torch.zeros(3, dtype=torch.bool),
    )
    selection = Selection(rows=((0, 0), (1, 1), (2, 1)), weights=(1.0, 1.0, 1.0), denominator=3)
    metrics = step_metrics(whole(rounds=2), kept, selection, update)
    assert metrics["reward"] == pytest.approx(3 / 5)
    assert metrics["dead_groups"] == pytest.approx(2 / 3)
    assert metrics["dropped_groups"] == pytest.approx(1 / 3)
    assert (metrics["rounds"], metrics["questions"], metrics["trained_rows"]) == (2, 3, 3)
    rows = rollout_rows(7, rollout, scores, kept, advantages, selection)
    assert [row.get("dropped", False) for row in rows] == [True, False, False]
    table = [[(c["advantage"], c["kept"]) for c in row["completions"]] for row in rows]
    assert table == [
        [(0.0, False), (0.0, False)],
        [(1.0, False), (-1.0, True)],
        [(2.0, True), (0.0, False)],
    ]
