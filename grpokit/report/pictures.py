"""Which pictures a run's numbers make. A number that never changes is a sentence and no picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from grpokit.report.charts import COLOURS, Chart, Series
from grpokit.report.plots import ELSEWHERE, FURTHER, MAIN, OTHERS, Plot
from grpokit.report.points import Values, finite, short
from grpokit.report.reading import RunData
from grpokit.report.rollouts import QUADRANTS, Rollouts

__all__ = ["constants", "further_charts", "held_out_chart", "main_charts", "reward_chart"]


def reward_chart(runs: Sequence[RunData]) -> Chart:
    plot = Plot(title="Reward", unit="mean total of a step's completions", names=("reward",))
    return replace(_chart(plot, runs, keep_constant=True), wide=True)


def main_charts(runs: Sequence[RunData], found: Sequence[Rollouts]) -> list[Chart]:
    charts = [_chart(plot, runs) for plot in MAIN]
    if len(runs) == 1:
        charts = [_with_range(chart, runs[0]) for chart in charts]
        charts.insert(5, _dead(runs[0]))
    else:
        charts[5:5] = _dead_of_several(runs)
    whose = [f": {run.label}" if len(runs) > 1 else "" for run in runs]
    charts += [_quadrants(*each) for each in zip(runs, found, whose, strict=True)]
    charts += [_stages(*each) for each in zip(runs, whose, strict=True)]
    return [chart for chart in charts if chart.series]


def further_charts(runs: Sequence[RunData]) -> list[Chart]:
    named = [name for plot in (*MAIN, *FURTHER) for name in plot.names]
    others = [name for name in _names(runs) if not _matches(name, (*named, *ELSEWHERE))]
    plots = [Plot(title=name, unit="", names=(name,)) for name in others[:OTHERS]]
    return [chart for plot in (*FURTHER, *plots) if (chart := _chart(plot, runs)).series]


def constants(runs: Sequence[RunData]) -> list[str]:
    """Names that would have made a picture, with their one value."""
    found = []
    for name in _names(runs):
        value = _constant(name, runs)
        if value is not None and not _matches(name, ELSEWHERE):
            found.append(f"{name} {short(value)}")
    return found


def held_out_chart(runs: Sequence[RunData]) -> Chart:
    """Evaluations during training."""
    series = []
    for place, run in enumerate(runs):
        rows = run.evals
        steps = [float(row["step"]) for row in rows]
        numbers = {
            key: [finite(row.get(key)) for row in rows]
            for key in ("accuracy", "accuracy_low", "accuracy_high")
        }
        if any(value is not None for value in numbers["accuracy"]):
            one = Series(
                name=run.label if len(runs) > 1 else "accuracy",
                steps=steps,
                values=numbers["accuracy"],
                low=numbers["accuracy_low"],
                high=numbers["accuracy_high"],
                colour=place,
            )
            series.append(one)
    note = "Of the run's own held-out questions; bars are 95 % intervals."
    title = "Held-out accuracy during training"
    named = len(runs) > 1
    return Chart(title=title, unit="share", series=series, points=True, note=note, named=named)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _names(runs: Sequence[RunData]) -> list[str]:
    """Of all runs, in the order in which they came."""
    return list(dict.fromkeys(name for run in runs for name in run.columns))


def _values(run: RunData, name: str) -> Values:
    return run.columns.get(name) or [None] * len(run.rows)


def _constant(name: str, runs: Sequence[RunData]) -> float | None:
    """The one value that a number has in all steps of all runs; None where it varies."""
    ranges = [run.ranges[name] for run in runs if name in run.ranges]
    ends = {end for low, high, _ in ranges for end in (low, high)}
    several = sum(count for *_, count in ranges) > 1
    return ends.pop() if len(ends) == 1 and several else None


def _chart(plot: Plot, runs: Sequence[RunData], *, keep_constant: bool = False) -> Chart:
    """One run: a colour a name. Several: a colour a run, and a dash a name."""
    names = [
        name
        for pattern in plot.names
        for name in _names(runs)
        if fnmatchcase(name, pattern) and (keep_constant or _constant(name, runs) is None)
    ]
    series = []
    for place, run in enumerate(runs):
        for number, name in enumerate(names):
            values = _values(run, name)
            if any(value is not None for value in values):
                series.append(
                    _series(plot, run, name, values, len(runs), len(names), place, number)
                )
    named = len(runs) > 1
    return Chart(title=plot.title, unit=plot.unit, note=plot.note, series=series, named=named)


def _series(
    plot: Plot,
    run: RunData,
    name: str,
    values: Values,
    runs: int,
    names: int,
    place: int,
    number: int,
) -> Series:
    own = _label(name)
    label = own if runs == 1 else run.label if names == 1 else f"{run.label}: {own}"
    return Series(
        name=label,
        steps=_steps(run),
        values=values,
        colour=number if runs == 1 else place,
        dash=number // COLOURS if runs == 1 else number + place // COLOURS,
        smooth=plot.smooth,
    )


def _label(name: str) -> str:
    for start, end in (("rewards/", "/mean"), ("components/", ""), ("total/", "")):
        if name.startswith(start) and name.endswith(end):
            return name.removeprefix(start).removesuffix(end).replace("completions_", "")
    return "share" if name == "trained_share" else name


def _steps(run: RunData) -> list[float]:
    return [float(row.step) for row in run.rows]


def _with_range(chart: Chart, run: RunData) -> Chart:
    """The shortest and the longest completion behind their mean."""
    low, high = _values(run, "length/min"), _values(run, "length/max")
    if chart.title != "Length of completions" or not chart.series or None in (*low, *high):
        return chart
    series = replace(chart.series[0], low=low, high=high, name="mean")
    return replace(chart, series=[series], note="The band is from the shortest to the longest.")


def _dead_parts(run: RunData) -> tuple[Values, Values]:
    """Groups that are dead at the step's best total, and the other dead ones."""
    high = _values(run, "dead_groups_high")
    pairs = zip(_values(run, "dead_groups"), high, strict=True)
    rest = [None if a is None or b is None else max(a - b, 0.0) for a, b in pairs]
    return high, rest


DEAD = ("all right", "all wrong")
DEAD_NOTE = "All right: at the best total of the step; all wrong: below it."


def _dead(run: RunData) -> Chart:
    parts = _dead_parts(run)
    if all(value is None for value in parts[1]):  # another trainer does not say which
        plot = Plot(title="Dead groups", unit="share", names=("dead_groups",), note=DEAD_NOTE)
        return _chart(plot, [run])
    series = [
        Series(name=name, steps=_steps(run), values=values, colour=colour, smooth=True)
        for name, values, colour in zip(DEAD, parts, (2, 1), strict=True)
    ]
    return Chart(title="Dead groups", unit="share", series=series, stacked=True, note=DEAD_NOTE)


def _dead_of_several(runs: Sequence[RunData]) -> list[Chart]:
    charts = []
    for part, name in enumerate(DEAD):
        series = [
            Series(
                name=run.label,
                steps=_steps(run),
                values=_dead_parts(run)[part],
                colour=place,
                smooth=True,
            )
            for place, run in enumerate(runs)
        ]
        title = f"Dead groups, {name}"
        charts.append(Chart(title=title, unit="share", series=series, note=DEAD_NOTE))
    return charts


def _quadrants(run: RunData, found: Rollouts, whose: str) -> Chart:
    steps = sorted(found.quadrants)
    shares = [[count / sum(found.quadrants[s]) for count in found.quadrants[s]] for s in steps]
    series = [
        Series(
            name=name,
            steps=steps,
            values=[share[place] for share in shares],
            colour=colour,
            smooth=True,
        )
        for place, (name, colour) in enumerate(zip(QUADRANTS, (2, 5, 4, 1), strict=True))
    ]
    note = (
        f"Right: {run.goal} is {run.threshold:g} or more. Of completions that both rewards scored."
    )
    title = f"Answer and format{whose}"
    kept = series if steps else []
    return Chart(title=title, unit="share", series=kept, stacked=True, note=note)


def _stages(run: RunData, whose: str) -> Chart:
    """Stages without their parts; the rest of a step's time is one more."""
    steps = [step for step in sorted(run.seconds) if run.seconds[step]]
    rows = [run.seconds[step] for step in steps]
    names = list(dict.fromkeys(n for row in rows for n in row if "/" not in n and n != "total"))
    parts: dict[str, list[float | None]] = {n: [row.get(n) for row in rows] for n in names}
    rest = [_rest(row, names) for row in rows]
    if any(rest):
        parts["other"] = list(rest)
    series = [
        Series(name=name, steps=[float(s) for s in steps], values=values, colour=place, smooth=True)
        for place, (name, values) in enumerate(parts.items())
    ]
    return Chart(title=f"Time of a step{whose}", unit="seconds", series=series, stacked=True)


def _rest(row: Mapping[str, float], names: Sequence[str]) -> float:
    left = row.get("total", 0.0) - sum(row.get(name, 0.0) for name in names)
    return left if left > 0.005 * row.get("total", 0.0) else 0.0
