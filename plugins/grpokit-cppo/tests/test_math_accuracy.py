"""The reward on MATH: by the verifier of grpokit-math, and as released by the real math-verify."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from grpokit.api import Score
from grpokit.registry.catalog import Catalog
from grpokit.scoring.scorer import RewardSetup, Scorer
from grpokit.testing import check_reward
from grpokit_cppo.math_accuracy import MathConfig, math_accuracy

MATH500 = Path(__file__).parents[4] / "shared" / "data" / "math500" / "test.jsonl"
needs_math500 = pytest.mark.skipif(
    not MATH500.is_file(), reason="../shared/data/math500 is not there"
)
HALF = "It follows that the answer is $\\boxed{\\frac{1}{2}}$."
FORM = (
    "<think>x</think>\n<answer>Therefore, the final answer is: ${}$. I hope it is correct</answer>"
)
TOWER = "\\boxed{9^{9^{9^{9}}}}"


@pytest.fixture(scope="module")
def ours() -> Callable[[str, Any], float]:
    """The reward without its components."""
    pytest.importorskip("grpokit_math", reason="needs grpokit-cppo[math]")
    score = math_accuracy(MathConfig())

    def value(completion: str, solution: Any) -> float:
        found = score(completion, solution)
        assert isinstance(found, Score)
        assert set(found.components) == {"answered", "undecided"}
        return found.value

    return value


@pytest.fixture(scope="module")
def released() -> Callable[[str, Any], Any]:
    pytest.importorskip("math_verify", reason="needs grpokit-cppo[math-legacy]")
    return math_accuracy(MathConfig(legacy=True))


@pytest.mark.parametrize(
    ("answer", "score", "legacy"),
    [
        (FORM.replace("{}", "\\boxed{\\frac{1}{2}}"), 2.0, 2.0),
        (FORM.replace("{}", "\\boxed{{\\frac{1}{2}}}"), 2.0, 2.0),  # the prompt has two braces
        ("\\boxed{0.5}", 2.0, 2.0),
        ("\\boxed{1/2}", 2.0, 2.0),
        ("\\boxed{\\frac12}", 2.0, 0.0),  # malformed: settings of the authors
        (FORM.replace("{}", "\\frac{2}{4}"), 0.0, 2.0),  # words that announce it, and no box
        ("<think>\\boxed{\\frac{1}{2}}</think>\n<answer>no idea</answer>", 0.0, 2.0),
        ("The answer is definitely not \\boxed{3}, it is \\boxed{1/2}", 2.0, 0.0),
        ("\\boxed{\\frac{1}{3}}", 0.0, 0.0),
        ("\\boxed{\\frac{1}{2} or \\frac{1}{3}}", 0.0, 0.0),
        ("<answer>1/2</answer>", 0.0, 0.0),
        ("<answer>0.5</answer>", 0.0, 0.0),
        ("I do not know.", 0.0, 0.0),
        ("$\\frac{1}{2}$", 0.0, 0.0),  # neither in a box nor behind words that announce it
        ("\\boxed{", 0.0, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_verdicts(ours, released, answer, score, legacy):
    assert ours(answer, HALF) == score
    assert released(answer, HALF) == legacy


@pytest.mark.parametrize(
    ("gold", "answer", "score", "legacy"),
    [
        ("2x+1=5", "5", 0.0, 2.0),
        ("(1,2)", "1<x<2", 2.0, 2.0),
        ("1<x<2", "(1,2)", 2.0, 0.0),
    ],
)
def test_as_released_the_order_of_the_arguments_matters(
    ours, released, gold, answer, score, legacy
):
    assert ours(f"$\\boxed{{{answer}}}$", f"$\\boxed{{{gold}}}$") == score
    assert released(f"$\\boxed{{{answer}}}$", f"$\\boxed{{{gold}}}$") == legacy


@pytest.mark.parametrize("gold", ["", "no formula at all", None])
def test_a_row_without_a_gold_answer_is_a_failure_and_was_a_gift(ours, released, gold):
    with pytest.raises(ValueError, match="is in the solution of this row"):
        ours("\\boxed{5}", gold)
    assert released("anything", gold) == 1.0


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.usefixtures("ours", "released")
def test_the_contract(legacy):
    rows = [{"solution": HALF}, {"solution": "So $x \\in \\boxed{[0, 1)}$."}]
    check_reward("cppo/math-accuracy", *rows, settings={"legacy": legacy})


@pytest.mark.parametrize("reward", ["ours", "released"])
def test_it_works_outside_the_main_thread(request, reward):
    score = request.getfixturevalue(reward)
    found: list[float] = []
    thread = threading.Thread(target=lambda: found.append(score("\\boxed{0.5}", HALF)))
    thread.start()
    thread.join()
    assert found == [2.0]


TEXTS = ("\\boxed{0.5}", TOWER, "\\boxed{2}", "\\boxed{\\frac{1}{2}}")


def scored(*, legacy: bool) -> Any:
    entry = Catalog.load().find("reward", "cppo/math-accuracy")
    setup = RewardSetup(name="math", entry=entry, settings={"legacy": legacy})
    with Scorer([setup], timeout=2.0) as scorer:
        return scorer.score_texts([{"solution": HALF}], [list(TEXTS)])


@pytest.mark.usefixtures("ours")
def test_a_tower_of_powers_is_a_wrong_answer_at_once():
    scores = scored(legacy=False)
    assert [list(row) for row in scores.rewards["math"]] == [[2.0, 0.0, 0.0, 2.0]]
    assert not scores.failures
    assert list(scores.components["math/undecided"][0]) == [0.0, 1.0, 0.0, 0.0]


@pytest.mark.usefixtures("released")
def test_as_released_a_comparison_without_end_costs_one_completion():
    """In the scoring worker: it is killed at the deadline, and a new one scores the rest."""
    scores = scored(legacy=True)
    assert [list(row) for row in scores.rewards["math"]] == [[2.0, None, 0.0, 2.0]]
    (failure,) = scores.failures
    assert (failure.sample, failure.kind) == (1, "timeout")
    assert scores.total[0][1] is None


@pytest.mark.parametrize(
    ("legacy", "module", "package", "extra"),
    [
        (False, "grpokit_math", "grpokit-math", "math"),
        (True, "math_verify", "math-verify", "math-legacy"),
    ],
)
def test_what_is_missing_is_named_with_its_remedy(legacy, module, package, extra):
    script = (
        "import sys\n"
        f"sys.modules['{module}'] = None\n"
        "from grpokit_cppo import hooks, math_accuracy\n"
        "assert 'sympy' not in sys.modules\n"
        "from grpokit.api import ComponentError\n"
        f"try: math_accuracy.math_accuracy(math_accuracy.MathConfig(legacy={legacy}))\n"
        "except ComponentError as error: print(error.place, error.fact, error.remedy, sep=' | ')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"reward cppo/math-accuracy | it needs the package {package}")
    assert done.stdout.endswith(f"run `pip install 'grpokit-cppo[{extra}]'`\n")


def math500(step: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in MATH500.read_text("utf-8").splitlines()][::step]


@needs_math500
def test_every_solution_of_math_500_earns_full_marks(ours):
    rows = math500(1)
    began = time.process_time()
    assert len(rows) == 500
    assert {ours(row["solution"], row["solution"]) for row in rows} == {2.0}
    assert {ours("\\boxed{-123454321}", row["solution"]) for row in rows} == {0.0}
    assert time.process_time() - began < 5


@needs_math500
def test_as_released_solutions_of_math_500_earn_full_marks(released):
    rows = math500(4)
    assert len(rows) == 125
    right = [released(row["solution"], row["solution"]) for row in rows]
    wrong = [released("\\boxed{-123454321}", row["solution"]) for row in rows]
    # A solution with a malformed \frac34 is read as gold, but refused as an answer.
    malformed = [row for row, value in zip(rows, right, strict=True) if value != 2.0]
    assert all("\\frac" in row["answer"] or "\\sqrt" in row["answer"] for row in malformed)
    assert len(malformed) <= 5
    assert set(wrong) == {0.0}
