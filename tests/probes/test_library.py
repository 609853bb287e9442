"""The probes as data: complete, expandable on real rows, and what they say they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grpokit.answers.parse import parse_number
from grpokit.answers.wrappers import last_boxed
from grpokit.probes.expand import NotApplicable, expand, final_answer, make_cases, same_answer
from grpokit.probes.library import contracts, probes, ways
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
