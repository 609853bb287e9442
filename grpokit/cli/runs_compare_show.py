"""How a comparison of runs looks on the terminal: at most 80 columns, the gravest first."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from grpokit.cli import render
from grpokit.cli.charts import sparkline
from grpokit.cli.eval_measures import percent
from grpokit.cli.eval_show import points
from grpokit.cli.page import head, wrapped

__all__ = ["show_comparison"]

Data = Mapping[str, Any]
BLOCK = 5
"""Runs side by side."""
CURVE = 48
NAME = 26
"""Characters of a folder's or a number's name."""
VALUE = 60
"""Characters of a recipe's value."""
PAIRS = 45
"""Pairs that are shown; all of ten runs."""
WORDS = {"completions": "completions", "tokens": "tokens", "seconds": "s", "step": "steps"}


def show_comparison(data: Data) -> None:
    """Everything, in the order in which one must know it."""
    for alert in data["alerts"]:
        wrapped(f"REWARD CHANGED: {alert}", style="bold red")
    if data["alerts"]:
        render.say()
    _runs(data)
    _differences(data["differences"], len({run["seed"] for run in data["runs"]}))
    _training(data)
    _over_seeds(data)
    _curves(data)
    _efficiency(data)
    _at_equal(data)
    _evaluations(data["evaluations"], data["runs"])


def clipped(text: object, most: int = NAME) -> str:
    """Safe text, cut in its middle: the date at the end of a folder's name tells most."""
    shown = render.safe(text, one_line=True)
    if len(shown) <= most:
        return shown
    left = (most - 3) // 2
    return f"{shown[:left]}...{shown[len(shown) - (most - 3 - left) :]}"


def number(value: float | None) -> str:
    """Four digits; a dash where there is none."""
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if value == 0 or abs(value) >= 0.001:
        return f"{value:.3f}"
    return f"{value:.4f}" if abs(value) >= 1e-4 else f"{value:.0e}"


def _whole(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if value < 1000 else f"{value:,.0f}"


def _runs(data: Data) -> None:
    rows = [
        (
            run["label"],
            clipped(run["name"]),
            "-" if run["seed"] is None else run["seed"],
            f"{run['step']}/{'?' if run['planned'] is None else run['planned']}",
            _whole(run["tokens"]),
            _seconds(run["seconds"]),
        )
        for run in data["runs"]
    ]
    render.table(("run", "", ">seed", ">steps", ">tokens", ">seconds"), rows)
    for group in data["recipes"]:
        if len(group["runs"]) > 1:
            seeds = group["seeds"]
            again = "" if len(set(seeds)) == len(seeds) else "; one is there twice"
            told = ", ".join(map(str, seeds))
            wrapped(f"{group['label']}: {len(seeds)} seeds of one recipe ({told}{again})")
    for run in data["runs"]:
        state = [] if run["state"] in ("complete", "running", "broken") else [run["state"]]
        for note in (*state, *run["notes"]):
            wrapped(f"{run['label']}: {note}", style="yellow")


def _differences(found: Sequence[Data], seeds: int) -> None:
    head("what differs")
    if not found:
        render.say("  nothing but the seed" if seeds > 1 else "  nothing")
    width = min(34, max((len(each["what"]) for each in found), default=0))
    for each in found:
        told = "; ".join(
            f"{', '.join(value['runs'])} {_value(value['value'])}" for value in each["values"]
        )
        wrapped(f"{clipped(each['what'], 60):<{width}}  {told}", indent="  ")


def _value(value: object) -> str:
    return clipped(value if isinstance(value, str) else json.dumps(value, default=str), VALUE)


def _blocks(labels: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(labels), BLOCK):
        yield labels[start : start + BLOCK]


def _training(data: Data) -> None:
    head(f"training: mean of the last {data['last']} steps")
    for block in _blocks([run["label"] for run in data["runs"]]):
        rows = []
        for name, each in data["metrics"].items():
            rows.append((clipped(name), *(number(each["last"][label]) for label in block)))
            if name == "reward":
                rows.append(("  last step", *(number(each["final"][label]) for label in block)))
        render.table(("", *(f">{label}" for label in block)), rows)


def _over_seeds(data: Data) -> None:
    several = [group["label"] for group in data["recipes"] if len(group["runs"]) > 1]
    if not several:
        return
    head("the same over the seeds of a recipe: mean [lowest, highest]")
    for start in range(0, len(several), 2):
        block = several[start : start + 2]
        rows = [
            (clipped(name), *(_range(each["recipes"][label]) for label in block))
            for name, each in data["metrics"].items()
        ]
        render.table(("", *(f">{label}" for label in block)), rows)


def _range(found: Data | None) -> str:
    if found is None:
        return "-"
    return f"{number(found['mean'])} [{number(found['low'])}, {number(found['high'])}]"


def _curves(data: Data) -> None:
    for name, curves in data["curves"].items():
        values = [value for each in curves.values() for value in each["values"]]
        longest = max(each["steps"][-1] for each in curves.values() if each["steps"])
        scale = (min(values), max(values))
        head(f"{clipped(name)} over steps, from {number(scale[0])} to {number(scale[1])}")
        for label, each in curves.items():
            if not each["steps"]:
                continue
            width = max(1, round(CURVE * each["steps"][-1] / longest))
            ends = f"{number(each['values'][0])} to {number(each['values'][-1])}"
            line = sparkline(each["values"], width, scale=scale)
            render.say(f"  {label:<4} {line:<{CURVE}}  {ends}")


def _efficiency(data: Data) -> None:
    found = data["efficiency"]
    if found is None:
        return
    head(f"reward {found['level']:.3f}, the highest that all reached, was first reached at")
    rows = [
        (
            run["label"],
            _whole(at["step"]),
            _whole(at["completions"]),
            _whole(at["tokens"]),
            _seconds(at["seconds"]),
        )
        for run, at in zip(data["runs"], found["reached"], strict=True)
    ]
    render.table(("run", ">step", ">completions", ">tokens", ">seconds"), rows)
    render.say(f"by the mean of {found['smooth']} steps", "dim")


def _at_equal(data: Data) -> None:
    """Left out where all spent the same: the end says it already."""
    ends = {run["label"]: run for run in data["runs"]}
    rows_of = []
    for row in data["at_equal"]:
        spent = [run["step" if row["axis"] == "step" else row["axis"]] for run in ends.values()]
        if max(spent) > row["at"]:
            rows_of.append(row)
    if not rows_of:
        return
    head(f"reward where all had spent as much: mean of the {data['last']} steps before")
    labels = list(ends)
    for block in _blocks(labels):
        rows = []
        for row in rows_of:
            shown = _seconds if row["axis"] == "seconds" else _whole
            cells = [number(row["values"][labels.index(label)]) for label in block]
            rows.append((f"{shown(row['at'])} {WORDS[row['axis']]}", *cells))
        render.table(("", *(f">{label}" for label in block)), rows)


# ----------------------------------------------------------------------------- evaluations


def _evaluations(found: Data, runs: Sequence[Data]) -> None:
    head("evaluations")
    for problem in found["problems"]:
        wrapped(f"left out: {problem}", indent="  ", style="yellow")
    if not found["runs"]:
        wrapped("no run has a stored one: grpokit eval RUN --base", indent="  ")
        return
    _accuracies(found["runs"])
    if found["without"]:
        path = next(run["path"] for run in runs if run["label"] == found["without"][0])
        wrapped(f"without one: {', '.join(found['without'])}")
        wrapped(f"-> grpokit eval {shlex.quote(path)} --base", indent="   ")
    _pairs(found)
    for each in found["recipes"]:
        if max(each["runs"]) > 1:
            _recipes(each)


def _accuracies(found: Sequence[Data]) -> None:
    rows = [
        (
            each["run"],
            clipped(each["model"], 14),
            each["questions"],
            percent(each["accuracy"]),
            f"[{percent(each['interval'][0])}, {percent(each['interval'][1])}]",
            "-" if each["base"] is None else percent(each["base"]),
            percent(each["truncated"]),
        )
        for each in found
    ]
    columns = ("run", "model", ">questions", ">accuracy", ">95% interval", ">base", ">truncated")
    render.table(columns, rows)


def _pairs(found: Data) -> None:
    compared = [pair for pair in found["pairs"] if pair["comparison"]]
    if compared:
        render.say()
        _compared(compared, found)
    for pair in found["pairs"]:
        if pair["refused"]:
            render.say()
            wrapped(
                f"{pair['second']} against {pair['first']}: not compared, {pair['refused']}",
                style="bold yellow",
            )
            _mismatch(pair)
        elif pair["mismatch"]:
            wrapped(
                f"{pair['second']} against {pair['first']}: compared by --allow-mismatch, although "
                "more differs than the model",
                style="bold yellow",
            )
            _mismatch(pair)
    if any(pair["refused"] and pair["mismatch"] for pair in found["pairs"]):
        wrapped("-> evaluate all in the same way; or --allow-mismatch", indent="   ")


def _mismatch(pair: Data) -> None:
    for key, (first, second) in pair["mismatch"].items():
        wrapped(
            f"{clipped(key, 60)}: {pair['first']} {clipped(first, VALUE)}; {pair['second']} {clipped(second, VALUE)}",
            indent="  ",
        )
    if pair["left_out"]:
        wrapped(f"{pair['left_out']} questions of only one of them left out", indent="  ")


def _compared(pairs: Sequence[Data], found: Data) -> None:
    """Paired differences in points, the second run less the first."""
    many = len(pairs) > 1
    rows = []
    for pair in pairs[:PAIRS]:
        each = pair["comparison"]
        low, high = each["interval"]
        holm = [_p(each["p_holm"])] if many else []
        verdict = each["verdict"]
        if verdict != "no detectable change" and each["p_holm"] > 0.05:
            verdict += " *"
        rows.append(
            (
                f"{pair['second']} - {pair['first']}",
                points(each["difference"]),
                f"[{points(low)}, {points(high)}]",
                _p(each["p"]),
                *holm,
                f"{100 * each['minimum_detectable']:.1f}",
                verdict,
            )
        )
    names = [">p", ">Holm"] if many else [">p"]
    render.table(("paired", ">points", ">95% interval", *names, ">least", "verdict"), rows)
    if len(pairs) > PAIRS:
        render.say(f"and {len(pairs) - PAIRS} pairs more, with --json")
    tests = {"mcnemar": "McNemar's exact test", "sign-flip": "the sign-flip test"}
    used = " or ".join(dict.fromkeys(tests[pair["comparison"]["test"]] for pair in pairs))
    adjusted = f", and Holm's adjustment for {len(pairs)} comparisons" if many else ""
    wrapped(
        f"p by {used}{adjusted}; least: the smallest change that 80 of 100 such pairs would show",
        style="dim",
    )
    if any(str(row[-1]).endswith("*") for row in rows):
        wrapped("* the interval excludes 0, but among so many comparisons p is above 0.05")
    for pair in pairs:
        if pair["same_answers"]:
            wrapped(
                f"{pair['first']} and {pair['second']} gave the same answers, word for word: is it "
                "one model?",
                style="yellow",
            )
    single = [f"{e['second']} - {e['first']}" for e in found["recipes"] if max(e["runs"]) == 1]
    if single:
        wrapped(
            f"{', '.join(single)}: 1 training run a side: the interval holds for two models, not for "
            "their recipes; another seed may differ by more"
        )


def _recipes(each: Data) -> None:
    first, second = each["first"], each["second"]
    over = each["interval_over_seeds"]
    render.say()
    style = {"improved": "bold green", "worse": "bold red"}.get(each["verdict"], "bold")
    render.say(f"recipe {second} against recipe {first}: {each['verdict']}", style)
    counts = [_count(n) for n in each["runs"]]
    wrapped(
        f"accuracy {percent(each['means'][0])} ({counts[0]}) and {percent(each['means'][1])} "
        f"({counts[1]}): {points(each['difference'])} points",
        indent="  ",
    )
    if over is None:
        why = "no seed of either side differs from another"
        if min(each["seeds"]) < 2:
            why = "1 training run says nothing of other seeds"
        wrapped(f"over training seeds      none: {why}", indent="  ")
    else:
        wrapped(f"over training seeds      95% interval {_points(over)}", indent="  ")
    if each["expected"] is not None:
        told = each["expected"]
        low, high = (percent(end) for end in told["interval"])
        wrapped(
            f"another seed of {told['recipe']} is expected at {low} to {high} (95%); "
            f"{told['other']} lies {told['lies']}",
            indent="  ",
        )
    wrapped(
        f"within {each['questions']} questions     95% interval "
        f"{_points(each['interval_within_questions'])}, for these very models",
        indent="  ",
    )


def _count(n: int) -> str:
    return "1 training run" if n == 1 else f"{n} training runs"


def _points(interval: Sequence[float]) -> str:
    return f"[{points(interval[0])}, {points(interval[1])}]"


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 1e-3 else f"{value:.0e}" if value >= 1e-4 else "<1e-4"
