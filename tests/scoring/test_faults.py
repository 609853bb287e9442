"""Every fault costs its own row, is named, and never becomes 0.0."""

from __future__ import annotations

import json
import time

import pytest

from grpokit.errors import RewardError
from grpokit.scoring.budget import ErrorBudget
from naughty import alive, children, gone

FAULTS = [
    ("raise", "exception", "raised ZeroDivisionError: division by zero (naughty_rewards.py:"),
    ("raise surrogate", "exception", "raised ValueError: "),
    ("recursion", "exception", "raised RecursionError"),
    ("sys.exit", "exception", "raised SystemExit: bye"),
    ("an error without words", "exception", "Mute: <exception str() failed>"),
    ("a number that quits", "exception", "raised SystemExit: 4"),
    ("nan", "non-finite", "returned nan"),
    ("inf", "non-finite", "beyond float32"),
    ("huge", "non-finite", "beyond float32"),
    ("huge int", "non-finite", "beyond float32"),
    ("str", "type", "the text '0.5'"),
    ("list", "type", "a list of 1"),
    ("dict", "type", "a dict of 1"),
    ("complex", "type", "a complex"),
    ("generator", "type", "a generator"),
    ("score nan", "non-finite", "component 'tone' is nan"),
    ("segfault", "crash", "its process was killed by SIGSEGV"),
    ("exit", "crash", "its process ended with exit code 0"),
    ("kill", "crash", "its process was killed by SIGKILL"),
    ("interrupt", "crash", "its process"),
    ("hang", "timeout", "gave no answer within 1 s"),
    ("hang in C", "timeout", "gave no answer within 1 s"),
]
VALUES = {
    "bool": 1.0,
    "fraction": 0.5,
    "decimal": 0.25,
    "score": 0.5,
    "large": 1e38,
    "none": None,
    "score none": None,
}


def test_each_fault_costs_its_row_and_no_other(make):
    acts = [fault for fault, _, _ in FAULTS]
    texts = [text for act in acts for text in ("fine", act)] + ["fine", *VALUES]
    scores = make("acts", timeout=1.0).score_texts([{}], [texts])
    given = dict(zip(texts, scores.rewards["acts"][0], strict=True))
    assert [given[act] for act in acts] == [None] * len(acts)
    assert {text: given[text] for text in VALUES} == VALUES
    fine = [s for t, s in zip(texts, scores.rewards["acts"][0], strict=True) if t == "fine"]
    assert fine == [1.0] * (len(acts) + 1)
    told = {texts[f.sample]: f for f in scores.failures}
    assert len(told) == len(scores.failures) == len(FAULTS)
    for act, kind, message in FAULTS:
        failure = told[act]
        assert failure.kind == kind, act
        assert message in failure.message, act
        assert failure.remedy, act
        assert failure.plugin == "naughty/acts (grpokit-naughty 1.2)"
    assert told["raise surrogate"].message.startswith("raised ValueError: \\ud800")
    json.dumps([vars(f) for f in scores.failures], ensure_ascii=False).encode("utf-8")
    assert "memory runs out" in told["kill"].remedy
    assert "Fatal Python error: Segmentation fault" in told["segfault"].trace
    assert "_segfault" in told["segfault"].trace
    assert "naughty_rewards.py" in told["raise"].trace
    assert scores.components == {
        "acts/tone": [[{"score": 0.25, "score none": 0.75}.get(text) for text in texts]]
    }


def test_a_hang_costs_its_deadline_and_not_more(make):
    scorer = make("acts", timeout=0.5)
    scorer.start()
    begin = time.monotonic()
    scores = scorer.score_texts([{}], [["fine", "hang", "fine", "sleep", "fine"]])
    seconds = time.monotonic() - begin
    assert scores.rewards["acts"] == [[1.0, None, 1.0, None, 1.0]]
    assert 1.0 <= seconds < 4.0
    assert scores.seconds["acts"] == pytest.approx(seconds, abs=0.2)


def test_the_time_in_which_the_trainer_does_not_look_is_not_the_rewards(make):
    scorer = make("acts", timeout=0.2)
    scorer.start()
    waits = iter([0.0, 0.5])
    texts = ["fine"] * 3
    scores = scorer.score_texts([{}], [texts], should_stop=lambda: time.sleep(next(waits, 0.0)))
    assert scores.rewards["acts"] == [[1.0, 1.0, 1.0]]


def test_a_dead_worker_is_noticed_though_its_child_prints_for_ever(make):
    scorer = make("acts", timeout=30.0)
    scorer.start()
    begin = time.monotonic()
    scores = scorer.score_texts([{}], [["fine", "leave a child that prints", "fine"]])
    assert scores.rewards["acts"] == [[1.0, None, 1.0]]
    assert scores.failures[0].message == "its process ended with exit code 9"
    assert time.monotonic() - begin < 10.0


def test_what_a_hanging_reward_started_goes_with_it(make, earlier):
    scorer = make("acts", timeout=1.0)
    scorer.start()
    (worker,) = children() - earlier
    begin = time.monotonic()
    seen: set[int] = set()

    def look() -> None:
        if alive(worker) and time.monotonic() - begin < 1.0:
            seen.update(children(worker))

    scorer.score_texts([{}], [["hang with child"]], should_stop=look)
    assert seen
    deadline = time.monotonic() + 2
    while any(alive(pid) for pid in seen) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(alive(pid) for pid in seen)


def test_a_daemon_of_a_reward_goes_with_it(make):
    scorer = make("acts")
    (score,) = scorer.score_texts([{}], [["daemonise"]]).rewards["acts"][0]
    assert alive(int(score))
    scorer.close()
    assert gone(int(score))


def test_a_reward_may_print_and_close_what_it_likes(make):
    scorer = make("acts", "noisy_ideas", timeout=30.0)
    scores = scorer.score_texts([{}], [["flood", "close", "fine"]])
    assert scores.rewards["acts"] == [[1.0, 1.0, 1.0]]
    assert scores.rewards["noisy_ideas"] == [[1.0, 1.0, 1.0]]
    assert scores.failures == ()


@pytest.mark.parametrize("isolate", [True, False])
def test_an_error_with_odd_words_is_told_as_far_as_it_goes(make, isolate):
    texts = ["an error with odd words", "an error without words", "a number that quits"]
    failures = make("acts", isolate=isolate).score_texts([{}], [texts]).failures
    assert [failure.kind for failure in failures] == ["exception"] * 3
    assert failures[0].message == "x" * 2000


def test_only_the_worker_answers(make):
    texts = ["fine", "come back twice", "replace json", "forge", "fine", "come back twice", "fine"]
    scores = make("acts").score_texts([{}], [texts])
    assert scores.rewards["acts"] == [[1.0, 1.0, 1.0, None, 1.0, 1.0, 1.0]]
    (failure,) = scores.failures
    assert (failure.sample, failure.kind) == (3, "crash")
    assert "wrote into it" in failure.message


def test_hostile_text_arrives_unchanged(make):
    text = "\ud800 \x00 \x1b[31m \u2028 \u202e </script> \n{"
    scores = make("good").score_texts([{"answer": text}], [[text, text + "x"]])
    assert scores.rewards["good"] == [[1.0, 0.0]]


def test_a_batch_that_hangs_or_dies_is_repeated_row_by_row(make):
    scorer = make("batch", timeout=0.4)
    for bad, kind in (("hang", "timeout"), ("exit", "crash")):
        scores = scorer.score_texts([{"answer": "a"}], [["a", bad, "b"]])
        assert scores.rewards["batch"] == [[1.0, None, 0.0]]
        assert [(f.sample, f.kind) for f in scores.failures] == [(1, kind)]


def test_a_reward_that_always_dies_is_not_called_for_ever(make):
    scorer = make("acts")
    scores = scorer.score_texts([{}], [["exit"] * 20])
    assert scores.rewards["acts"] == [[None] * 20]
    messages = [f.message for f in scores.failures]
    assert messages[:8] == ["its process ended with exit code 0"] * 8
    assert messages[8].startswith("was not called: its worker was lost 8 times")
    assert len(messages) == 20
    assert scorer.score_texts([{}], [["fine"]]).rewards["acts"] == [[1.0]]


def test_async_rewards_run_together_and_fail_alone(make):
    scorer = make("waits", timeout=0.6)
    scorer.start()
    begin = time.monotonic()
    scores = scorer.score_texts([{}], [["ok"] * 30])
    assert time.monotonic() - begin < 1.5  # 3 s if they came one after the other
    assert scores.rewards["waits"] == [[1.0] * 30]
    texts = ["ok", "raise", "ok", "late", "ok"]
    scores = scorer.score_texts([{}], [texts])
    assert scores.rewards["waits"] == [[1.0, None, 1.0, None, 1.0]]
    assert [(f.sample, f.kind) for f in scores.failures] == [(1, "exception"), (3, "timeout")]


def test_an_async_reward_that_kills_or_blocks_its_process_loses_one_row(make):
    scorer = make("waits", timeout=0.5)
    for bad, kind in (("exit", "crash"), ("block", "timeout")):
        scores = scorer.score_texts([{}], [["ok"] * 4 + [bad] + ["ok"] * 6])
        assert scores.rewards["waits"] == [[1.0] * 4 + [None] + [1.0] * 6]
        assert [(f.sample, f.kind) for f in scores.failures] == [(4, kind)]


def test_an_async_reward_says_how_many_calls_wait_and_none_pays_for_the_queue(make):
    scorer = make("two_at_once", timeout=1.0)
    scores = scorer.score_texts([{}], [["ok"] * 8])  # 1.2 s for all, 0.3 s for each
    assert scores.failures == ()
    assert max(scores.rewards["two_at_once"][0]) == 2.0
    assert all(0.5 < left <= 1.0 for left in scores.components["two_at_once/left"][0])
    assert make("two_at_once", isolate=False).score_texts([{}], [["ok"]]).components == {}


def test_an_error_on_purpose_speaks_for_itself(make):
    (failure,) = make("ends_the_run").score_texts([{}], [["told"]]).failures
    assert (failure.kind, failure.remedy) == ("exception", "start it")
    assert failure.message == "the server is down (http://judge)"


@pytest.mark.parametrize("isolate", [True, False])
def test_a_reward_can_end_the_run(make, isolate):
    scores = make("ends_the_run", isolate=isolate).score_texts([{}], [["a", "spent", "b"]])
    known = 0.0 if isolate else 1.0  # a worker's call has a deadline
    assert scores.rewards["ends_the_run"] == [[known, None, known]]
    with pytest.raises(RewardError, match="the money is spent") as caught:
        ErrorBudget(1.0).add(scores)
    assert caught.value.remedy == "raise max_cost"
    assert "reward ends_the_run of naughty/ends_the_run" in caught.value.place
