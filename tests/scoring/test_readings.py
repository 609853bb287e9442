"""What rewards read in completions, in their own workers: answers, confidences, and what goes wrong."""

import pytest

from naughty import naughty

TEXTS = ["a ", "raise", "", "number", "x" * 5000, "\ud800"]


def reading(**spec):
    return naughty("fine", module="reading_rewards", **spec)


@pytest.mark.parametrize("isolate", [True, False])
def test_what_is_read_and_what_is_no_answer(make, isolate):
    scorer = make(reading(answer="reading_rewards:words"), isolate=isolate)
    read = scorer.read("answer", "fine", TEXTS)
    assert [outcome.note for outcome in read[:4]] == ["a", "", "", ""]
    assert [outcome.fault and outcome.fault.kind for outcome in read] == [
        None,
        "exception",
        None,
        "type",
        None,
        None,
    ]
    assert read[3].fault.message == "its answer is a int"
    assert len(read[4].note) == 2000
    other = scorer.read("answer", "fine", ["x" * 5001])[0]
    assert other.note != read[4].note  # long answers that differ stay apart
    assert read[5].note == "\\ud800"
    assert scorer.score_texts([{"answer": "a"}], [["a", "b"]]).rewards["fine"] == [[1, 0]]


@pytest.mark.parametrize("isolate", [True, False])
def test_a_confidence_is_a_number_from_0_to_1(make, isolate):
    scorer = make(reading(confidence="reading_rewards:sure"), isolate=isolate)
    read = scorer.read("confidence", "fine", ["0.25", "1", "1.5", "nan", "much"])
    assert [outcome.value for outcome in read] == [0.25, 1.0, None, None, None]
    assert [outcome.fault and outcome.fault.kind for outcome in read] == [
        None,
        None,
        "type",
        "non-finite",
        "exception",
    ]


def test_a_hang_or_a_death_costs_one_completion(make):
    scorer = make(reading(answer="reading_rewards:words"), timeout=1.0)
    read = scorer.read("answer", "fine", ["a", "hang", "b", "die", "c"])
    assert [outcome.note for outcome in read] == ["a", "", "b", "", "c"]
    assert [read[1].fault.kind, read[3].fault.kind] == ["timeout", "crash"]
    assert scorer.score_texts([{"answer": "a"}], [["a"]]).rewards["fine"] == [[1]]


@pytest.mark.parametrize("isolate", [True, False])
@pytest.mark.parametrize(
    ("function", "told"), [("nowhere", "has no attribute"), ("asks_more", "takes the completion")]
)
def test_a_wrong_function_loses_no_score(make, function, told, isolate):
    scorer = make(reading(answer=f"reading_rewards:{function}"), isolate=isolate)
    assert scorer.score_texts([{"answer": "a"}], [["a"]]).rewards["fine"] == [[1]]
    read = scorer.read("answer", "fine", ["a", "b"])
    assert [told in outcome.fault.message for outcome in read] == [True, True]
