"""What answers cost by a table of prices; what is not known stays unknown."""

from dataclasses import replace

import pytest

from grpokit.errors import RecipeError
from grpokit.evaluate.prices import Price, cost_of, read_prices
from grpokit.evaluate.run import evaluate, prepare
from toy_answers import Answers, sampled_recipe
from toy_parts import toy_catalog


@pytest.fixture(scope="module")
def found():
    """Ten questions of one token, four answers of 5, 6, 7 and 8 tokens each."""
    exam = prepare(sampled_recipe(limit=10, samples=4, scoring={"isolate": False}), toy_catalog())
    with exam.scorer() as scorer:
        made = evaluate(Answers(lambda level: 1), exam, label="m", scorer=scorer)
    return replace(made, seconds=1800.0)


def test_tokens_are_paid_for_each_answer(found):
    cost = cost_of(found, {"m": Price(input=3.0, output=0.5)})
    assert cost.total == pytest.approx((40 * 1 * 3.0 + 10 * (5 + 6 + 7 + 8) * 0.5) / 1e6)
    assert cost.each == pytest.approx(cost.total / 10)


def test_time_is_paid_by_the_hour(found):
    cost = cost_of(found, {"m": Price(hour=2.0)})
    assert cost.total == pytest.approx(1.0)


def test_a_row_is_found_by_the_model_too(found):
    named = replace(found, fingerprint={**found.fingerprint, "model": {"model": "org/x"}})
    assert cost_of(named, {"org/x": Price(hour=2.0)}).total == pytest.approx(1.0)
    both = {"org/x": Price(hour=2.0), "m": Price(hour=4.0)}
    assert cost_of(named, both).total == pytest.approx(2.0)  # the label is nearer


def test_what_is_not_known_has_no_cost(found):
    assert cost_of(found, {"other": Price(hour=2.0)}).total is None
    interrupted = cost_of(replace(found, seconds=0.0), {"m": Price(hour=2.0)})
    assert (interrupted.total, interrupted.why) == (None, "its seconds are not known")
    old = replace(found, items=tuple(replace(item, prompt_tokens=None) for item in found.items))
    cost = cost_of(old, {"m": Price(input=3.0, output=0.5)})
    assert (cost.each, cost.why) == (None, "the tokens of its questions were not kept")


def test_a_table_is_read_and_its_mistakes_are_named_at_once(tmp_path):
    path = tmp_path / "prices.yaml"
    path.write_text("a: {input: 0.15, output: 1}\nb: {hour: 1.2}\n")
    assert read_prices(path) == {"a": Price(input=0.15, output=1), "b": Price(hour=1.2)}
    path.write_text(
        "a: {input: 1}\nb: {hour: -1}\nc: {hour: 1, input: 1, output: 1}\nd: 3\ne: {}\n"
    )
    with pytest.raises(RecipeError) as caught:
        read_prices(path)
    assert caught.value.place == str(path)
    for name in "abcde":
        assert f"{name}: " in caught.value.fact or f"{name}." in caught.value.fact
    for text in ("", "- 1", "a: [", "a: !!python/object:os.system {}"):
        path.write_text(text)
        with pytest.raises(RecipeError):
            read_prices(path)
