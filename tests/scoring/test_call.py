"""What a reward gets, in a worker and in this process."""

from __future__ import annotations

import pytest

ROW = {"question": "Q", "answer": "A"}
MESSAGES = ({"role": "system", "content": "S"}, {"role": "user", "content": "What?"})

pytestmark = pytest.mark.parametrize("isolate", [True, False])


def test_a_reward_gets_what_it_asks_for_by_name(make, isolate):
    scores = make("sees", "everything", isolate=isolate).score_texts(
        [ROW, ROW], [["a", "b"], ["c", "d"]], messages=[MESSAGES, MESSAGES]
    )
    assert scores.failures == ()
    assert scores.rewards["sees"] == [[0.0, 1.0], [0.0, 1.0]]
    assert scores.rewards["everything"] == [[1.0, 1.0], [1.0, 1.0]]


def test_the_batch_form_gets_all_completions_at_once(make, isolate):
    rows = [{"answer": "a"}, {"answer": "b"}]
    scores = make("batch", isolate=isolate).score_texts(rows, [["a", "x"], ["b", "b", "a"]])
    assert scores.rewards["batch"] == [[1.0, 0.0], [1.0, 1.0, 0.0]]


def test_the_group_form_gets_one_prompt_at_a_time(make, isolate):
    rows = [{"answer": "a"}, {"answer": "b"}]
    scores = make("rank", isolate=isolate).score_texts(rows, [["xxx", "x"], ["x", "xx", "raise"]])
    assert scores.rewards["rank"] == [[1.0, 0.0], [None, None, None]]
    assert [(f.row, f.sample, f.kind) for f in scores.failures] == [
        (1, 0, "exception"),
        (1, 1, "exception"),
        (1, 2, "exception"),
    ]


def test_one_bad_row_of_a_batch_costs_one_row(make, isolate):
    scores = make("batch", isolate=isolate).score_texts([{"answer": "a"}], [["a", "raise", "b"]])
    assert scores.rewards["batch"] == [[1.0, None, 0.0]]
    (failure,) = scores.failures
    assert failure.sample == 1
    assert failure.message.startswith("raised ValueError: one of them is bad (naughty_rewards.py:")


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("short", "length", "returned 2 scores for 3 completions"),
        ("scalar", "type", "returned a float where a list"),
        ("lazy", "type", "returned a generator where a list"),
    ],
)
def test_a_batch_that_returns_no_fitting_list_fails_whole(make, isolate, name, kind, message):
    scores = make(name, isolate=isolate).score_texts([ROW], [["a", "b", "c"]])
    assert scores.rewards[name] == [[None, None, None]]
    assert [f.kind for f in scores.failures] == [kind] * 3
    assert message in scores.failures[0].message


def test_entries_of_a_batch_are_judged_one_by_one(make, isolate):
    scores = make("mixed", isolate=isolate).score_texts([ROW], [["a", "nan", "str", "none"]])
    assert scores.rewards["mixed"] == [[1.0, None, None, None]]
    assert [(f.sample, f.kind) for f in scores.failures] == [(1, "non-finite"), (2, "type")]


def test_an_async_reward_keeps_its_event_loop(make, isolate):
    scorer = make("same_loop", isolate=isolate)
    for _ in range(2):
        assert scorer.score_texts([ROW], [["a", "b"]]).rewards["same_loop"][0][-1] == 1.0


def test_a_column_that_one_row_lacks_fails_that_row(make, isolate):
    scores = make("good", isolate=isolate).score_texts(
        [{"answer": "a"}, {"gold": "a"}], [["a"], ["a"]]
    )
    assert scores.rewards["good"] == [[1.0], [None]]
    (failure,) = scores.failures
    assert failure.row == 1
    assert failure.message == "asks for the column 'answer', which this row of the data set lacks"
