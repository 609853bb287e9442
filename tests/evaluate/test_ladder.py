"""Several models against the first one, and pictures of them."""

import math

import pytest

from grpokit.errors import PreflightError
from grpokit.evaluate.ladder import Point, climb
from grpokit.evaluate.records import compare_evaluations
from grpokit.evaluate.run import evaluate, prepare
from grpokit.report.evaluated import Spot, draw_costs, draw_curve
from toy_answers import Answers, sampled_recipe
from toy_parts import toy_catalog

HERE = {"isolate": False}
"""Rewards in this process: quicker."""


def answered(right, label, **changes):
    exam = prepare(
        sampled_recipe(**{"limit": 30, "samples": 4, "scoring": HERE, **changes}), toy_catalog()
    )
    with exam.scorer() as scorer:
        return evaluate(Answers(right), exam, label=label, scorer=scorer)


def test_each_is_compared_with_the_first_and_p_is_adjusted():
    rules = [lambda n: 0, lambda n: n % 2, lambda n: n % 5, lambda n: int(n < 3)]
    found = [answered(rule, f"m{at}") for at, rule in enumerate(rules)]
    ladder = climb(found)
    assert ladder.comparisons == tuple(compare_evaluations(found[0], each) for each in found[1:])
    ps = [each.p for each in ladder.comparisons]
    order = sorted(range(3), key=ps.__getitem__)
    expected = [0.0] * 3
    for rank, at in enumerate(order):  # by the definition: the largest of those up to here
        expected[at] = max(min(1.0, (3 - r) * ps[order[r]]) for r in range(rank + 1))
    assert ladder.adjusted == pytest.approx(expected)
    told = ladder.as_dict()["comparisons"]
    assert [(each["first"], each["second"]) for each in told] == [
        ("m0", "m1"),
        ("m0", "m2"),
        ("m0", "m3"),
    ]
    assert all(each["p_holm"] >= each["p"] for each in told)


def test_other_questions_are_refused():
    with pytest.raises(PreflightError, match="different items"):
        climb([answered(lambda n: 1, "a"), answered(lambda n: 1, "b", limit=29)])


def test_pictures_are_the_same_for_the_same_results(tmp_path):
    pytest.importorskip("matplotlib")
    curve = [
        Point(run="$r_1$", step=step, label="x", accuracy=0.2 + step / 100, interval=(0.1, 0.9))
        for step in (0, 30, 60)
    ]
    spots = [
        Spot(label=f"$m^{at}<b>", cost=10.0**-at, accuracy=0.5 + at / 10, interval=(0.4, 0.9))
        for at in range(4)
    ]
    files = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        files.append([*draw_curve(curve, folder / "curve"), *draw_costs(spots, folder / "costs")])
    for one, other in zip(*files, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert [path.name for path in files[0]] == ["curve.svg", "curve.png", "costs.svg", "costs.png"]
    text = files[0][2].read_text()
    assert "mathdefault" not in text  # nor is a number of an axis
    assert "$m^0&lt;b&gt;" in text  # a name is no formula and no markup
    assert math.isclose(sum(spot.cost for spot in spots), 1.111)
