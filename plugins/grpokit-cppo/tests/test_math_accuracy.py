"""The reward on MATH, with the real math-verify, here and in its worker."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from grpokit.registry.catalog import Catalog
from grpokit.scoring.scorer import RewardSetup, Scorer
from grpokit.testing import check_reward
from grpokit_cppo.math_accuracy import MathConfig, math_accuracy

MATH500 = Path(__file__).parents[4] / "shared" / "data" / "math500" / "test.jsonl"
HALF = "It follows that the answer is $\\boxed{\\frac{1}{2}}$."
FORM = (
    "<think>x</think>\n<answer>Therefore, the final answer is: ${}$. I hope it is correct</answer>"
)
TOWER = "\\boxed{9^{9^{9^{9}}}}"


@pytest.fixture(scope="module", autouse=True)
def _needs_math_verify() -> None:
    pytest.importorskip("math_verify", reason="needs grpokit-cppo[math]")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("answer", "score"),
    [
        (FORM.replace("{}", "\\boxed{\\frac{1}{2}}"), 2.0),
        ("\\boxed{0.5}", 2.0),
        ("\\boxed{1/2}", 2.0),
        (FORM.replace("{}", "\\frac{2}{4}"), 2.0),
        ("\\boxed{\\frac12}", 0.0),  # malformed: settings of the authors
        ("\\boxed{\\frac{1}{3}}", 0.0),
        ("<answer>1/2</answer>", 0.0),
        ("<answer>0.5</answer>", 0.0),
        ("I do not know.", 0.0),
        ("$\\frac{1}{2}$", 0.0),  # neither in a box nor behind words that announce it
        ("\\boxed{", 0.0),
        ("", 0.0),
    ],
)
def test_verdicts(answer, score, legacy):
    assert math_accuracy(MathConfig(legacy=legacy))(answer, HALF) == score


@pytest.mark.parametrize(
    ("gold", "answer", "fixed", "legacy"),
    [
        ("$\\boxed{2x+1=5}$", "$\\boxed{5}$", 0.0, 2.0),
        ("$(1,2)$", "$\\boxed{1<x<2}$", 0.0, 2.0),
        ("$1<x<2$", "$\\boxed{(1,2)}$", 2.0, 0.0),
    ],
)
def test_the_order_of_the_arguments_matters(gold, answer, fixed, legacy):
    assert math_accuracy(MathConfig())(answer, gold) == fixed
    assert math_accuracy(MathConfig(legacy=True))(answer, gold) == legacy


@pytest.mark.parametrize("gold", ["", "no formula at all", None])
def test_a_gold_answer_that_cannot_be_read_is_a_failure_and_was_a_gift(gold):
    with pytest.raises(ValueError, match="no gold answer can be read in this row"):
        math_accuracy(MathConfig())("\\boxed{5}", gold)
    assert math_accuracy(MathConfig(legacy=True))("anything", gold) == 1.0


@pytest.mark.parametrize("legacy", [False, True])
def test_the_contract(legacy):
    rows = [{"solution": HALF}, {"solution": "So $x \\in \\boxed{[0, 1)}$."}]
    check_reward("cppo/math-accuracy", *rows, settings={"legacy": legacy})


def test_it_works_outside_the_main_thread():
    found: list[float] = []
    score = math_accuracy(MathConfig())
    thread = threading.Thread(target=lambda: found.append(score("\\boxed{0.5}", HALF)))
    thread.start()
    thread.join()
    assert found == [2.0]


def test_a_comparison_without_end_costs_one_completion():
    """In the scoring worker: it is killed at the deadline, and a new one scores the rest."""
    entry = Catalog.load().find("reward", "cppo/math-accuracy")
    setup = RewardSetup(name="math", entry=entry, settings={})
    with Scorer([setup], timeout=2.0) as scorer:
        texts = [["\\boxed{0.5}", TOWER, "\\boxed{2}", "\\boxed{\\frac{1}{2}}"]]
        scores = scorer.score_texts([{"solution": HALF}], texts)
    assert [list(row) for row in scores.rewards["math"]] == [[2.0, None, 0.0, 2.0]]
    (failure,) = scores.failures
    assert (failure.sample, failure.kind) == (1, "timeout")
    assert scores.total[0][1] is None


def test_what_is_missing_is_named_with_its_remedy():
    script = (
        "import sys\n"
        "sys.modules['math_verify'] = None\n"
        "from grpokit_cppo import hooks, math_accuracy\n"
        "assert 'sympy' not in sys.modules\n"
        "from grpokit.api import ComponentError\n"
        "try: math_accuracy.math_accuracy(math_accuracy.MathConfig())\n"
        "except ComponentError as error: print(error.place, error.fact, error.remedy, sep=' | ')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("reward cppo/math-accuracy | it needs the package math-verify")
    assert done.stdout.endswith("run `pip install 'grpokit-cppo[math]'`\n")


@pytest.mark.skipif(not MATH500.is_file(), reason="../shared/data/math500 is not there")
def test_the_solutions_of_math_500_earn_full_marks():
    score = math_accuracy(MathConfig())
    rows = [json.loads(line) for line in MATH500.read_text("utf-8").splitlines()][::4]
    assert len(rows) == 125
    right = [score(row["solution"], row["solution"]) for row in rows]
    wrong = [score("\\boxed{-123454321}", row["solution"]) for row in rows]
    # A solution with a malformed \frac34 is read as gold, but refused as an answer.
    malformed = [row for row, value in zip(rows, right, strict=True) if value != 2.0]
    assert all("\\frac" in row["answer"] or "\\sqrt" in row["answer"] for row in malformed)
    assert len(malformed) <= 5
    assert set(wrong) == {0.0}
