from __future__ import annotations

import functools

import pytest

from grpokit.api import ComponentError, reward
from grpokit.scoring.signature import ask, missing_columns

COLUMNS = ("question", "answer", "category")


def test_a_column_that_the_data_set_lacks_is_found():
    def function(completion, prompt, row, answer, solution, level=3):
        raise AssertionError

    assert missing_columns(function, COLUMNS) == ("solution",)
    assert missing_columns(function, ("answer", "solution")) == ()


def test_plural_names_are_columns_in_batch_and_group_form_only():
    def rows(completion, answers):
        raise AssertionError

    def batch(completions, answers, categories, questions, rows, prompts, tokens):
        raise AssertionError

    assert missing_columns(rows, COLUMNS) == ("answers",)
    assert missing_columns(batch, COLUMNS) == ()
    assert missing_columns(reward(form="group")(batch), COLUMNS) == ()
    assert missing_columns(batch, ("answer",)) == ("categories", "questions")


def test_the_form_is_marked_or_read_from_the_name():
    def rows(completion):
        raise AssertionError

    def batch(completions):
        raise AssertionError

    assert ask(rows).form == "row"
    assert ask(batch).form == "batch"
    assert ask(reward(form="group")(batch)).form == "group"


def test_only_what_is_asked_for_is_sent():
    def few(completion, answer):
        raise AssertionError

    def whole(completion, row):
        raise AssertionError

    assert ask(few).columns(COLUMNS) == ("answer",)
    assert ask(whole).columns(COLUMNS) == COLUMNS
    assert ask(lambda completion, **rest: 0).columns(COLUMNS) == COLUMNS


def test_objects_partials_and_wrappers_are_read():
    class Judge:
        async def __call__(self, completion, answer):
            raise AssertionError

    def scaled(completion, answer, factor):
        raise AssertionError

    @functools.wraps(scaled)
    def wrapper(*args, **kwargs):
        raise AssertionError

    assert ask(Judge()).is_async
    assert ask(Judge()).required == ("completion", "answer")
    assert ask(functools.partial(scaled, factor=2)).optional == ("factor",)
    assert ask(wrapper).required == ("completion", "answer", "factor")


def test_what_cannot_be_called_by_name_is_refused():
    def fixed(completion, /, answer):
        raise AssertionError

    with pytest.raises(ComponentError, match="positional-only parameters: completion"):
        ask(fixed)
    with pytest.raises(ComponentError, match="no function whose parameters can be read"):
        ask("text")  # type: ignore[arg-type]
