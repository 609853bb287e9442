"""How runs and their re-scorings look on the terminal."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpokit.cli import render

if TYPE_CHECKING:
    from grpokit.report.listing import Listed
    from grpokit.rescore.rescore import Rescored

__all__ = ["listed_json", "show_list", "show_one", "show_rescored", "shown_json"]

SHOWN = 5
"""Disagreements on the terminal; the summary has ten."""
TEXT = 600
"""Characters of a completion that are shown."""


def listed_json(run: Listed) -> dict[str, Any]:
    return {
        "name": run.path.name,
        "path": str(run.path),
        "recipe": run.recipe,
        "state": run.state,
        "step": run.step,
        "steps": run.planned,
        "reward": run.reward,
        "date": _date(run.date),
    }


def show_list(folder: Path, runs: Sequence[Listed]) -> None:
    if not runs:
        render.say(f"there is no run in {folder}/; start one: grpokit train quickstart")
        return
    rows = [
        (run.path.name, run.recipe, _steps(run), run.state, _number(run.reward), _date(run.date))
        for run in runs
    ]
    render.table(("run", "recipe", ">steps", "state", ">reward", "date"), rows)


def shown_json(run: Listed) -> dict[str, Any]:
    return {
        **listed_json(run),
        "recipe_values": run.data,
        "last": run.last,
        "checkpoints": _names(run.path / "checkpoints"),
        "evaluations": _names(run.path / "eval"),
        "rescored": _names(run.path / "rescore"),
    }


def show_one(run: Listed) -> None:
    render.say(f"run {run.path}", "bold")
    data = run.data
    rows = [
        ("recipe", run.recipe),
        ("state", f"{run.state}, step {_steps(run)}"),
        ("date", _date(run.date)),
        ("model", _get(data, "model", "id")),
        ("data set", _get(data, "dataset", "use")),
        ("algorithm", _get(data, "algorithm", "use")),
        ("backend", _get(data, "backend", "use")),
        ("rewards", _rewards(data)),
    ]
    wanted = ("reward", "reward_std", "dead_groups", "failures", "length/mean", "truncated", "kl")
    rows += [(f"last {name}", _number(run.last[name])) for name in wanted if name in run.last]
    for title, folder in (
        ("checkpoints", "checkpoints"),
        ("evaluations", "eval"),
        ("re-scored", "rescore"),
    ):
        names = _names(run.path / folder)
        if names:
            rows.append((title, ", ".join(names)))
    for title, name in (
        ("first failures", "failures.jsonl"),
        ("unfinished", "unfinished.jsonl"),
        ("what was found", "diagnosis.json"),
    ):
        if (run.path / name).is_file():
            rows.append((title, name))
    render.table(("", ""), rows)
    if run.state == "stopped":
        render.say(f"resume with: grpokit train --resume {shlex.quote(str(run.path))}")


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


def _get(data: Mapping[str, Any], *keys: str) -> str:
    value: Any = data
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return "" if value is None else str(value)


def _rewards(data: Mapping[str, Any]) -> str:
    listed = data.get("rewards")
    found = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    return ", ".join(f"{e.get('name') or e.get('use')} x {e.get('weight', 1.0)}" for e in found)


def _steps(run: Listed) -> str:
    return f"{run.step}/{'?' if run.planned is None else run.planned}"


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)) if seconds else ""


def _number(value: object) -> str:
    return "" if not isinstance(value, int | float) else f"{value:.4g}"


def show_rescored(found: Rescored) -> None:
    summary = found.summary
    first, last = summary["steps"][0], summary["steps"][-1]
    steps = f"steps {first} to {last}" if first != last else f"step {first}"
    render.say(
        f"{_count(summary['completions'], 'completion')} of "
        f"{_count(summary['groups'], 'group')}, {steps}"
    )
    for each in summary["rewards"]:
        _reward(each, summary["against"])
    for each in summary["comparisons"]:
        _comparison(each)
    if summary["totals_that_are_no_sum"]:
        render.say(
            f"{summary['totals_that_are_no_sum']} saved totals are not the weighted sum of their "
            "saved scores: the recipe's weights were others then. New totals have today's weights",
            "red",
        )
    _advantages(summary["advantages"])
    for name, failure in summary["failures"].items():
        render.say(
            f"{name} of {failure['plugin']} failed {_count(failure['count'], 'time')}, "
            f"first: {render.safe(failure['first'], limit=300, one_line=True)}",
            "red",
        )
    _disagreements(summary["comparisons"][0])
    render.say(f"\nwritten to {found.folder}")


def _reward(each: Mapping[str, Any], against: str | None) -> None:
    settings = json.dumps(each["settings"]) if each["settings"] else "no settings"
    place = "" if against is None else f", in the place of {render.safe(against, one_line=True)}"
    called = "" if each["id"].rpartition("/")[2] == each["name"] else f"{each['name']}: "
    render.say(
        f"{called}{each['plugin']}, {render.safe(settings, limit=300, one_line=True)}, "
        f"weight {each['weight']:g}{place}"
    )


def _comparison(each: Mapping[str, Any]) -> None:
    old, new = each["old"], each["new"]
    render.say()
    names = ("old", "new") if old["name"] == new["name"] else (old["name"], new["name"])
    title = f"{new['name']} (new) against {old['name']} (saved)"
    rows = [
        ("mean", _number(old["mean"]), _number(new["mean"])),
        ("errors", _share(old["errors"]), _share(new["errors"])),
        ("abstained", _share(old["abstained"]), _share(new["abstained"])),
    ]
    render.table(("", f">{names[0]}", f">{names[1]}"), rows, title=title)
    if each["flips"] is not None:
        flips = each["flips"]
        render.say(
            f"right from {each['threshold']:g}: {flips['right_right']} stay right, "
            f"{flips['wrong_wrong']} stay wrong,\n"
            f"  {flips['right_wrong']} right became wrong, {flips['wrong_right']} wrong became right "
            f"({_share(flips['share'])})"
        )
    render.say(
        f"{_share(each['changed'])} changed, mean change {_signed(each['mean_change'])}, "
        f"mean absolute change {_number(each['mean_absolute_change']) or 'none'}"
    )
    overall, within = each["overall"], each["within_groups"]
    render.table(
        ("rank correlation", ">overall", f">mean within {_count(within['groups'], 'group')}"),
        [
            ("Kendall's tau-b", *(_correlation(side["kendall"]) for side in (overall, within))),
            ("Spearman's rho", *(_correlation(side["spearman"]) for side in (overall, within))),
        ],
    )
    if within["only_old_varies"] or within["only_new_varies"]:
        render.say(
            f"{_count(within['only_old_varies'], 'group')} with a difference under the old scores "
            f"only, {within['only_new_varies']} under the new ones only"
        )


def _advantages(data: Mapping[str, Any]) -> None:
    render.say()
    rows = [
        ("change their sign", data["share"]),
        ("  reversed", data["reversed"]),
        ("  become 0", data["lost"]),
        ("  were 0", data["gained"]),
        ("groups without a signal before", data["dead_groups_old"]),
        ("groups without a signal now", data["dead_groups_new"]),
    ]
    render.table(("advantages", ">share"), [(name, _share(value)) for name, value in rows])
    if data["advantage_is_the_runs"]:
        render.say(
            f"by {data['advantage']},\n  which gives the run's saved advantages in "
            f"{_all(data['groups_that_say'])} with a signal"
        )
    elif data["groups_that_say"]:
        render.say(
            "by the sign of r - group mean: no known formula gives the run's saved advantages;\n"
            f"  their signs agree with it in {_share(data['saved_signs_agree'])} of completions"
        )
    else:
        render.say(
            "by the sign of r - group mean: no group of the run had a signal to check it with"
        )


def _all(groups: int) -> str:
    return "the one group" if groups == 1 else f"all {groups} groups"


def _disagreements(each: Mapping[str, Any]) -> None:
    items = each["disagreements"][:SHOWN]
    if items:
        render.say("\nlargest disagreements", "bold")
    for item in items:
        mark = ", flip" if item["flip"] else ""
        render.say(
            f"step {item['step']}, row {item['index']}, sample {item['sample']}: "
            f"{item['old']:g} -> {item['new']:g}{mark}"
        )
        render.say(f"  answer: {_quoted(item['answer'], 200)}")
        render.say(f"  completion: {_quoted(item['completion'], TEXT)}")


def _quoted(value: object, limit: int) -> str:
    """Text in quotes, with every character that could steer a terminal as an escape."""
    shown = value if isinstance(value, str) else json.dumps(value)
    return f'"{render.safe(shown, limit=limit, one_line=True)}"'


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _signed(value: float | None) -> str:
    return "none" if value is None else f"{value:+.4g}"


def _correlation(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
