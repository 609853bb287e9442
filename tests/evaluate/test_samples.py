"""Several answers to each question: what is asked, counted, paired and written."""

import itertools
import json
from dataclasses import replace

import pytest

from grpokit.errors import PreflightError
from grpokit.evaluate.intervals import wilson
from grpokit.evaluate.means import difference_interval, share_interval
from grpokit.evaluate.records import compare_evaluations, write_evaluation
from grpokit.evaluate.run import BATCH, during_training, evaluate, prepare, prepare_single
from toy_answers import Answers, sampled_recipe
from toy_parts import toy_catalog


def recipe(**changes):
    return sampled_recipe(20, **{"samples": 8, **changes})


def run(model, made, label="m"):
    exam = prepare(made, toy_catalog())
    with exam.scorer() as scorer:
        return evaluate(model, exam, label=label, scorer=scorer)


def test_every_question_is_answered_as_often_as_asked():
    model = Answers(lambda level: level % 3)
    said = []
    exam = prepare(recipe(), toy_catalog())
    with exam.scorer() as scorer:
        found = evaluate(
            model, exam, label="m", scorer=scorer, progress=lambda *at: said.append(at)
        )
    assert len(found.items) == 160
    assert [item.sample for item in found.items[:9]] == [0, 1, 2, 3, 4, 5, 6, 7, 0]
    assert list(found.counts.values()) == [level % 3 for level in range(20)]
    assert {sampling.group for _, sampling in model.asked} == {8}
    assert [len(levels) for levels, _ in model.asked] == [BATCH // 8] * 5  # 32 answers a call
    assert said[0] == (0, 20)
    assert said[-1] == (20, 20)
    assert found.right == sum(level % 3 for level in range(20))
    assert found.accuracy == pytest.approx(found.right / 160)


def test_pass_at_k_is_the_share_of_draws_with_a_right_answer():
    found = run(Answers(lambda level: level % 4), recipe())
    assert list(found.passes) == [1, 2, 4, 8]
    for k, (value, interval) in found.passes.items():
        by_hand = []
        for level in range(20):
            marks = [g < level % 4 for g in range(8)]
            draws = [any(draw) for draw in itertools.combinations(marks, k)]
            by_hand.append(sum(draws) / len(draws))
        assert value == pytest.approx(sum(by_hand) / 20)
        assert interval == pytest.approx(share_interval(by_hand, samples=8))
    assert found.passes[1] == (pytest.approx(found.accuracy), pytest.approx(found.interval))
    assert found.passes[8][0] == 0.75


def test_answers_to_one_question_are_no_new_questions():
    """Ten questions always right and ten never are as uncertain as with one answer to each."""
    found = run(Answers(lambda level: 8 * (level % 2)), recipe())
    assert found.interval == pytest.approx(wilson(10, 20), abs=5e-3)


def test_what_cannot_be_asked_is_refused():
    with pytest.raises(PreflightError, match=r"8 greedy answers .* the same") as caught:
        prepare(recipe(temperature=0.0), toy_catalog())
    assert caught.value.place == "eval.samples"
    with pytest.raises(PreflightError, match="pass@16 cannot be told from 8 answers"):
        prepare(recipe(pass_at=[1, 16]), toy_catalog())
    with pytest.raises(PreflightError, match="20 questions have no 'source'"):
        prepare(recipe(cluster="source"), toy_catalog())
    with pytest.raises(PreflightError, match=r"a receipt counts one answer .* asks for 8 answers"):
        prepare_single(recipe(), toy_catalog(), place="a receipt")
    with pytest.raises(PreflightError, match="clusters of questions"):
        prepare_single(recipe(samples=1, cluster="level"), toy_catalog(), place="a receipt")
    assert prepare(recipe(pass_at=[4, 2, 4]), toy_catalog()).pass_at == (2, 4)


def test_two_models_are_paired_by_their_shares():
    first = run(Answers(lambda level: level % 3), recipe(), "base")
    second = run(Answers(lambda level: 3 + level % 3 if level < 12 else 0), recipe(), "trained")
    found = compare_evaluations(first, second)
    assert (found.samples, found.test) == (8, "sign-flip")
    assert found.difference == pytest.approx(second.accuracy - first.accuracy)
    shares = [[count / 8 for count in each.counts.values()] for each in (first, second)]
    assert found.interval == pytest.approx(difference_interval(*shares, samples=8))
    ids = list(first.counts)
    assert found.gained == tuple(ids[:12])
    assert found.support_gained == tuple(ids[level] for level in (0, 3, 6, 9))
    assert set(found.support_lost) == {ids[level] for level in range(12, 20) if level % 3}
    assert found.verdict == ("improved" if found.interval[0] > 0 else "no detectable change")
    with pytest.raises(
        PreflightError, match=r"base answered each question 8 times, trained 4 times"
    ):
        compare_evaluations(first, run(Answers(lambda level: 1), recipe(samples=4), "trained"))


def test_clusters_widen_the_interval():
    alone = run(Answers(lambda level: 8 * (level % 4 < 2)), recipe())
    pairs = tuple(replace(item, cluster=str(item.index // 2)) for item in alone.items)
    together = replace(alone, items=pairs)
    assert together.clusters is not None
    low, high = together.interval
    assert high - low > 1.3 * (alone.interval[1] - alone.interval[0])
    assert low < alone.accuracy < high


def test_what_is_written_holds_every_answer_and_every_number(tmp_path):
    found = run(Answers(lambda level: level % 3), recipe())
    write_evaluation(tmp_path, [found], None)
    lines = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert [(line["id"], line["sample"]) for line in lines[:2]] == [
        (found.items[0].id, 0),
        (found.items[0].id, 1),
    ]
    (model,) = json.loads((tmp_path / "summary.json").read_text())["models"]
    assert (model["items"], model["samples"], model["correct"]) == (20, 8, found.right)
    assert model["pass_at"]["8"]["value"] == found.passes[8][0]
    assert model["tokens_right"] == {
        "mean": pytest.approx(5 + 6 / 19),
        "median": 5,
        "p95": 6,
        "most": 6,
    }
    assert model["tokens_wrong"]["most"] == 12
    assert model["fingerprint"]["batch"] == 4


def test_an_evaluation_during_training_tells_pass_at_k():
    metrics = during_training(recipe(), toy_catalog())(
        Answers(lambda level: level % 2), lambda: None, lambda score, rollout: score(rollout)
    )
    assert metrics["questions"] == 20.0
    assert metrics["accuracy"] == pytest.approx(0.5 / 8)
    assert metrics["pass@8"] == 0.5
    assert "pass@1" not in metrics
