"""Runs against each other: recipes, training curves, evaluations; one object for terminal and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grpokit.report.curves import LAST, at_equal, curve, efficiency, ending, over_seeds
from grpokit.report.judged import evaluations
from grpokit.report.recipes import Labelled, Varying, changed_rewards, labelled, notes, varying
from grpokit.report.series import AXES, Axis, RunSeries

__all__ = ["comparison", "usual_metrics"]

ALWAYS = ("reward", "rewards/", "length/mean", "truncated", "entropy", "kl", "dead_groups")
"""Numbers that are compared unless others are named; one that ends in / stands for all means below it."""


def usual_metrics(runs: Sequence[RunSeries]) -> list[str]:
    """The numbers that are compared without being asked for, as far as a run has them."""
    known = dict.fromkeys(name for run in runs for name in run.series)
    found = []
    for each in ALWAYS:
        if each.endswith("/"):
            found += [n for n in known if n.startswith(each) and n.endswith("/mean")]
        elif each in known:
            found.append(each)
    return found


def comparison(
    runs: Sequence[RunSeries], *, metrics: Sequence[str] = (), allow_mismatch: bool = False
) -> dict[str, Any]:
    """Everything that is known before any of the runs is believed to be better than another.

    ``metrics``: further numbers, which stand before the usual ones and get a curve.
    """
    known = labelled(runs)
    differ = varying(known)
    names = list(dict.fromkeys(("reward", *metrics, *usual_metrics(runs))))
    drawn = [name for name in dict.fromkeys(("reward", *metrics)) if _somewhere(runs, name)]
    return {
        "format": 1,
        "alerts": [_alert(each) for each in changed_rewards(differ)],
        "runs": [_run(each) for each in known],
        "recipes": _groups(known),
        "differences": [_difference(each) for each in differ],
        "last": LAST,
        "metrics": {name: _metric(known, name) for name in names if _somewhere(runs, name)},
        "curves": {name: {each.label: curve(each.run, name) for each in known} for name in drawn},
        "efficiency": efficiency(runs),
        "at_equal": at_equal(runs),
        "evaluations": evaluations(known, allow_mismatch=allow_mismatch),
    }


def _somewhere(runs: Sequence[RunSeries], name: str) -> bool:
    return any(run.values(name) for run in runs)


def _alert(each: Varying) -> str:
    reward = each.what.removeprefix("source of ")
    told = "; ".join(f"{', '.join(labels)} {value}" for labels, value in each.values)
    return f"the source of {reward} is not the same ({told}): its scores may mean something else"


def _run(each: Labelled) -> dict[str, Any]:
    run = each.run
    spent: dict[str, Any] = {axis: _end(run, axis) for axis in AXES if axis != "step"}
    return {
        "label": each.label,
        "recipe": run.listed.recipe,
        "name": run.name,
        "path": str(run.listed.path),
        "seed": run.seed,
        "state": run.listed.state,
        "step": run.listed.step,
        "planned": run.listed.planned,
        **spent,
        "notes": notes(each),
    }


def _end(run: RunSeries, axis: Axis) -> float | None:
    return run.axes[axis].values[-1] if axis in run.axes and run.axes[axis].values else None


def _groups(known: Sequence[Labelled]) -> list[dict[str, Any]]:
    letters = dict.fromkeys(each.group for each in known)
    return [
        {
            "label": letter,
            "runs": [each.label for each in known if each.group == letter],
            "seeds": [each.run.seed for each in known if each.group == letter],
        }
        for letter in letters
    ]


def _difference(each: Varying) -> dict[str, Any]:
    values = [{"runs": list(labels), "value": value} for labels, value in each.values]
    return {"what": each.what, "kind": each.kind, "values": values}


def _metric(known: Sequence[Labelled], name: str) -> dict[str, Any]:
    """The end of a number: last value, mean of the last steps, and over the seeds of each recipe."""
    tails = {each.label: ending(each.run, name) for each in known}
    finals = {each.label: ending(each.run, name, last=1) for each in known}
    letters = dict.fromkeys(each.group for each in known)
    seeds = {
        letter: over_seeds([tails[each.label] for each in known if each.group == letter])
        for letter in letters
    }
    return {"last": tails, "final": finals, "recipes": seeds}
