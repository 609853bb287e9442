"""The rewards as a run calls them: in processes of their own, all of one recipe together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

from grpokit.registry.catalog import Catalog
from grpokit.scoring.scorer import Scorer, setups
from grpokit.spec.recipe import RewardSection

SECTIONS: list[dict[str, Any]] = [
    {"use": "math/accuracy", "with": {"extract": ["boxed", "hash"]}},
    {"use": "math/boxed-format", "weight": 0.1},
    {"use": "math/len-reward", "with": {"unit": "characters"}, "weight": 0.5},
    {"use": "math/cosine-length", "with": {"unit": "characters", "legacy": True}, "weight": 0.0},
    {"use": "math/repetition", "with": {"n": 2}, "weight": 0.5},
]
ROWS = [{"answer": "\\frac{x^2-1}{x-1}"}, {"answer": "4"}, {"answer": None}]
TEXTS = [
    ["\\boxed{x+1}", "\\boxed{x-1}", "\\boxed{9^{9^{9^{9}}}}"],
    ["#### 4", "\\boxed{4} \\boxed{4} \\boxed{4}", "4"],
    ["\\boxed{4}", "", "five"],
]


def scorer() -> Scorer:
    sections = [RewardSection.model_validate(section) for section in SECTIONS]
    return Scorer(setups(Catalog.load(), sections), timeout=30.0, isolate=True)


def test_all_of_a_recipe_in_processes_of_their_own():
    with scorer() as running:
        scores = running.score_texts(ROWS, TEXTS)
    assert scores.failures == ()
    accuracy = scores.rewards["accuracy"]
    assert accuracy[0] == [1.0, 0.0, 0.0]
    assert accuracy[1:] == [[1.0, 1.0, 0.0], [None, None, None]]
    assert scores.components["accuracy/undecided"][0][2] == 1.0
    assert scores.components["accuracy/extract/hash"][1] == [1.0, 0.0, 0.0]
    assert scores.rewards["boxed-format"] == [[1.0, 1.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    assert scores.rewards["len-reward"][1] == [0.0, -0.5, 0.0]
    assert scores.rewards["len-reward"][2] == [None, None, None]
    assert scores.rewards["cosine-length"][2] == [1.0, 1.0, 1.0]
    assert scores.rewards["repetition"][2] == [None, None, None]
    # A row without a gold answer keeps a total: what abstains is left out of it.
    assert scores.total[2] == [0.1, 0.0, 0.0]


CHILD = """
import json, os, sys
from grpokit_math.rewards.accuracy import AccuracyConfig, accuracy
from grpokit_math.verify import verify
score = accuracy(AccuracyConfig())
found = score("\\\\boxed{\\\\sin^2 x + \\\\cos^2 x}", "1")
print(json.dumps([found.value, found.components["undecided"], verify("x", "y").stage]), flush=True)
"""


def test_the_verifier_needs_no_main_module_of_its_own():
    """As in a notebook or with ``python -c``: nothing is imported again by the comparing process."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
    )
    value, undecided, _ = json.loads(done.stdout)
    assert (value, undecided) == (1.0, 0.0), done.stderr
    assert time.perf_counter() - began < 30


def test_what_importing_costs():
    """The hooks import no pydantic, and a reward imports neither torch nor the algebra."""
    code = (
        "import sys, grpokit_math.hooks; assert 'pydantic' not in sys.modules; "
        "import grpokit_math.rewards.accuracy, grpokit_math.rewards.lengths; "
        "print([name for name in ('torch', 'numpy', 'sympy', 'math_verify') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_other_trainers_call_the_same_reward():
    from grpokit.interop import trl

    texts, golds = ["\\boxed{4}", "\\boxed{5}", "4"], ["4", "4", "4"]
    assert trl.math_accuracy(prompts=["?"] * 3, completions=texts, answer=golds) == [1.0, 0.0, 0.0]
    assert trl.math_len_reward is not None
