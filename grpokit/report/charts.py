"""Curves as SVG, readable without a script: axes, units, legend, gaps where nothing is known.

Colours and dashes are classes, so that the style decides about light, dark and print. What the
script needs to read values out at the pointer stands beside the picture as data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from grpokit.report.markup import Html, block, join, tag, visible
from grpokit.report.points import Values, averaged, bin_size, extremes, finite, means, short, ticks

__all__ = ["COLOURS", "DASHES", "Chart", "Series", "draw", "figures"]

NARROW, WIDE = (420, 236), (960, 300)
TOP, RIGHT, BOTTOM = 10, 14, 38
CHARACTER = 6.6
"""Width of a digit on an axis."""
COLOURS, DASHES = 8, 4


@dataclass(frozen=True, kw_only=True)
class Series:
    """One curve.

    Attributes:
        colour, dash: places in the palette.
        smooth: draw the 5-step mean, and the values faintly behind it; of areas the mean alone.
        low, high: bounds of each value: a band around a curve, bars around points.
    """

    name: str
    steps: Sequence[float]
    values: Values
    colour: int = 0
    dash: int = 0
    smooth: bool = False
    low: Values = ()
    high: Values = ()


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What a picture shows.

    Attributes:
        unit: of the vertical axis; ``share`` is shown in percent, from 0 to 1.
        stacked: areas one on another; a stage that a step does not have took none of it.
        points: dots with bars instead of curves.
        note: a sentence below it.
        named: a legend also for a single curve, which is one of several runs.
    """

    title: str
    unit: str
    series: Sequence[Series]
    note: str = ""
    stacked: bool = False
    points: bool = False
    wide: bool = False
    named: bool = False

    @property
    def size(self) -> int:
        """Steps that one drawn point stands for."""
        return bin_size(max((len(each.steps) for each in self.series), default=0))


@dataclass(frozen=True, kw_only=True)
class _Curve:
    """A series as it is drawn."""

    source: Series
    steps: list[float]
    values: list[float | None]
    faint: tuple[list[float], list[float | None]] | None = None
    low: list[float | None] = field(default_factory=list)
    high: list[float | None] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _Plane:
    """Where numbers are on the paper."""

    width: int
    height: int
    left: float
    x: tuple[float, float]
    y: tuple[float, float]

    @property
    def right(self) -> float:
        return self.width - RIGHT

    @property
    def bottom(self) -> float:
        return self.height - BOTTOM

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return (
            self.left + across * (self.right - self.left),
            self.bottom - up * (self.bottom - TOP),
        )

    def point(self, x: float, y: float) -> str:
        return "{:.1f} {:.1f}".format(*self.at(x, y))


def draw(chart: Chart) -> Html | None:
    """The figure; None where no number of it exists."""
    curves = _stack(chart) if chart.stacked else [_curve(chart, each) for each in chart.series]
    numbers = [n for each in curves for n in _numbers(each)]
    if not numbers:
        return None
    xs = [step for each in curves for step in each.steps]
    sizes = (NARROW, WIDE) if chart.wide else (NARROW,)
    pictures = [_picture(chart, curves, size, (min(xs), max(xs)), numbers) for size in sizes]
    size = chart.size
    thinned = f"A point is {size} steps." if size > 1 and not chart.points else ""
    note = " ".join(each for each in (chart.note, thinned) if each)
    parts = [
        tag("figcaption", tag("b", chart.title), " ", tag("span", chart.unit, class_="unit")),
        _legend(chart),
        *pictures,
        tag("p", note, class_="note") if note else "",
        block({"percent": chart.unit == "share", "series": _readings(curves)}, "readings"),
    ]
    return tag(
        "figure",
        *parts,
        class_=f"chart{' wide' if chart.wide else ''}{' stack' if chart.stacked else ''}",
    )


def _curve(chart: Chart, series: Series) -> _Curve:
    size = 1 if chart.points else chart.size
    values = [finite(value) for value in series.values]
    steps, drawn = means(series.steps, averaged(values) if series.smooth else values, size)
    return _Curve(
        source=series,
        steps=steps,
        values=drawn,
        faint=extremes(series.steps, values, size) if series.smooth else None,
        low=means(series.steps, [finite(v) for v in series.low], size)[1] if series.low else [],
        high=means(series.steps, [finite(v) for v in series.high], size)[1] if series.high else [],
    )


def _stack(chart: Chart) -> list[_Curve]:
    """Each series between the sum below it and the sum with it."""
    below: list[float] = [0.0] * len(chart.series[0].steps)
    found = []
    for series in chart.series:
        values = [finite(value) for value in series.values]
        values = averaged(values) if series.smooth else values
        above = [floor + (value or 0.0) for floor, value in zip(below, values, strict=True)]
        steps, high = means(series.steps, above, chart.size)
        low = means(series.steps, below, chart.size)[1]
        own = means(series.steps, values, chart.size)[1]
        found.append(_Curve(source=series, steps=steps, values=own, low=low, high=high))
        below = above
    return found


def _numbers(curve: _Curve) -> list[float]:
    faint = curve.faint[1] if curve.faint else []
    stacked_or_bare = (curve.low, curve.high) if curve.high else ()
    return [
        n for values in (curve.values, faint, *stacked_or_bare) for n in values if n is not None
    ]


def _limits(chart: Chart, numbers: Sequence[float]) -> tuple[float, float]:
    """Of the vertical axis: all of a share, from 0 where that loses little, else with some air."""
    low, high = min(numbers), max(numbers)
    if chart.unit == "share" and low >= 0 and high <= 1:
        return (0.0, 1.0) if high > 0.5 else (0.0, max(high * 1.08, 0.01))
    if chart.stacked or 0 <= low < high / 2:
        return 0.0, high * 1.06 or 1.0
    air = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    return low - air, high + air


def _picture(
    chart: Chart,
    curves: Sequence[_Curve],
    size: tuple[int, int],
    x: tuple[float, float],
    numbers: Sequence[float],
) -> Html:
    y = _limits(chart, numbers)
    percent = chart.unit == "share"
    marks = [(value, short(value, percent=percent)) for value in ticks(*y)]
    width, height = size
    air = (x[1] - x[0]) * 0.04 if chart.points and x[0] < x[1] else float(x[0] == x[1])
    x = (x[0] - air, x[1] + air)
    left = 14 + CHARACTER * max(len(name) for _, name in marks)
    plane = _Plane(width=width, height=height, left=round(left, 1), x=x, y=y)
    drawn = [part for each in reversed(curves) for part in _drawn(chart, plane, each)]
    return tag(
        "svg",
        tag("title", visible(chart.title)),
        tag("desc", _words(chart, curves)),
        *_axes(plane, marks),
        *drawn,
        tag("line", class_="cursor", x1=0, x2=0, y1=TOP, y2=plane.bottom, visibility="hidden"),
        viewBox=f"0 0 {width} {height}",
        role="img",
        tabindex="0",
        class_="big" if size == WIDE else "small" if chart.wide else None,
        data_box=f"{plane.left} {plane.right}",
        data_steps=f"{x[0]} {x[1]}",
    )


def _axes(plane: _Plane, marks: Sequence[tuple[float, str]]) -> list[Html]:
    parts = []
    for value, name in marks:
        x, y = plane.at(plane.x[0], value)
        parts.append(tag("line", class_="grid", x1=x, x2=plane.right, y1=f"{y:.1f}", y2=f"{y:.1f}"))
        parts.append(tag("text", name, class_="tick end", x=f"{x - 6:.1f}", y=f"{y + 4:.1f}"))
    low, high = plane.x
    for step in ticks(low, high, 8 if plane.width > NARROW[0] else 5):
        if step == int(step):
            x, _ = plane.at(step, plane.y[0])
            at = {"x": f"{x:.1f}", "y": plane.bottom + 16}
            parts.append(tag("text", short(step), class_="tick middle", **at))
    base = f"{plane.bottom:.1f}"
    parts.append(tag("line", class_="axis", x1=plane.left, x2=plane.right, y1=base, y2=base))
    centre = f"{(plane.left + plane.right) / 2:.1f}"
    parts.append(tag("text", "step", class_="tick middle", x=centre, y=plane.height - 6))
    return parts


def _drawn(chart: Chart, plane: _Plane, curve: _Curve) -> list[Html]:
    source = curve.source
    look = f"c{source.colour % COLOURS} d{source.dash % DASHES}"
    if chart.points:
        return [part for part in _dots(plane, curve, look) if part]
    parts = []
    if curve.high:
        parts.append(tag("path", class_=f"area {look}", d=_area(plane, curve)))
    if curve.faint:
        parts.append(tag("path", class_=f"faint {look}", d=_line(plane, *curve.faint)))
    if not chart.stacked:
        parts.append(tag("path", class_=f"line {look}", d=_line(plane, curve.steps, curve.values)))
    return parts


def _dots(plane: _Plane, curve: _Curve, look: str) -> list[Html]:
    parts = [tag("path", class_=f"faint {look}", d=_line(plane, curve.steps, curve.values))]
    for place, (step, value) in enumerate(zip(curve.steps, curve.values, strict=True)):
        if value is None:
            continue
        low = curve.low[place] if curve.low else None
        high = curve.high[place] if curve.high else None
        if low is not None and high is not None:
            d = f"M{plane.point(step, low)}L{plane.point(step, high)}"
            parts.append(tag("path", class_=f"bar {look}", d=d))
        x, y = plane.at(step, value)
        parts.append(tag("circle", class_=f"dot {look}", cx=f"{x:.1f}", cy=f"{y:.1f}", r="3.5"))
    return parts


def _line(plane: _Plane, steps: Sequence[float], values: Values) -> str:
    """A path that is lifted where a value is missing; a lonely value is a dot."""
    parts: list[str] = []
    for run in _runs(steps, values):
        points = [plane.point(x, y) for x, y in run]
        parts.append("M" + "L".join(points if len(points) > 1 else points * 2))
    return "".join(parts)


def _area(plane: _Plane, curve: _Curve) -> str:
    parts = []
    pairs = list(zip(curve.steps, curve.low, curve.high, strict=True))
    for run in _runs(range(len(pairs)), [None if None in pair else 0.0 for pair in pairs]):
        inside = [pairs[int(place)] for place, _ in run]
        there = [plane.point(step, high or 0.0) for step, _, high in inside]
        back = [plane.point(step, low or 0.0) for step, low, _ in reversed(inside)]
        parts.append("M" + "L".join([*there, *back]) + "Z")
    return "".join(parts)


def _runs(steps: Sequence[float], values: Values) -> list[list[tuple[float, float]]]:
    """Stretches without a gap."""
    found: list[list[tuple[float, float]]] = [[]]
    for step, value in zip(steps, values, strict=True):
        if value is not None:
            found[-1].append((step, value))
        elif found[-1]:
            found.append([])
    return [run for run in found if run]


def _legend(chart: Chart) -> Html | str:
    if len(chart.series) == 1 and not chart.named:
        return ""
    items = []
    for each in chart.series:
        look = f"c{each.colour % COLOURS} d{each.dash % DASHES}"
        kind = "area" if chart.stacked else "line"
        d = "M0 1H22V11H0Z" if chart.stacked else "M0 6H22"
        sign = tag("svg", tag("path", class_=f"{kind} {look}", d=d), viewBox="0 0 22 12")
        items.append(tag("li", sign, each.name))
    return tag("ul", *items, class_="legend")


def _words(chart: Chart, curves: Sequence[_Curve]) -> str:
    """What a screen reader says of the picture."""
    said = []
    for each in curves:
        known = [value for value in each.values if value is not None]
        if known:
            first, last, low, high = (
                short(n, percent=chart.unit == "share")
                for n in (known[0], known[-1], min(known), max(known))
            )
            said.append(f"{each.source.name}: from {first} to {last}, between {low} and {high}")
    return f"{chart.unit} by step. " + "; ".join(said)


def _readings(curves: Sequence[_Curve]) -> list[dict[str, object]]:
    found = []
    for each in curves:
        values = [None if v is None else float(f"{v:.5g}") for v in each.values]
        steps = [round(step, 1) for step in each.steps]
        found.append(
            {
                "name": visible(each.source.name),
                "look": each.source.colour % COLOURS,
                "x": steps,
                "y": values,
            }
        )
    return found


def figures(charts: Sequence[Chart]) -> Html:
    """All that have something to show."""
    return join(found for chart in charts if (found := draw(chart)) is not None)
