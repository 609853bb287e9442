"""Curves as SVG: every point is on the paper, gaps are gaps, and no picture without numbers."""

from __future__ import annotations

import json
import math
import random
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html import unescape

from grpokit.report.charts import Chart, Series, draw
from grpokit.report.points import LIMIT

NUMBERS = re.compile(r"(-?[\d.]+) (-?[\d.]+)")


def picture(chart: Chart) -> ET.Element:
    made = draw(chart)
    assert made is not None
    return ET.fromstring(made)


def chart(*values: float | None, **more: object) -> Chart:
    settings: dict[str, object] = {"smooth": True, **more}
    series = Series(name="loss", steps=range(len(values)), values=values, **settings)  # type: ignore[arg-type]
    return Chart(title="Loss", unit="nats", series=[series])


def paths(root: ET.Element, kind: str) -> list[str]:
    return [p.get("d", "") for p in root.iterfind("svg/path") if kind in p.get("class", "").split()]


def points(root: ET.Element) -> list[tuple[float, float]]:
    drawn = [path.get("d", "") for path in root.iterfind("svg/path")]
    return [(float(x), float(y)) for d in drawn for x, y in NUMBERS.findall(d)]


def inside(root: ET.Element) -> bool:
    svg = root.find("svg")
    assert svg is not None
    _, _, width, height = map(float, svg.get("viewBox", "").split())
    found = points(root)
    return bool(found) and all(0 <= x <= width and 0 <= y <= height for x, y in found)


def test_a_curve_has_axes_a_title_and_words() -> None:
    root = picture(chart(0.5, 1, 2, 4))
    ticks = [each.text for each in root.iterfind("svg/text")]
    assert ticks == ["0", "1", "2", "3", "4", "0", "1", "2", "3", "step"]
    assert root.findtext("svg/title") == "Loss"
    assert root.findtext("figcaption/span") == "nats"
    assert root.findtext("svg/desc") == (
        "nats by step. loss: from 0.5 to 1.875, between 0.5 and 1.875"
    )
    assert inside(root)


def test_the_bold_curve_is_the_mean_and_the_faint_one_each_step() -> None:
    root = picture(chart(0, 10, 0, 10))
    (faint,), (bold,) = paths(root, "faint"), paths(root, "line")
    heights = [[float(y) for _, y in NUMBERS.findall(d)] for d in (faint, bold)]
    zero, top = heights[0][0], heights[0][1]
    assert heights[0] == [zero, top, zero, top]
    half = zero + (top - zero) * 0.5
    third = zero + (top - zero) / 3
    assert [
        abs(a - b) < 0.11 for a, b in zip(heights[1], [zero, half, third, half], strict=True)
    ] == [True] * 4


def test_gaps_are_gaps_and_nan_is_one() -> None:
    root = picture(chart(1, 2, None, 3, math.nan, math.inf, 4, 5))
    for kind in ("line", "faint"):
        (d,) = paths(root, kind)
        assert d.count("M") == 3
    assert "nan" not in ET.tostring(root, encoding="unicode").lower().replace("nats", "")
    assert inside(root)


def test_a_lonely_value_is_a_dot() -> None:
    (d,) = paths(picture(chart(None, 1, None)), "line")
    first, second = NUMBERS.findall(d)
    assert first == second


def test_no_picture_without_numbers() -> None:
    assert draw(chart(None, math.nan)) is None
    assert draw(chart()) is None
    assert draw(Chart(title="", unit="", series=[])) is None


def test_odd_ranges_stay_on_the_paper() -> None:
    draw_ = random.Random(3)
    cases = [[0.0], [5.0, 5.0], [-1e-9, 1e-9], [1e290, -1e290], [1e-300], [-4.0, -2.0]]
    cases += [[draw_.gauss(0, 10.0 ** draw_.randint(-6, 6)) for _ in range(30)] for _ in range(20)]
    for values in cases:
        assert inside(picture(chart(*values))), values


def test_a_long_run_is_thinned_and_says_so() -> None:
    values = [0.0] * 30_000
    values[17_001] = 1.0
    root = picture(chart(*values))
    (faint,), (bold,) = paths(root, "faint"), paths(root, "line")
    assert len(NUMBERS.findall(bold)) <= LIMIT
    assert len(NUMBERS.findall(faint)) <= 2 * LIMIT
    top = min(float(y) for _, y in NUMBERS.findall(faint))
    assert top < min(float(y) for _, y in NUMBERS.findall(bold)) - 50, "the peak is lost"
    assert root.findtext("p") == "A point is 100 steps."


def test_areas_stand_on_one_another() -> None:
    parts = [
        Series(name=name, steps=[1, 2], values=values, colour=n)
        for n, (name, values) in enumerate({"a": [0.25, 0.5], "b": [0.25, None]}.items())
    ]
    root = picture(Chart(title="t", unit="share", series=parts, stacked=True))
    upper, lower = (NUMBERS.findall(d) for d in paths(root, "area"))
    assert upper[2:] == lower[1::-1], "the upper one begins where the lower one ends"
    assert float(upper[1][1]) == float(lower[1][1]), (
        "a stage that a step does not have took none of it"
    )
    assert [each.text or each[0].tail for each in root.iterfind("ul/li")] == ["a", "b"]
    assert inside(root)


def test_points_have_bars() -> None:
    series = Series(name="a", steps=[1, 5], values=[0.5, None], low=[0.25, None], high=[1.0, None])
    root = picture(Chart(title="t", unit="share", series=[series], points=True))
    assert len(root.findall("svg/circle")) == len(paths(root, "bar")) == 1
    assert inside(root)


def test_the_script_gets_the_drawn_numbers() -> None:
    made = draw(chart(1, None, 2))
    assert made is not None
    data = json.loads(unescape(made.split('class="readings">')[1].split("</script>")[0]))
    assert data == {
        "percent": False,
        "series": [{"name": "loss", "look": 0, "x": [0, 1, 2], "y": [1.0, None, 1.5]}],
    }


def test_a_hostile_name_is_text() -> None:
    series = [
        Series(name=f"</script><svg onload=x>\u202e{n}", steps=[1], values=[1], colour=n)
        for n in (0, 1)
    ]
    root = picture(Chart(title="<b>", unit="</svg>", series=series))
    assert root.findtext("figcaption/b") == "<b>"
    assert "".join(root.find("ul/li").itertext()) == "</script><svg onload=x>U+202E0"
    assert len(root.findall("svg")) == 1


def test_a_single_curve_of_several_runs_is_named() -> None:
    series = [Series(name="run b", steps=[1, 2], values=[1, 2])]
    alone = Chart(title="t", unit="", series=series)
    assert picture(alone).find("ul") is None
    named = picture(replace(alone, named=True))
    assert [each[0].tail for each in named.iterfind("ul/li")] == ["run b"]
