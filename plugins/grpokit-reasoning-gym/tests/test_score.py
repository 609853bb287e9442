"""The reward on every task: the right answer earns 1, code is never run, and broken checkers are replaced."""

from __future__ import annotations

import inspect
import re
import time

import pytest

from grpokit_reasoning_gym import gym
from grpokit_reasoning_gym.config import GymConfig, ScoreConfig
from grpokit_reasoning_gym.dataset import GymDataset
from grpokit_reasoning_gym.guard import GUARDS, OWN, checked, shown_answer, value_of
from grpokit_reasoning_gym.score import build

factory = pytest.importorskip("reasoning_gym.factory")

SLOW = {"arc_agi", "codeio", "rearc", "zebra_puzzles", "knight_swap", "futoshiki"}
UNKNOWN = {"boxnet", "rush_hour"}
"""Tasks whose entries come without a right answer."""


SLOW_CHECKERS = {"propositional_logic", "rubiks_cube", "rush_hour"}
"""Tasks that are guarded for the time that their checkers take."""
LENIENT = {
    "fraction_simplification",
    "kakurasu",
    "knights_knaves",
    "polynomial_equations",
    "quantum_lock",
    "sokoban",
    "survo",
}
"""Tasks that are guarded because their checker passes over words beside the right answer."""


def row(task, index=0, **settings):
    return GymDataset(GymConfig(task=task, size=50, **settings))[index]


def score(row, answer, **settings):
    completion = f"<think>Hm.</think> <answer>{answer}</answer>"
    return build(ScoreConfig(**settings))(completion, row["question"], row["entry"])


@pytest.mark.parametrize(
    "task", sorted(set(factory.DATASETS) - SLOW - gym.HASH_SEED_TASKS - {"composite"})
)
def test_the_right_answer_earns_one_and_a_wrong_one_nothing(task):
    found = row(task)
    if task in UNKNOWN:
        assert found["answer"] == ""
    elif found["answer"] or task != "intermediate_integration":
        assert score(found, found["answer"]) == 1.0
        assert score(found, found["answer"], partial=True) == 1.0
    if found["answer"]:
        for lazy in ("{} or 99", "99 or {}", "not {}", "{}\nand more"):
            assert score(found, lazy.replace("{}", found["answer"])) == 0.0, lazy
    for wrong in ("", "banana", "x" * 1000, "the answer", "impossible"):
        assert score(found, wrong) == 0.0
        assert 0.0 <= score(found, wrong, partial=True) < 1.0


@pytest.mark.parametrize("task", sorted((GUARDS.keys() | OWN.keys()) - UNKNOWN))
def test_right_answers_pass_the_guard(task, monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    for index in range(8):
        made = gym.task_at(task, "{}", 11, 50)
        entry = made[index]
        shown = shown_answer(made, entry)
        assert shown or "Integral" in entry["answer"]
        assert not shown or checked(task, made, entry, shown) == 1.0


def test_an_integral_is_no_answer_to_itself():
    """The library's checker accepts it, and gives it as the answer where it knows none."""
    made = gym.task_at("intermediate_integration", "{}", 11, 50)
    entry = next(made[index] for index in range(8) if "Integral" in made[index]["answer"])
    assert made.score_answer(entry["answer"], entry) == 1.0
    assert checked("intermediate_integration", made, entry, entry["answer"]) == 0.0


def test_every_checker_that_runs_the_answer_as_code_is_guarded():
    """Of the installed version; a newer one may have more."""
    runs = re.compile(r"\b(?:eval|exec|parse_expr|sympify|S)\((?!\s*(?:entry|metadata))")
    found = {
        task
        for task, (made, _) in factory.DATASETS.items()
        if runs.search(inspect.getsource(made.score_answer))
    }
    assert found == set(GUARDS) - SLOW_CHECKERS - LENIENT | {"countdown", "puzzle24"}


ATTACKS = (
    "__import__('pathlib').Path(MARK).touch()",
    "[__import__('pathlib').Path(MARK).touch()]",
    "[c for c in open(MARK, 'w').write('x')]",
    "().__class__.__base__.__subclasses__()",
    "(lambda: open(MARK, 'w'))()",
    "exec('open(MARK, \"w\")')",
    "x.func(open(MARK, 'w'))",
    "S('open(MARK, \"w\")')",
    "print(open(MARK, 'w'))",
)
HANGS = (
    "9**9**9**9",
    "2**(10**9)",
    "((((9**99)**99)**99)**99)**99",
    "10**10**10",
    "9**999999999",
    "factorial(10**7)",
    "[0 for a in [1]*9999 for b in [1]*9999]",
    "(" * 4000 + "1" + ")" * 4000,
    "1" * 19_000,
    "+".join(["9**39"] * 2000),
)


@pytest.mark.parametrize("task", sorted((GUARDS.keys() | OWN.keys()) - SLOW_CHECKERS))
def test_an_answer_is_never_run(task, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    mark = tmp_path / "mark"
    found = row(task)
    began = time.process_time()
    for attack in (*ATTACKS, *HANGS):
        assert score(found, attack.replace("MARK", repr(str(mark))), partial=True) == 0.0
    assert not mark.exists()
    assert time.process_time() - began < 2


COSTLY = (
    ("coin_flip", "1e999999999"),
    ("coin_flip", "0.0000001e-999999999"),
    ("rubiks_cube", "F+99999999"),
    ("rush_hour", "F+99999999"),
    ("propositional_logic", "∧" * 9000),
    ("propositional_logic", "∧" * 200),
    ("propositional_logic", "¬" * 200),
    ("propositional_logic", "(" * 100 + "P" + ")" * 99),
    ("complex_arithmetic", "nan"),
    ("complex_arithmetic", "NaN+1j"),
    ("complex_arithmetic", "nanj"),
)


@pytest.mark.parametrize(("task", "answer"), COSTLY)
def test_an_answer_costs_little_and_equals_no_number_by_being_none(task, answer):
    """The library's checkers take seconds to hours of these, or take ``nan`` for the right number."""
    found = row(task)
    began = time.process_time()
    assert score(found, answer) == 0.0
    assert time.process_time() - began < 1


@pytest.mark.parametrize("text", ["(" * 12 + "P" + " ∧ Q)" * 12, "(P → " * 12 + "Q" + ")" * 12])
def test_the_longest_formula_that_is_looked_at(text):
    found = row("propositional_logic")
    began = time.process_time()
    assert score(found, text) in {0.0, 1.0}  # some are true
    assert time.process_time() - began < 1


def test_what_the_library_s_checkers_let_through():
    """Each of these earns 1 from the library, and is wrong; that is why ours stand in."""
    halting = row("game_of_life_halting")
    other = "True" if halting["answer"] == "False" else "False"
    made, entry = gym.entry_at(halting["entry"])
    assert made.score_answer("banana", entry) == made.score_answer(other, entry) == 1.0
    assert score(halting, other) == score(halting, "banana") == 0.0
    puzzle = row("puzzle24")
    made, entry = gym.entry_at(puzzle["entry"])
    assert sorted(entry["metadata"]["numbers"]) != [1, 1, 4, 6]
    assert made.score_answer("6*4*1*1", entry) == 1.0
    assert score(puzzle, "6*4*1*1") == 0.0


def test_zero_is_not_the_probability_of_everything():
    """The library pays the share of the shorter text that agrees: all of it for a prefix."""
    found = row("coin_flip")
    made, entry = gym.entry_at(found["entry"])
    assert found["answer"] == "0.02685546875"
    assert made.score_answer("0", entry) == made.score_answer("0.02", entry) == 1.0
    for answer, value in (
        ("0", 0.0),
        ("0.02", 0.0),
        ("0.0269", 1.0),
        ("0.02685546875", 1.0),
        ("55/2048", 1.0),
        ("1/37", 0.0),
    ):
        assert score(found, answer) == value, answer
        assert score(found, answer, partial=True) == value, answer


def test_the_beginning_of_a_text_is_not_the_text():
    """Six times 1/6 is 0.99..., and seven letters in which 1/7 adds up to more than 1 are right."""
    passed = 0
    for task in ("spell_backward", "letter_jumble"):
        for index in range(40):
            found = row(task, index)
            made, entry = gym.entry_at(found["entry"])
            longer = f"{found['answer']} or 99"
            passed += made.score_answer(longer, entry) >= 1.0
            assert score(found, longer) == 0.0
            assert score(found, longer, partial=True) <= 0.8
            assert score(found, found["answer"].upper()) == 1.0
    assert passed > 5


@pytest.mark.parametrize(
    ("task", "answer", "value"),
    [
        ("knights_knaves", "Harper is a knight and Joseph is a knave", 1.0),
        ("knights_knaves", "Joseph is not a knave, and Harper is a knight", 0.0),
        ("knights_knaves", "Joseph is a knave, Joseph is a knight, Harper is a knight", 0.0),
        ("fraction_simplification", "47/79", 1.0),
        ("fraction_simplification", "$\\dfrac{47}{79}$", 1.0),
        ("fraction_simplification", "47/79 = 94/158", 0.0),
        ("quantum_lock", "a→a→a→c→b", 1.0),
        ("quantum_lock", "Press A → A → A → C → B", 0.0),
        ("polynomial_equations", "1.3953, 0", 1.0),
        ("polynomial_equations", "0.0, 1.3953, none", 0.0),
        ("propositional_logic", "(P \u2228 P) (¬P)", 0.0),
        ("survo", "[[3, 9, 4, 16], [2, 6, 4, 12]]", 0.0),
    ],
)
def test_an_answer_is_nothing_but_the_answer(task, answer, value):
    found = GymDataset(GymConfig(task=task, size=200))[0]
    assert score(found, answer) == value


def test_countdown_and_puzzle24_are_exact():
    entry = {"metadata": {"numbers": [3, 3, 8, 8], "target": 24}, "answer": "8/(3 - 8/3)"}
    for task in ("countdown", "puzzle24"):
        assert checked(task, None, entry, "8 / (3 - 8/3)") == 1.0
        assert checked(task, None, entry, "8*3 + 8*0 + 3*0") == 0.0
        assert checked(task, None, entry, "8*3*(8-3)/5") == 0.0
        assert checked(task, None, entry, "8/(3-3)*8") == 0.0
        assert checked(task, None, entry, "83 - 83") == 0.0
    assert value_of("-(1 + 2) * 3") == (-9, [3, 1, 2])
    for text in ("1.5 + 1", "2**3", "1 // 2", "a + 1", "f(1)", "", "1 2", "(1"):
        assert value_of(text) is None


@pytest.mark.parametrize(
    ("extract", "completion", "value"),
    [
        ("tag", "<answer>GOLD</answer>", 1.0),
        ("tag", "<answer>0</answer> no: <answer> GOLD </answer>", 1.0),
        ("tag", "<answer>GOLD</answer> no: <answer>0</answer>", 0.0),
        ("tag", "<think>a</think><answer>GOLD</answer>", 1.0),
        ("tag", "<think><answer>GOLD</answer>", 0.0),
        ("tag", "GOLD", 0.0),
        ("boxed", "so \\boxed{GOLD}.", 1.0),
        ("boxed", "<answer>GOLD</answer>", 0.0),
        ("whole", "<think>a</think> GOLD\n", 1.0),
        ("whole", " ", 0.0),
    ],
)
def test_where_the_answer_stands(extract, completion, value):
    found = row("chain_sum")
    reward = build(ScoreConfig(extract=extract))
    text = completion.replace("GOLD", found["answer"])
    assert reward(text, found["question"], found["entry"]) == value


def test_an_entry_of_another_version_is_a_failure_and_no_zero():
    found = row("chain_sum")
    with pytest.raises(ValueError, match="another version of reasoning-gym"):
        build(ScoreConfig())("<answer>1</answer>", "Another question?", found["entry"])


def test_a_checker_that_fails_on_the_right_answer_fails_the_row():
    class Broken:
        def score_answer(self, answer, entry):
            raise RuntimeError("no file")

    with pytest.raises(RuntimeError, match="no file"):
        checked("odd", Broken(), {"answer": "1", "metadata": {}}, "2")
    found = row("prime_factorization")
    assert score(found, "two times three") == 0.0
