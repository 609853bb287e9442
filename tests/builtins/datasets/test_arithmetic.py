from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from grpokit.api import Dataset, PreflightError
from grpokit.builtins.datasets.arithmetic import LEVELS, ArithmeticConfig, ArithmeticDataset
from grpokit.builtins.datasets.problems import Problem


def build(**settings):
    return ArithmeticDataset(ArithmeticConfig.model_validate(settings))


def value(text: str) -> int:
    """The problem computed by Python's own grammar."""

    def walk(node: ast.expr) -> int:
        match node:
            case ast.Constant(int(number)):
                return number
            case ast.UnaryOp(ast.USub(), inner):
                return -walk(inner)
            case ast.BinOp(left, ast.Add(), right):
                return walk(left) + walk(right)
            case ast.BinOp(left, ast.Sub(), right):
                return walk(left) - walk(right)
            case ast.BinOp(left, ast.Mult(), right):
                return walk(left) * walk(right)
        raise AssertionError(node)

    return walk(ast.parse(text, mode="eval").body)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("split", ["train", "test"])
def test_answers_are_right(level, split):
    dataset = build(level=level, split=split)
    assert isinstance(dataset, Dataset)
    for index in range(min(60, dataset.size or 60)):
        row = dataset[index]
        assert tuple(row) == dataset.columns
        assert row["answer"] == str(value(row["problem"]))
        assert row["question"] == f"What is {row['problem']}?"
        assert value(row["problem"]) >= 0
        assert row["level"] == level
        assert row["problem"].split()[0] == str(row["a"])
        assert row["problem"].split()[2] == str(row["b"])


def test_mixed_terms_and_negative_numbers():
    dataset = build(
        operations=["add", "sub", "mul"], operands=[[-9, 9], [-9, 9], [-9, 9]], negative=True
    )
    rows = [dataset[index] for index in range(300)]
    assert all(row["answer"] == str(value(row["problem"])) for row in rows)
    assert any(int(row["answer"]) < 0 for row in rows)
    assert {sign for row in rows for sign in "+-*" if f" {sign} " in row["problem"]} == set("+-*")


def test_nothing_on_the_way_goes_below_zero():
    dataset = build(operations=["add", "sub"], operands=[[1, 9], [1, 9], [1, 9]])
    for index in range(200):
        a, first, b, second, c = dataset[index]["problem"].split()
        assert value(f"{a} {first} {b}") >= 0
        assert value(f"{a} {first} {b} {second} {c}") >= 0


def listed(dataset):
    return [dataset[index] for index in range(dataset.size)]


def test_a_small_space_is_listed_once_and_its_splits_share_no_problem():
    """Every pair of operands is in exactly one split, whichever way round it is written."""
    for settings, questions in (
        ({"level": 1}, 81),
        ({"level": 2}, 400 + 210),
        ({"operations": ["add", "sub"], "operands": [[1, 20], [1, 9]]}, 180 + 144),
    ):
        train, test = (listed(build(**settings, split=split)) for split in ("train", "test"))
        shown = {row["problem"] for row in train}
        turned = {
            f"{row['b']} + {row['a']}" if "+" in row["problem"] else row["problem"] for row in test
        }
        assert len(shown) == len(train)
        assert not shown & ({row["problem"] for row in test} | turned)
        both = {problem for row in test for problem in (row["problem"],)} | turned
        inside = [p for p in both if _inside(p, settings)]
        assert len(train) + len(inside) == questions


def _inside(problem: str, settings: dict) -> bool:
    if "operands" not in settings:
        return True
    (low, high), (second_low, second_high) = settings["operands"]
    a, _, b = problem.split()
    return low <= int(a) <= high and second_low <= int(b) <= second_high


def test_training_on_a_large_space_never_ends():
    train, test = build(level=3), build(level=3, split="test")
    assert build(level=4).size is None
    rows = [build(level=4)[index]["problem"] for index in (0, 10**9)]
    assert len(set(rows)) == 2
    assert train.size is not None
    assert test.size is not None


def test_the_splits_are_disjoint_whatever_seed_range_or_level_each_has():
    held = {build(level=2, split="test", seed=5)[index]["problem"] for index in range(60)}
    train = build(operations=["sub", "add"], operands=[[1, 30], [1, 30]], seed=9)
    assert not held & {row["problem"] for row in listed(train)}


def test_test_lists_distinct_problems_up_to_its_size():
    dataset = build(level=2, split="test")
    problems = [dataset[index]["problem"] for index in range(dataset.size)]
    assert len(set(problems)) == dataset.size
    assert 0.1 < dataset.size / (210 + 210) < 0.3  # 210 sums and 210 differences
    with pytest.raises(IndexError):
        dataset[dataset.size]
    large = build(level=4, split="test")
    assert large.size is None
    assert len({large[index]["problem"] for index in range(2000)}) == 2000


def test_row_i_depends_on_nothing_but_settings_seed_and_i():
    dataset = build(level=4, split="test")
    late = dataset[50]
    assert build(level=4, split="test")[50] == late
    assert build(level=4, seed=1)[7] == build(level=4, seed=1)[7] != build(level=4, seed=2)[7]
    code = (
        "from grpokit.builtins.datasets.arithmetic import *;"
        "d = ArithmeticDataset(ArithmeticConfig(level=4)); print(d[0]['problem'], '|', d[10**9]['problem'])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    dataset = build(level=4)
    assert out.strip() == f"{dataset[0]['problem']} | {dataset[10**9]['problem']}"
    # A published run can be repeated: these rows may not change.
    assert [dataset[index]["problem"] for index in range(3)] == DRAWN
    small = build(level=3)
    assert [small[index]["problem"] for index in range(3)] == LISTED


DRAWN = ["726 + 168", "707 + 833", "472 + 954"]
LISTED = ["71 + 67", "97 - 47", "54 + 10"]


def test_the_fingerprint_tells_settings_apart():
    prints = {
        build(**settings).fingerprint
        for settings in (
            {},
            {"level": 1},
            {"seed": 1},
            {"split": "test"},
            {"template": "{problem} ="},
        )
    }
    assert len(prints) == 5
    assert build().fingerprint == build().fingerprint


def test_the_question_is_a_template():
    row = build(template="Compute {problem} =", operations=["mul"], times="x")[0]
    assert row["question"] == f"Compute {row['a']} x {row['b']} ="


def test_problems_are_the_same_up_to_the_order_of_summands_and_factors():
    assert Problem(("add",), (3, 5)).key == Problem(("add",), (5, 3)).key
    assert Problem(("add", "sub"), (3, 5, 2)).key == Problem(("sub", "add"), (5, 2, 3)).key
    assert Problem(("mul", "add"), (3, 5, 2)).key == Problem(("add", "mul"), (2, 5, 3)).key
    assert Problem(("sub",), (5, 3)).key != Problem(("sub",), (3, 5)).key
    assert Problem(("add",), (3, 5)).key != Problem(("mul",), (3, 5)).key


@pytest.mark.parametrize(
    "settings",
    [
        {"level": 6},
        {"level": 1, "operations": ["mul"]},
        {"operands": [[9, 1], [1, 9]]},
        {"operands": [[1, 9]]},
        {"operands": [[1, 9, 9], [1, 9]]},
        {"operations": ["div"]},
        {"operations": []},
        {"template": "What?"},
        {"held_out": 1.0},
        {"split": "validation"},
    ],
)
def test_settings_are_checked(settings):
    with pytest.raises(ValueError):
        ArithmeticConfig.model_validate(settings)


def test_an_empty_split_is_said_before_the_run():
    with pytest.raises(PreflightError, match="leave no problem in the split 'train'"):
        build(operations=["sub"], operands=[[1, 9], [10, 99]])
    with pytest.raises(PreflightError, match="leave no problem in the split 'test'"):
        build(operations=["sub"], operands=[[1, 9], [10, 99]], split="test")
