"""Several models for people: one table, the curve of a run's checkpoints, what a question costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from grpokit.cli import render
from grpokit.cli.eval_measures import percent
from grpokit.cli.eval_show import accuracies, heading, points

if TYPE_CHECKING:
    from grpokit.evaluate.ladder import Ladder, Point
    from grpokit.evaluate.paired import Comparison
    from grpokit.evaluate.prices import Cost
    from grpokit.evaluate.records import Evaluation

__all__ = ["on_frontier", "show_costs", "show_curve", "show_ladder"]

FEWEST = 3
"""Points of a curve that says more than the table."""


def show_ladder(ladder: Ladder) -> None:
    """A row a model: its accuracy, and then its difference from the first."""
    first, *others = ladder.evaluations
    heading(first)
    render.say()
    accuracies(ladder.evaluations)
    render.say()
    columns = [f"against {first.label}", ">points", ">95% interval", ">p", ">p (Holm)", "verdict"]
    pairs = zip(others, ladder.comparisons, ladder.adjusted, strict=True)
    render.table(columns, [_difference(each, found, p) for each, found, p in pairs])
    render.say(
        f"on the same questions; p (Holm) is adjusted for {len(others)} comparisons, "
        "intervals and verdicts are each for itself"
    )
    if first.samples > 1:
        render.say()
        _show_passes(ladder.evaluations)


def _difference(each: Evaluation, found: Comparison, p: float) -> tuple[str, ...]:
    low, high = found.interval
    between = f"[{points(low)}, {points(high)}]"
    return (each.label, points(found.difference), between, _p(found.p), _p(p), found.verdict)


def _show_passes(evaluations: Sequence[Evaluation]) -> None:
    ks = list(evaluations[0].passes)
    columns = ["one of k answers is right", *(f">pass@{k}" for k in ks)]
    rows = [
        (each.label, *(percent(value) for value, _ in each.passes.values())) for each in evaluations
    ]
    render.table(columns, rows)


def show_curve(curve: Sequence[Point]) -> None:
    """The accuracies of each run's checkpoints as blocks, from the lowest to the highest."""
    from grpokit.cli.charts import sparkline

    for run in dict.fromkeys(point.run for point in curve):
        own = [point for point in curve if point.run == run]
        if len(own) < FEWEST:
            continue
        line = sparkline([point.accuracy for point in own])
        ends = f"{percent(own[0].accuracy)} at step {own[0].step}"
        last = f"{percent(own[-1].accuracy)} at step {own[-1].step}"
        render.say(f"\n{run}  {line}  {ends}, {last}")


def show_costs(evaluations: Sequence[Evaluation], costs: Sequence[Cost]) -> None:
    """A row a model, the cheapest first; those that none beats in both are marked."""
    best = on_frontier(evaluations, costs)
    joined = sorted(
        zip(evaluations, costs, best, strict=True),
        key=lambda row: (row[1].each is None, row[1].each or 0.0, -row[0].accuracy),
    )
    rows = [
        (
            each.label,
            "-" if cost.each is None else f"{cost.each:.3g}",
            "-" if cost.total is None else f"{cost.total:.3g}",
            percent(each.accuracy),
            _within(each.interval),
            "yes" if on else cost.why,
        )
        for each, cost, on in joined
    ]
    render.say()
    columns = ["model", ">cost of a question", ">of all", ">accuracy", ">95% interval", "frontier"]
    render.table(columns, rows)


def on_frontier(evaluations: Sequence[Evaluation], costs: Sequence[Cost]) -> list[bool]:
    """Which models no other beats in both; one without a cost is not among them, and beats none."""
    from grpokit.evaluate.pareto import frontier

    known = [at for at, cost in enumerate(costs) if cost.each is not None]
    found = frontier([(costs[at].each or 0.0, evaluations[at].accuracy) for at in known])
    best = {at for at, on in zip(known, found, strict=True) if on}
    return [at in best for at in range(len(costs))]


def _within(interval: tuple[float, float]) -> str:
    low, high = interval
    return f"[{percent(low)}, {percent(high)}]"


def _p(value: float) -> str:
    return f"{value:.3g}" if value >= 1e-4 else "< 0.0001"
