"""reference-probability: where the answer is put, and what its log-probs become."""

from __future__ import annotations

import math
import time

import pytest
from pydantic import ValidationError

from grpokit_rewards_intrinsic.reference import ReferenceConfig, aggregate, continuations
from grpokit_rewards_intrinsic.wrappers import inside

PLACES = [
    ("so \\boxed{5} ok", "boxed", "so \\boxed{"),
    ("\\boxed{1} or \\boxed{ 2 }", "boxed", "\\boxed{1} or \\boxed{ "),
    ("\\boxed{\\frac{1}{2}}", "boxed", "\\boxed{"),
    ("\\boxed{1} \\boxed{2", "boxed", "\\boxed{"),
    ("\\boxed{1} \\boxed{ }", "boxed", "\\boxed{"),
    ("\\boxed{a \\boxed{b} c}", "boxed", "\\boxed{a \\boxed{"),
    ("\\boxed{\\{1\\}}", "boxed", "\\boxed{"),
    ("{boxed{5}}", "boxed", None),
    ("\\boxed 5", "boxed", None),
    ("\\boxed{5", "boxed", None),
    (
        "<think>\\boxed{1}</think> it is \\boxed{2}",
        "boxed",
        "<think>\\boxed{1}</think> it is \\boxed{",
    ),
    ("\\boxed{1} <think>\\boxed{2}", "boxed", None),
    ("<think>\\boxed{1}</think>", "boxed", None),
    ("<answer>1</answer><answer> 2</answer>", "tag", "<answer>1</answer><answer> "),
    ("<answer>1</answer><answer></answer>", "tag", "<answer>"),
    ("<answer>1", "tag", None),
    ("1</answer>", "tag", None),
    ("so\n#### 7\nbye", "hash", "so\n#### "),
    ("#### 1\n####  \n", "hash", "#### "),
    ("####", "hash", None),
    ("", "boxed", None),
    ("", "tag", None),
]


@pytest.mark.parametrize(("text", "wrapper", "before"), PLACES)
def test_the_reference_answer_goes_where_the_own_one_begins(text, wrapper, before):
    found = inside(text, wrapper, "answer")
    assert (None if found is None else text[:found]) == before


@pytest.mark.parametrize(
    "piece", ["\\boxed{", "}", "{", "<answer>", "</answer>", "####", "<think>", "</think>"]
)
def test_hostile_texts_cost_linear_time(piece):
    text = piece * (400_000 // len(piece))
    began = time.process_time()
    for wrapper in ("boxed", "tag", "hash"):
        inside(text, wrapper, "answer")
    assert time.process_time() - began < 2


def asked(completion, answer="42", **settings):
    found = continuations(ReferenceConfig.model_validate(settings))(completion, answer)
    return [(one.before, one.target) for one in found]


def test_what_is_asked():
    text = "6 * 7 \\boxed{41}"
    assert asked(text) == [("6 * 7 \\boxed{", "42"), ("\\boxed{", "42")]
    assert asked(text, debias="nothing") == [("6 * 7 \\boxed{", "42"), (" ", "42")]
    assert asked(text, debias="off") == [("6 * 7 \\boxed{", "42")]
    assert asked("so\n#### 41", wrapper="hash") == [("so\n#### ", "42"), ("#### ", "42")]
    assert asked("<a>41</a>", wrapper="tag", tag="a") == [("<a>", "42"), ("<a>", "42")]
    assert asked(text, answer="it is 42\n#### 42") == asked(text)
    assert asked("no wrapper") == []
    assert asked(text, answer=None) == []


LOGPROBS = [math.log(0.9), math.log(0.2), math.log(0.5)]


def test_one_number_out_of_the_tokens():
    assert aggregate(LOGPROBS, "mean") == pytest.approx(1.6 / 3)
    assert aggregate(LOGPROBS, "product") == pytest.approx(0.09)
    assert aggregate(LOGPROBS, "geometric") == pytest.approx(0.09 ** (1 / 3))
    assert aggregate(LOGPROBS, "mean-log") == pytest.approx(math.log(0.09) / 3)


def test_the_score_is_what_the_reasoning_adds(build):
    score = build("reference-probability")("42", [[math.log(0.9)], [math.log(0.25)]])
    assert score.value == pytest.approx(0.65)
    assert score.components["with-reasoning"] == pytest.approx(0.9)
    assert score.components["without-reasoning"] == pytest.approx(0.25)
    worse = build("reference-probability")("42", [[math.log(0.1)], [math.log(0.25)]])
    assert worse.value == 0.0
    plain = build("reference-probability", debias="off")("42", [[math.log(0.9)]])
    assert plain.value == pytest.approx(0.9)


def test_without_a_wrapper_it_is_0_or_nothing_and_too_long_is_nothing(build):
    assert build("reference-probability")("42", []).value == 0.0
    assert build("reference-probability", missing="abstain")("42", []).value is None
    assert build("reference-probability")("42", [None, [-1.0]]).value is None
    assert build("reference-probability")("42", [[-1.0], None]).value is None
    assert build("reference-probability")(None, []) is None


@pytest.mark.parametrize(
    "settings", [{"aggregate": "mean-log"}, {"aggregate": "mean-log", "debias": "off"}]
)
def test_a_mean_log_is_no_probability(settings):
    with pytest.raises(ValidationError, match="mean-log"):
        ReferenceConfig.model_validate(settings)
