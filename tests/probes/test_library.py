"""The probes as data: complete, expandable on real rows, and what they say they are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from grpokit.answers.parse import parse_number
from grpokit.answers.wrappers import last_boxed
from grpokit.probes.expand import NotApplicable, expand, final_answer, make_cases, same_answer
from grpokit.probes.library import contracts, probes, ways
from grpokit.probes.odd import leaks
from grpokit.probes.rows import sample_rows
from grpokit.probes.strategies import STRATEGIES

VECTORS = Path(__file__).parents[3] / "shared/vectors/reward_probes.json"
BOXED = next(way for way in ways() if way.name == "boxed")


def cases(*golds):
    prompts = sample_rows(len(golds))
    return make_cases(prompts, list(golds))


def test_every_probe_of_the_design_has_one_here():
    if not VECTORS.exists():
        pytest.skip(f"{VECTORS} is not part of the package")
    wanted = {probe["id"] for probe in json.loads(VECTORS.read_text())["probes"]}
    have = {probe.id for probe in probes()} | set(contracts())
    assert wanted - have == set()
    assert len(wanted) > 80


def test_ids_are_unique_and_strategies_exist():
    ids = [probe.id for probe in probes()]
    assert len(ids) == len(set(ids))
    assert set(STRATEGIES.values()) <= set(ids)
    assert all(probe.why and probe.fix for probe in probes())


def test_probes_expand_on_real_rows():
    found = {probe.id: [] for probe in probes()}
    for case in cases("1234", "-42", "B", "x^2+1", "0"):
        for probe in probes():
            for way in ways():
                try:
                    found[probe.id].append(expand(probe, case, way))
                except NotApplicable:
                    continue
    never = {name for name, texts in found.items() if not texts}
    assert never == {"echo.system_example"}  # these rows have no examples
    assert not any(
        "\u27e6" in text or "\u27e7" in text for texts in found.values() for text in texts
    )


def test_wrong_answers_are_wrong_and_equal_ones_equal():
    golds = ["1234", "-42", "0", "7", "1/2", "3.50"]
    for case in cases(*golds):
        assert not same_answer(case.wrong, case.gold)
        for probe in probes():
            if probe.family not in ("near", "equivalence"):
                continue
            try:
                text = expand(probe, case, BOXED)
            except NotApplicable:
                continue
            value = parse_number(last_boxed(text) or "")
            right = value == parse_number(case.gold)
            assert right == (probe.expect == "right"), (probe.id, case.gold, text)


@pytest.mark.parametrize(
    ("answer", "final"),
    [
        ("18", "18"),
        (18, "18"),
        ("a\n#### 1,234", "1,234"),
        ("so $\\boxed{\\frac{1}{2}}$", "\\frac{1}{2}"),
        (" B ", "B"),
    ],
)
def test_the_final_answer_of_a_row(answer, final):
    assert final_answer(answer) == final


def test_a_prompt_with_the_delimiters_ends():
    case = cases("12")[0]
    probe = next(probe for probe in probes() if probe.id == "spray.or")
    hostile = type(case)(**{**vars(case), "gold": "\u27e6gold\u27e7"})
    assert "\u27e6" not in expand(probe, hostile, BOXED)


def leaking(pairs):
    prompts = [
        replace(prompt, messages=({"role": "user", "content": text},))
        for prompt, (text, _) in zip(sample_rows(len(pairs)), pairs, strict=True)
    ]
    return [found.id for found in leaks(make_cases(prompts, [gold for _, gold in pairs]))]


def test_a_gold_answer_in_the_prompt_is_told_from_numbers_that_meet_by_chance():
    apart = ("a shop sells 3 pens", "17")
    assert leaking([("The answer is 42.", "42")] * 2 + [apart] * 6) == ["contract.gold_leak"]
    assert leaking([("It is $x^2+1$, right?", "x^2+1")] * 4) == ["contract.gold_leak"]
    assert leaking([("Ann has 42 pens.", "42")] + [apart] * 3) == []  # one says nothing
    assert leaking([("Ann has 42 pens.", "42")] * 3 + [apart] * 29) == []
    for text in ("142", "421", "4.42", "42.5", "42,000", "1,042", "x42"):
        assert leaking([(f"There are {text} of them.", "42")] * 4) == [], text


def test_real_questions_leak_nothing():
    path = VECTORS.parents[1] / "data/gsm8k/test.jsonl"
    if not path.exists():
        pytest.skip(f"{path} is not part of the package")
    rows = [json.loads(line) for line in path.read_text().splitlines()[:320]]
    for start in range(0, 320, 32):  # the rows that a check takes, and others
        some = rows[start : start + 32]
        assert leaking([(row["question"], final_answer(row["answer"])) for row in some]) == []
