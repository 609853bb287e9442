"""Stored evaluations against each other: which is taken, what is refused, what is said of recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compared_runs import compared_run, evaluation, store
from grpokit.evaluate.intervals import mcnemar_exact, paired_difference
from grpokit.evaluate.spread import difference_of_means, expected
from grpokit.report.compare import comparison
from grpokit.report.series import read_series

BASE = evaluation("0" * 20, label="base", adapter="")


def judged(*paths: Path, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = comparison([read_series(path) for path in paths], **options)
    return found["evaluations"]


def runs(tmp_path: Path, *names: str, lr: float = 0.001) -> list[Path]:
    return [
        compared_run(tmp_path, name, seed=seed, steps=6, optim={"lr": lr})
        for seed, name in enumerate(names)
    ]


def test_a_pair_is_compared_question_by_question(tmp_path: Path) -> None:
    first, second = runs(tmp_path, "a", "b")
    store(first, BASE, evaluation("11110000000000000000"))
    store(second, evaluation("01111111110000000000", adapter="a2"))
    found = judged(first, second)
    assert [(each["run"], each["accuracy"], each["base"]) for each in found["runs"]] == [
        ("A1", 0.2, 0.0),
        ("A2", 0.45, None),
    ]
    (pair,) = found["pairs"]
    each = pair["comparison"]
    assert (each["difference"], each["p"]) == (pytest.approx(0.25), mcnemar_exact(6, 1))
    assert each["interval"] == list(paired_difference(6, 1, 20))
    assert each["p_holm"] == each["p"]
    assert pair["seeds_of_one_recipe"]
    assert found["recipes"] == []


def test_holm_over_all_pairs(tmp_path: Path) -> None:
    paths = runs(tmp_path, "a", "b", "c")
    answers = ("1" * 2 + "0" * 28, "1" * 10 + "0" * 20, "1" * 11 + "0" * 19)
    for path, text in zip(paths, answers, strict=True):
        store(path, evaluation(text, adapter=path.name))
    found = [pair["comparison"] for pair in judged(*paths)["pairs"]]
    ps = [mcnemar_exact(8, 0), mcnemar_exact(9, 0), 1.0]
    assert [each["p"] for each in found] == ps
    assert [each["p_holm"] for each in found] == pytest.approx([2 * ps[0], 3 * ps[1], 1.0])


def test_more_than_the_model_differs(tmp_path: Path) -> None:
    first, second = runs(tmp_path, "a", "b")
    store(first, evaluation("1100"))
    store(second, evaluation("1111", adapter="a2", sampling={"max_tokens": 40}, dataset="d1"))
    (pair,) = judged(first, second)["pairs"]
    assert pair["comparison"] is None
    assert pair["refused"] == "they differ in more than the model"
    assert pair["mismatch"]["dataset"] == ["d0", "d1"]
    assert pair["mismatch"]["sampling.max_tokens"] == [20, 40]
    (pair,) = judged(first, second, allow_mismatch=True)["pairs"]
    assert pair["refused"] is None
    assert pair["comparison"]["difference"] == 0.5
    assert pair["mismatch"]["dataset"] == ["d0", "d1"]


def test_a_mismatch_is_compared_on_common_questions_only(tmp_path: Path) -> None:
    first, second, third = runs(tmp_path, "a", "b", "c")
    store(first, evaluation("1100"))
    store(second, evaluation("111111", adapter="a2", items="i1"))
    store(third, evaluation("11" * 4, adapter="a3", samples=2, items="i2"))
    found = {
        (pair["first"], pair["second"]): pair
        for pair in judged(first, second, third, allow_mismatch=True)["pairs"]
    }
    pair = found["A1", "A2"]
    assert (pair["comparison"]["n"], pair["left_out"]) == (4, 2)
    assert found["A1", "A3"]["refused"] == "they answered each question 1 and 2 times"


def test_the_exam_that_most_took_is_chosen(tmp_path: Path) -> None:
    """Both have a newer evaluation on other questions; an unreadable one is said."""
    first, second = runs(tmp_path, "a", "b")
    store(first, evaluation("1100"), name="1")
    store(first, evaluation("111", dataset="other"), name="2")
    store(second, evaluation("0110", adapter="a2"), name="1")
    damaged = store(second, evaluation("0111", adapter="a2"), name="3")
    (damaged / "samples.jsonl").write_text("{")
    (first / "eval" / "4").mkdir()
    (first / "eval" / "4" / "summary.json").write_text('{"models": [3]}')
    found = judged(first, second)
    assert [Path(each["folder"]).name for each in found["runs"]] == ["1", "1"]
    assert found["pairs"][0]["comparison"]["difference"] == 0.0
    assert [each.partition(": the")[0] for each in found["problems"]] == ["A2: eval/3"]


def test_the_final_policy_stands_before_a_newer_checkpoint(tmp_path: Path) -> None:
    first, second = runs(tmp_path, "a", "b")
    store(first, evaluation("1100"), name="1")
    store(first, evaluation("1111", label="step-000003", adapter="a9"), name="2")
    store(second, evaluation("1100", adapter="a2"), name="1")
    found = judged(first, second)
    assert [each["model"] for each in found["runs"]] == ["trained", "trained"]


def test_a_run_without_an_evaluation(tmp_path: Path) -> None:
    first, second = runs(tmp_path, "a", "b")
    assert judged(first, second)["runs"] == []
    store(second, BASE, evaluation("1" * 20))
    found = judged(first, second)
    assert (found["without"], found["pairs"], found["recipes"]) == (["A1"], [], [])


def test_recipes_over_their_seeds(tmp_path: Path) -> None:
    ours, theirs = runs(tmp_path, "a", "b", "c"), runs(tmp_path, "d", "e", "f", lr=0.5)
    right = [[8, 9, 10], [12, 14, 13]]
    for side, counts in zip((ours, theirs), right, strict=True):
        for path, count in zip(side, counts, strict=True):
            store(path, evaluation("1" * count + "0" * (20 - count), adapter=path.name))
    found = judged(*ours, *theirs)
    (each,) = found["recipes"]
    assert (each["first"], each["second"], each["runs"]) == ("A", "B", [3, 3])
    assert each["difference"] == pytest.approx(0.2)
    expected = difference_of_means([0.4, 0.45, 0.5], [0.6, 0.7, 0.65])
    assert expected is not None
    assert each["interval_over_seeds"] == pytest.approx(expected)
    assert each["verdict"] == "improved"
    low, high = each["interval_within_questions"]
    assert low < 0.2 < high
    assert len(found["pairs"]) == 15
    # The order in which runs are named turns the sign, and nothing else.
    (turned,) = judged(*theirs, *ours)["recipes"]
    assert turned["difference"] == pytest.approx(-0.2)
    assert turned["verdict"] == "worse"


def test_the_interval_of_several_seeds_against_one_run_holds_the_difference(
    tmp_path: Path,
) -> None:
    """Shares of three seeds are no right or wrong: counting their signs would miss the difference."""
    ours, (other,) = runs(tmp_path, "a", "b", "c"), runs(tmp_path, "d", lr=0.5)
    for place, path in enumerate(ours):
        text = "".join("1" if (q + place) % 3 and q < 60 - place else "0" for q in range(60))
        store(path, evaluation(text, adapter=path.name))
    store(other, evaluation("1" * 60, adapter="d"))
    (each,) = judged(*ours, other)["recipes"]
    low, high = each["interval_within_questions"]
    assert low < each["difference"] < high
    assert each["difference"] == pytest.approx(1 - (40 + 40 + 39) / 180)
    assert each["interval_over_seeds"] is None
    assert each["verdict"] == "no interval over seeds"
    told = each["expected"]
    assert (told["recipe"], told["other"], told["lies"]) == ("A", "B", "above")
    assert told["interval"] == pytest.approx(expected([40 / 60, 40 / 60, 39 / 60]))
    (turned,) = judged(other, *ours)["recipes"]
    assert (turned["expected"]["recipe"], turned["expected"]["lies"]) == ("B", "above")


def test_a_run_that_was_repeated_is_no_further_seed(tmp_path: Path) -> None:
    ours = [compared_run(tmp_path, name, seed=1, steps=6) for name in "ab"]
    theirs = [
        compared_run(tmp_path, n, seed=s, steps=6, optim={"lr": 0.5}) for s, n in enumerate("cd")
    ]
    for path, text in zip((*ours, *theirs), ("1100", "1000", "1110", "1111"), strict=True):
        store(path, evaluation(text, adapter=path.name))
    (each,) = judged(*ours, *theirs)["recipes"]
    assert (each["runs"], each["seeds"]) == ([2, 2], [1, 2])
    assert each["interval_over_seeds"] is None
