"""Questions that stand in the training data: equal, nearly equal, in part; and what is common wording."""

import pytest

from grpokit.evaluate import overlap
from grpokit.evaluate.overlap import compare_texts, find_overlap
from grpokit.evaluate.run import prepare
from toy_answers import sampled_recipe
from toy_parts import toy_catalog

LONG = (
    "A farmer has seventeen sheep and all but nine run away in the night, so how many of the "
    "sheep does the farmer still have"
)


def test_levels_and_the_first_row_that_has_it():
    questions = ["What is 2 + 3?", "What is 2 - 3?", "what is  4 + 4", LONG + " now?", "Who?"]
    rows = ["What is 9 + 9?", "What is 2 + 3?", "What is 4 + 4?", f"Tell me. {LONG}?"]
    assert compare_texts(questions, rows) == {
        0: ("exact", 1),
        2: ("normal", 2),
        3: ("part", 3),
    }


def test_signs_and_points_within_words_count():
    rows = ["What is 2 + 3?", "Add 15 to it."]
    assert compare_texts(["What is 2 * 3?", "Add 1.5 to it."], rows) == {}
    assert compare_texts(["WHAT IS 2 + 3"], rows) == {0: ("normal", 0)}


def test_twelve_words_are_not_thirteen():
    words = [f"w{at}" for at in range(13)]  # shorter than 50 characters
    assert compare_texts([" ".join(words)], ["x " + " ".join(words) + " y"]) == {0: ("part", 0)}
    assert compare_texts([" ".join(words[:12]) + " a"], ["x " + " ".join(words)]) == {}


def test_fifty_characters_are_found_in_few_words():
    text = "internationalisation institutionalisation counterrevolutionaries"
    assert compare_texts([text + " one"], ["two " + text]) == {0: ("part", 0)}
    assert compare_texts([text[:49] + "#"], ["two " + text]) == {}


def test_wording_that_all_have_in_common_is_no_overlap():
    rows = [f"{LONG}? Case {at}." for at in range(40)]
    assert compare_texts([f"{LONG}? Case {at}." for at in range(100, 140)], rows) == {}
    assert compare_texts([f"{LONG}? Case 100."], rows) == {}
    assert compare_texts([f"{LONG}? Case 100."], rows[:10]) == {0: ("part", 0)}


def recipe(**changes):
    made = sampled_recipe(20, 1, temperature=0.0, **changes)
    return made.model_copy(update={"prompt": made.prompt.model_copy(update={"use": "plain"})})


def test_the_questions_of_a_recipe_in_its_training_data(monkeypatch):
    """Training and questions are rows 0 to 40 and 30 to 40 of one table; question 0 is row 30."""
    made = recipe(dataset={"use": "sums", "with": {"start": 30}})
    exam = prepare(made, toy_catalog())
    found = find_overlap(exam, made, toy_catalog())
    assert found.counts == {"exact": 10, "normal": 0, "part": 0}
    assert found.found[exam.prompts[0].id] == ("exact", 30)
    assert (found.rows, found.size, found.same, found.problem) == (40, 40, False, "")
    assert not found.clean
    same = recipe()
    assert find_overlap(prepare(same, toy_catalog()), same, toy_catalog()).same
    monkeypatch.setattr(overlap, "ROWS", 35)
    some = find_overlap(exam, made, toy_catalog())
    assert (some.rows, some.counts["exact"], len(some.clean)) == (35, 5, 5)
    monkeypatch.setattr(overlap, "SECONDS", -1.0)
    late = find_overlap(exam, made, toy_catalog())
    assert (late.rows, late.problem) == (0, "-1 s were over")


def test_training_data_that_cannot_be_read_costs_no_evaluation():
    made = recipe(dataset={"use": "sums", "with": {"start": 30}})
    gone = made.model_copy(update={"dataset": made.dataset.model_copy(update={"use": "gone"})})
    found = find_overlap(prepare(made, toy_catalog()), gone, toy_catalog())
    assert found.problem.startswith("the training data: there is no dataset")
    bad = made.model_copy(update={"dataset": made.dataset.model_copy(update={"with_": {"bad": 3}})})
    found = find_overlap(prepare(made, toy_catalog()), bad, toy_catalog())
    assert (found.rows, found.problem) == (3, "training row 3: line 8 is no JSON")


def test_it_can_be_left_out():
    made = recipe(overlap="off")
    assert find_overlap(prepare(made, toy_catalog()), made, toy_catalog()) is None


def test_the_prompt_template_is_no_part_of_a_question():
    made = recipe(dataset={"use": "sums", "with": {"start": 30}})
    made = made.model_copy(
        update={
            "prompt": made.prompt.model_copy(update={"template": f"{LONG} {{question}} {LONG}"}),
            "dataset": made.dataset.model_copy(update={"with_": {"stop": 30}}),
        }
    )
    found = find_overlap(prepare(made, toy_catalog()), made, toy_catalog())
    assert found.counts == pytest.approx({"exact": 0, "normal": 0, "part": 0})
    assert len(found.clean) == 10
