"""What an evaluation reads in answers: for votes, for a lenient verdict, for calibration."""

import json

import pytest

from grpokit.builtins.rewards.specs import SPECS
from grpokit.errors import ComponentError
from grpokit.evaluate.kept import Kept
from grpokit.evaluate.records import compare_evaluations, summary, write_evaluation
from grpokit.evaluate.run import during_training, evaluate, prepare, prepare_single
from grpokit.spec.components import RewardSpec
from toy_answers import Answers, Sayings, sampled_recipe
from toy_parts import toy_catalog

CATALOG = toy_catalog(
    *SPECS,
    RewardSpec(
        name="sure",
        summary="Toy.",
        target="grpokit_rewards_intrinsic.brier:brier",
        config="grpokit_rewards_intrinsic.brier:BrierConfig",
        answer="grpokit_math.rewards.answer:read_answer",
        confidence="grpokit_rewards_intrinsic.brier:stated_confidence",
        range=None,
    ),
    RewardSpec(
        name="broken",
        summary="Toy.",
        target="toy_parts:boxed",
        answer="reading_rewards:words",
    ),
)
NUMBER = {"use": "number", "with": {"from": ["boxed"]}}
FORM = {"use": "format", "with": {"boxed": True}, "weight": 0.1}


def recipe(samples=4, rewards=(NUMBER, FORM), isolate=False, **changes):
    if samples == 1:
        changes["temperature"] = 0.0
    scoring = {"isolate": isolate}
    return sampled_recipe(6, samples, rewards=list(rewards), scoring=scoring, **changes)


def run(model, made, label="m", **more):
    exam = prepare(made, CATALOG)
    with exam.scorer() as scorer:
        return evaluate(model, exam, label=label, scorer=scorer, **more)


def mixed(level):
    """The gold answer is level + 3: right, right in other words, wrong, right in no box."""
    gold = level + 3
    return [f"\\boxed{{{gold}}}", f"\\boxed{{{gold}.0}}", "\\boxed{99}", f"It is {gold}."]


def test_answers_are_read_in_a_normal_form_and_voted_on():
    found = run(Sayings(mixed), recipe(isolate=True))
    assert [item.read for item in found.items[:4]] == ["3", "3", "99", None]
    assert [item.answer for item in found.items[:4]] == ["3"] * 4  # the gold answer stays
    assert found.accuracy == 0.5
    assert found.majority[1][0] == pytest.approx(0.5)
    assert found.majority[4][0] == 1.0  # two of three votes
    # Of the four draws of three, 3 3 99 and 3 3 - are won, and 3 99 - (twice) are ties.
    data = found.as_dict()
    assert data["majority"]["2"]["value"] == pytest.approx((1 + 2 * 0.5 + 2 * 1 + 0) / 6)
    assert (data["tied"], data["disputed"], data["majority"]["4"]["all_draws"]) == (0, 0, True)
    assert data["rates"]["no_answer"] == 0.25
    assert data["rates"]["form"] == {"format": 0.75}
    assert data["rates"]["dropped"] == 0


def test_the_lenient_reading_stands_beside_and_never_below():
    found = run(Sayings(mixed), recipe())
    assert set(found.rewards()) == {"number", "format"}  # it is no reward of the recipe
    assert [item.lenient for item in found.items[:4]] == [True, True, False, True]
    assert found.as_dict()["lenient"]["correct"] == 18
    assert found.as_dict()["lenient"]["accuracy"] == 0.75
    assert found.measured.lenient == "number {from: [last]}"
    boxes = run(Sayings(lambda level: [f"\\boxed{{{level + 3}}} of 50"] * 4), recipe())
    assert [item.lenient for item in boxes.items] == [False] * 24
    assert boxes.as_dict()["lenient"]["accuracy"] == 1.0


def test_a_gain_that_is_mostly_format_is_called_so():
    def plain(level):
        return [f"It is {level + 3}."] * 4

    def boxed(level):
        return [f"\\boxed{{{level + 3}}}"] * 4

    before, after = run(Sayings(plain), recipe()), run(Sayings(boxed), recipe())
    found = compare_evaluations(before, after)
    assert (found.difference, found.verdict) == (1.0, "improved")
    assert (found.lenient.difference, found.mostly_format) == (0.0, True)
    assert found.as_dict()["mostly_format"]
    learned = compare_evaluations(run(Sayings(lambda _: ["\\boxed{99}"] * 4), recipe()), after)
    assert (learned.lenient.difference, learned.mostly_format) == (1.0, False)


def test_a_recipe_can_name_another_lenient_reward():
    other = {"use": "contains", "threshold": 0.5}
    found = run(Sayings(mixed), recipe(lenient=other))
    assert found.measured.lenient == "contains {}"
    assert [item.lenient for item in found.items[-4:]] == [True, False, False, True]
    loose = [{"use": "number", "with": {"from": ["last"]}}]
    assert run(Sayings(mixed), recipe(rewards=loose)).lenient is None  # it is lenient already


def test_a_confidence_that_is_stated_is_compared_with_what_is_right():
    def said(level):
        right, wrong = f"\\boxed{{{level + 3}}}", "\\boxed{99}"
        return [
            f"{right}<confidence>0.9</confidence>",
            f"{wrong}<confidence>20%</confidence>",
            f"{wrong}<confidence>high</confidence>",
            right,
        ]

    found = run(Sayings(said), recipe(rewards=[NUMBER, {"use": "sure", "weight": 0}]))
    assert [item.confidence for item in found.items[:4]] == [0.9, 0.2, None, None]
    data = found.calibration
    assert data["answers"] == 12
    assert data["brier"] == pytest.approx((0.1**2 + 0.2**2) / 2)
    assert data["ece"] == pytest.approx((0.1 + 0.2) / 2)
    assert data["auroc"] == 1.0
    assert run(Sayings(mixed), recipe()).calibration is None


def test_what_cannot_be_read_is_counted_and_fails_nothing_else():
    def said(level):
        return [f"\\boxed{{{level + 3}}}", "raise"]

    found = run(Sayings(said), recipe(samples=2, rewards=[{"use": "broken"}], isolate=True))
    assert found.accuracy == 0.5
    assert found.failed == 0
    assert [bool(item.unread) for item in found.items[:2]] == [False, True]
    assert found.items[1].unread["answer"].startswith("exception: raised KeyError")
    assert found.rates["unread"] == 6
    assert found.rates["no_answer"] == 0.0


def test_one_that_always_says_the_same_is_told():
    found = run(Sayings(lambda _: ["\\boxed{5}"] * 4), recipe())
    constant = found.rates["constant"]
    assert constant == {
        "answer": "5",
        "share": 1.0,
        "gold": "3",
        "gold_share": pytest.approx(1 / 6),
        "excess": pytest.approx(5 / 6),
    }


def test_what_was_read_survives_an_interrupted_evaluation(tmp_path):
    kept = Kept(tmp_path)
    first = run(Sayings(mixed), recipe(), kept=kept)
    again = run(Sayings(mixed, batches=0), recipe(), kept=Kept(tmp_path))
    assert again.items == first.items
    assert again.rates == first.rates


def test_the_files_hold_it_all_and_gain_keys_only(tmp_path):
    found = run(Sayings(mixed), recipe())
    write_evaluation(tmp_path, [found], None)
    rows = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert rows[1]["read"] == "3"
    assert rows[1]["lenient"] is True
    assert rows[3]["read"] is None
    written = json.loads((tmp_path / "summary.json").read_text())
    assert written["format"] == 1
    assert written["overlap"] is None
    assert written == json.loads(json.dumps(summary([found], None)))


def test_training_and_receipts_read_nothing():
    single = recipe(samples=1)
    assert prepare_single(single, CATALOG, place="a receipt").readings.lenient is None
    metrics = during_training(single, CATALOG)(
        Answers(lambda _: 1), lambda: None, lambda score, rollout: score(rollout)
    )
    assert metrics["accuracy"] == 1.0
    assert not any("lenient" in name for name in metrics)


def test_a_backend_that_drops_answers_is_refused():
    class Lossy(Sayings):
        def generate(self, prompts, sampling, should_stop=None):
            whole = super().generate(prompts, sampling, should_stop)
            groups = (whole.completions[0][:-1], *whole.completions[1:])
            return type(whole)(
                prompts=whole.prompts,
                prompt_ids=whole.prompt_ids,
                completions=groups,
                sampling=sampling,
            )

    with pytest.raises(ComponentError, match="gave 23 answers where 24 were asked for"):
        run(Lossy(mixed), recipe())
