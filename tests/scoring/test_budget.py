from __future__ import annotations

import json

import pytest

from grpokit.api import ScoreFailure, Scores
from grpokit.errors import ExitCode, RewardError
from grpokit.scoring.budget import ErrorBudget


def step(calls: int, failed: int, *, silent: bool = False) -> Scores:
    failures = tuple(
        ScoreFailure(
            reward="judge",
            plugin="math/judge (grpokit-math 1.0)",
            row=17,
            prompt_index=0,
            sample=sample,
            kind="exception",
            message="raised ValueError: bad (judge.py:3)",
            remedy="fix judge.py:3",
        )
        for sample in range(failed)
    )
    values = [None if silent or n < failed else 1.0 for n in range(calls)]
    return Scores(rewards={"judge": [values]}, components={}, total=[values], failures=failures)


def test_a_single_failure_in_a_small_batch_is_borne():
    budget = ErrorBudget(0.05)
    budget.add(step(8, 1))
    budget.add(step(8, 0))
    budget.add(step(8, 0))  # 1 of 24: below 5 %
    with pytest.raises(RewardError):
        budget.add(step(8, 2))  # 3 of 32


def test_the_error_names_plugin_row_cause_and_remedy():
    with pytest.raises(RewardError) as caught:
        ErrorBudget(0.05).add(step(32, 2))
    error = caught.value
    assert error.exit_code == ExitCode.REWARD == 4
    assert (
        error.place
        == "reward judge of math/judge (grpokit-math 1.0), data set row 17, completion 0"
    )
    assert "2 of 32 calls failed (6.2%, scoring.max_error_rate is 5.0%)" in error.fact
    assert "raised ValueError: bad (judge.py:3)" in error.fact
    assert error.remedy == "fix judge.py:3"


def test_exactly_the_allowed_share_is_borne():
    ErrorBudget(0.05).add(step(20, 1))


def test_a_step_in_which_every_call_fails_ends_the_run_however_small():
    with pytest.raises(RewardError):
        ErrorBudget(0.5).add(step(2, 2))


def test_zero_tolerates_nothing_and_one_everything():
    with pytest.raises(RewardError):
        ErrorBudget(0.0).add(step(4, 1))
    budget = ErrorBudget(1.0)
    budget.add(step(4, 4))
    budget.add(step(4, 3))


def test_old_steps_are_forgotten():
    budget = ErrorBudget(0.05, window=2)
    budget.add(step(40, 2))
    budget.add(step(40, 0))
    budget.add(step(40, 2))
    budget.add(step(40, 2))
    with pytest.raises(RewardError):
        budget.add(step(40, 3))


def test_three_steps_without_a_score_end_the_run():
    budget = ErrorBudget(0.05)
    for _ in range(2):
        budget.add(step(8, 0, silent=True))
    budget.add(step(8, 0))
    for _ in range(2):
        budget.add(step(8, 0, silent=True))
    with pytest.raises(
        RewardError, match=r"\(judge\) returned None for every completion in 3 steps"
    ):
        budget.add(step(8, 0, silent=True))


def test_the_count_survives_a_resume():
    budget = ErrorBudget(0.05)
    budget.add(step(40, 2))
    budget.add(step(8, 0, silent=True))
    resumed = ErrorBudget(0.05)
    resumed.load_state(json.loads(json.dumps(budget.state())))
    assert resumed.state() == budget.state()
    with pytest.raises(RewardError):
        resumed.add(step(8, 1))
