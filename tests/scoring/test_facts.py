"""Rewards that ask the policy: what they ask, what they get, and what happens without one."""

from __future__ import annotations

from typing import Any

import pytest

from asking_rewards import Oracle
from grpokit.errors import ComponentError, PreflightError
from grpokit.scoring.facts import facts_of, needs_model
from grpokit.scoring.scorer import RewardSetup
from grpokit.spec.flow import Completion, Continuation, Prompt, Rollout, Sampling
from naughty import naughty

STATISTICS = frozenset({"token-statistics"})
CONTINUATIONS = frozenset({"continuations"})


def asking(name: str, needs: frozenset[str] = STATISTICS, **more: Any) -> RewardSetup:
    return naughty(name, module="asking_rewards", needs=needs, **more)


def probable(name: str = "probable", ahead: str = "answer_after") -> RewardSetup:
    return asking(name, CONTINUATIONS, continuations=f"asking_rewards:{ahead}")


def rollout_of(*groups: tuple[str, ...]) -> Rollout:
    """Completion k of the rollout has the tokens 1, 2, ... k + 1."""
    prompts = tuple(
        Prompt(id=str(p), index=p, row={"answer": "ab c", "self_certainty": 7}, messages=())
        for p in range(len(groups))
    )
    texts = [(p, text) for p, group in enumerate(groups) for text in group]
    made = [
        (p, Completion(token_ids=tuple(range(1, k + 2)), text=text, finish="stop"))
        for k, (p, text) in enumerate(texts)
    ]
    return Rollout(
        prompts=prompts,
        prompt_ids=((1,),) * len(groups),
        completions=tuple(
            tuple(one for p, one in made if p == place) for place in range(len(groups))
        ),
        sampling=Sampling(group=len(groups[0]), max_tokens=9),
    )


def scored(scorer: Any, rollout: Rollout) -> Any:
    oracle = Oracle()
    scores = scorer.score(rollout, facts=facts_of(scorer, oracle, rollout))
    return scores, oracle.wanted


@pytest.mark.parametrize("isolate", [True, False])
def test_each_reward_gets_what_it_names(make, isolate):
    scorer = make(asking("sure"), asking("likely"), "one", isolate=isolate)
    scores, (wanted,) = scored(scorer, rollout_of(("a", "b"), ("c", "d")))
    assert wanted.logprobs
    assert wanted.self_certainty
    assert wanted.continuations == ()
    assert scores.rewards["sure"] == [[100, 102], [105, 109]]
    assert scores.rewards["likely"] == [[-1, -2], [-3, -4]]
    assert scores.rewards["one"] == [[1, 1], [1, 1]]
    assert not scores.failures


def test_only_what_is_asked_is_measured(make):
    _, (wanted,) = scored(make(asking("likely")), rollout_of(("a",)))
    assert (wanted.logprobs, wanted.self_certainty) == (True, False)


def test_for_other_rewards_the_names_are_columns(make):
    scorer = make(asking("column", frozenset()))
    assert not scorer.measures
    assert scorer.score(rollout_of(("a", "b"))).rewards["column"] == [[7, 7]]


def test_a_spec_that_forgot_its_needs_is_told_what_to_write(make):
    scorer = make(asking("sure", frozenset()))
    (problem,) = scorer.problems(("question", "answer"))
    assert "asks for 'self_certainty', which the policy would have to tell" in problem.fact
    assert 'needs=frozenset({"token-statistics"})' in problem.remedy


@pytest.mark.parametrize("isolate", [True, False])
def test_continuations_are_asked_of_the_reward_and_then_of_the_model(make, isolate):
    scorer = make(probable(), asking("sure"), isolate=isolate)
    scores, (wanted,) = scored(scorer, rollout_of(("x", "nothing")))
    own = (Continuation(before="x", target="ab c"), Continuation(before="", target="ab c ab c"))
    assert wanted.continuations == (own, ())
    assert scores.rewards["probable"] == [[-3, None]]
    assert scores.rewards["sure"] == [[100, 102]]
    assert not scores.failures


def test_two_rewards_with_continuations_get_their_own(make):
    second = asking("together", CONTINUATIONS, continuations="asking_rewards:answer_after")
    scores, _ = scored(make(probable(), second), rollout_of(("x", "nothing"), ("y", "z")))
    assert scores.rewards["together"] == [[2, None], [2, 2]]
    assert scores.rewards["probable"] == [[-3, None], [-3, -3]]


@pytest.mark.parametrize("isolate", [True, False])
def test_who_cannot_say_what_it_wants_has_no_score(make, isolate):
    texts = ("x", "raise", "text", "many", "surrogate", "long")
    scorer = make(probable(), "one", isolate=isolate)
    scores, (wanted,) = scored(scorer, rollout_of(texts))
    assert scores.rewards["probable"] == [[-3, *[None] * 5]]
    assert scores.total == [[-2, *[None] * 5]]
    assert scores.rewards["one"] == [[1] * 6]
    assert [failure.kind for failure in scores.failures] == ["exception", *["type"] * 4]
    assert "longer than 2,000,000 characters" in scores.failures[4].message
    assert "no continuation for me" in scores.failures[0].message
    assert "gave 17" in scores.failures[2].message
    assert [len(row) for row in wanted.continuations] == [2, 0, 0, 0, 0, 0]


def test_a_hang_or_a_death_ahead_costs_one_completion(make):
    scorer = make(probable(), timeout=1.0)
    scores, _ = scored(scorer, rollout_of(("x", "hang", "y", "die", "z")))
    assert scores.rewards["probable"] == [[-3, None, -3, None, -3]]
    assert [failure.kind for failure in scores.failures] == ["timeout", "crash"]


def test_a_group_is_called_with_who_failed_and_its_fault_stands(make):
    scores, _ = scored(make(probable("together")), rollout_of(("x", "raise"), ("raise", "raise")))
    assert scores.rewards["together"] == [[2, None], [None, None]]
    assert len(scores.failures) == 3


def test_without_a_model_it_is_refused_and_never_0(make):
    scorer = make(asking("sure"), "one")
    for call in (
        lambda: scorer.score(rollout_of(("a",))),
        lambda: scorer.score_texts([{}], [["a"]]),
        lambda: scorer.explain({}, "a"),
    ):
        with pytest.raises(PreflightError, match="`naughty/sure` needs what the policy says"):
            call()


def test_a_model_that_does_not_tell_is_named(make):
    scorer = make(asking("sure"))
    with pytest.raises(PreflightError, match="this backend does not tell") as caught:
        facts_of(scorer, object(), rollout_of(("a",)))
    assert caught.value.place == "backend.use"


def test_whoever_wants_nothing_asks_nobody(make):
    assert facts_of(make("one"), object(), rollout_of(("a",))) is None


def test_a_rollout_without_completions(make):
    nobody = Rollout(
        prompts=(), prompt_ids=(), completions=(), sampling=Sampling(group=2, max_tokens=3)
    )
    scores, _ = scored(make(probable()), nobody)
    assert scores.total == []


@pytest.mark.parametrize(
    ("ahead", "told"), [("nowhere", "has no attribute"), ("asks_twice", "takes one completion")]
)
def test_a_wrong_function_is_told_before_anything_runs(make, ahead, told):
    with pytest.raises(ComponentError, match=told):
        make(probable(ahead=ahead)).start()


def test_the_spec_says_who_needs_a_model():
    assert needs_model(asking("sure").entry)
    assert needs_model(probable().entry)
    assert not needs_model(naughty("one").entry)
