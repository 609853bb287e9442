"""Weights, totals and what plan asks."""

from __future__ import annotations

from datetime import date

from grpokit.api import Completion, Prompt, Rollout, Sampling
from grpokit.registry.catalog import Catalog
from grpokit.scoring.scorer import Scorer, setups
from grpokit.scoring.tables import Tables
from grpokit.spec.recipe import RewardSection
from naughty import naughty


def test_the_total_is_the_weighted_sum_of_what_was_scored(make):
    scorer = make(naughty("good", weight=2.0), naughty("one", weight=-0.5), isolate=False)
    scores = scorer.score_texts([{"answer": "a"}], [["a", "b"]])
    assert scores.rewards == {"good": [[1.0, 0.0]], "one": [[1.0, 1.0]]}
    assert scores.total == [[1.5, -0.5]]


def test_an_abstention_is_left_out_and_a_failure_takes_the_total_along(make):
    scorer = make(naughty("acts", weight=1.0), naughty("one", weight=0.5), isolate=False)
    scores = scorer.score_texts([{}], [["none", "nan", "fine"]])
    assert scores.rewards["acts"] == [[None, None, 1.0]]
    assert scores.total == [[0.5, None, 1.5]]


def test_weight_0_measures_and_never_touches_the_total(make):
    scorer = make(naughty("acts", weight=0.0), naughty("one", weight=1.0), isolate=False)
    scores = scorer.score_texts([{}], [["nan", "fine"]])
    assert scores.total == [[1.0, 1.0]]
    assert scores.weights == {"acts": 0.0, "one": 1.0}
    assert len(scores.failures) == 1
    alone = make(naughty("one", weight=0.0), isolate=False)
    assert alone.score_texts([{}], [["a"]]).total == [[None]]


def test_a_failure_names_the_row_of_the_data_set(make):
    scorer = make("raises_on_bad", isolate=False)
    scores = scorer.score_texts([{}, {}], [["ok"], ["ok", "bad"]], indices=[40, 17])
    (failure,) = scores.failures
    assert (failure.row, failure.prompt_index, failure.sample) == (17, 1, 1)
    assert failure.message.startswith("raised ValueError: I do not like it")


def test_a_rollout_is_scored_with_its_finish_and_lengths():
    section = RewardSection.model_validate({"use": "length", "with": {"max": 2, "ramp": 3}})
    prompt = Prompt(id="0", index=9, row={}, messages=({"role": "user", "content": "Q"},))
    group = tuple(
        Completion(token_ids=tuple(range(n)), text="x", finish="length") for n in (1, 3, 9)
    )
    rollout = Rollout(
        prompts=(prompt,),
        prompt_ids=((1,),),
        completions=(group,),
        sampling=Sampling(group=3, max_tokens=9),
    )
    with Scorer(setups(Catalog.load({"GRPOKIT_PLUGINS": ""}), [section])) as scorer:
        assert scorer.score(rollout).total == [[1.0, 0.75, 0.0]]


def test_setups_take_names_weights_and_settings_from_the_recipe():
    sections = [
        RewardSection.model_validate({"use": "number", "with": {"partial": 0.1}, "weight": 0.9}),
        RewardSection.model_validate({"use": "format", "with": {"boxed": True}, "name": "box"}),
    ]
    first, second = setups(Catalog.load({"GRPOKIT_PLUGINS": ""}), sections)
    assert (first.name, first.entry.id, first.weight) == ("number", "number", 0.9)
    assert (second.name, second.settings) == ("box", {"boxed": True})


def test_missing_columns_are_said_before_the_run_with_what_there_is(make):
    scorer = make("one", "good", "batch")
    good, batch = scorer.problems(("question", "solution"))
    assert good.level == "error"
    assert good.key == "rewards.1"
    assert good.fact == (
        "the reward good of naughty/good (grpokit-naughty 1.2) asks for the column 'answer', "
        "which the data set lacks; it has: question, solution"
    )
    assert "dataset.columns: {answer:" in good.remedy
    assert "'answers'" in batch.fact
    assert scorer.problems(("answer",)) == ()


def test_values_without_a_json_form_of_their_own_are_sent_as_text_or_numbers(make):
    row = {"question": date(2024, 2, 29), "answer": ("x",)}
    assert make("everything").score_texts([row], [["a"]]).rewards["everything"] == [[1.0]]


def test_tables_are_made_once_for_each_component(make, monkeypatch):
    """Not once for each completion: a table is as long as the batch."""
    made = []
    empty = Tables._empty
    monkeypatch.setattr(Tables, "_empty", lambda self: made.append(1) or empty(self))
    scores = make("acts", isolate=False).score_texts([{}] * 5, [["score", "score"]] * 5)
    assert len(scores.components) == 1
    assert made == [1] * (1 + 1 + len(scores.components))  # total, score, components
