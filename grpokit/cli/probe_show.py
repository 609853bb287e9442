"""A probe for people: pictures and tables of 80 columns, the verdict last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grpokit.cli import render
from grpokit.cli.charts import duration
from grpokit.cli.eval_measures import percent
from grpokit.cli.page import facts, head, wrapped

__all__ = ["show_pass_rates", "show_probe"]

BAR = 40
STYLES = {"will learn": "bold green", "may learn slowly": "yellow", "will not learn": "bold red"}

Data = Mapping[str, Any]


def show_probe(data: Data) -> None:
    """Everything, section by section."""
    first, passing = data["steps"], data["passing"]
    wrapped(
        f"probe of {data['recipe']}: {data['questions']} questions of the first {first} steps, "
        f"{data['samples']} completions of each; passed means {passing['reward']} >= "
        f"{passing['threshold']:g}",
    )
    show_pass_rates(data["solved"], "questions")
    _scores(data)
    _dead(data)
    _completions(data)
    _suggested(data)
    _time(data["time"])
    _verdict(data["verdict"])


def show_pass_rates(solved: Data, noun: str) -> None:
    """A bar for each tenth, the mean, and the two ends."""
    head(f"pass rate of {noun}")
    if not solved["known"]:
        render.say("  no completion could be marked")
        return
    bins, known = solved["histogram"], solved["known"]
    most = max(bins)
    for place, count in enumerate(bins):
        bar = "█" * round(BAR * count / most) if count else ""
        render.say(f"  {10 * place:3}-{10 * (place + 1):3}%  {count:4}  {bar}".rstrip())
    facts(
        [
            ("mean", f"{percent(solved['mean'])}, 95% interval {_within(solved['interval'])}"),
            ("never", f"{solved['never']} of {known} {noun} were never passed"),
            ("always", f"{solved['always']} of {known} were passed every time"),
        ],
        width=7,
    )


def _scores(data: Data) -> None:
    head("scores")
    moved = bool(data["rehearsed"])
    columns = ["reward", ">weight", ">mean", ">lowest", ">highest", ">no score"]
    if moved:
        columns.insert(3, f">after {data['rehearsed']} steps")
    rows = []
    for name, each in {**data["scores"], "total": data["total"]}.items():
        weight = each.get("weight")
        row = [name, "" if weight is None else f"{weight:g}", _number(each["mean"])]
        if moved:
            row.append(_number(each.get("later")))
        rows.append([*row, _number(each["low"]), _number(each["high"]), percent(each["abstained"])])
    render.table(columns, rows)


def _dead(data: Data) -> None:
    """The forecast: a row a group size."""
    moved = data["rehearsed"]
    head(f"share of dead groups, mean of the first {data['steps']} steps")
    columns = [">group", ">dead", ">95% interval", ">now"]
    columns += [f">after {moved}"] if moved else []
    columns += [">now all passed", ">now all failed"]
    rows, bounded = [], False
    for size, each in data["dead"].items():
        mark = " *" if int(size) == data["group"] else ""
        if each["share"] is None:
            low, high = each["bounds"]
            bounded = True
            found = [f"{percent(low)}-{percent(high)}", _within(each["interval"])]
            rows.append([size, *found, *([""] * (len(columns) - 3))])
            continue
        row = [f"{size}{mark}", percent(each["share"]), _within(each["interval"])]
        row += [percent(each["now"])] + ([percent(each["later"])] if moved else [])
        rows.append([*row, percent(each["now_passed"]), percent(each["now_failed"])])
    render.table(columns, rows)
    wrapped("* the recipe's rollout.group", indent="  ")
    if bounded:
        wrapped(
            f"Groups larger than the {data['samples']} samples have bounds, no estimate; more --samples "
            "measure them.",
            indent="  ",
        )
    if not moved:
        wrapped(
            "No step was rehearsed: the interval is right for a policy that stands still.",
            indent="  ",
        )
    _algorithm(data)


def _algorithm(data: Data) -> None:
    differs, rounds = data["algorithm_differs"], data["rounds"]
    if differs["groups"]:
        wrapped(
            f"The algorithm calls other groups dead in {differs['groups']} of {differs['compared']} that were "
            "compared; these shares are of groups with equal totals.",
            indent="  ",
            style="yellow",
        )
    if rounds is not None:
        wrapped(
            f"Before filtering: the algorithm asks further questions, {rounds['mean']:.1f} rounds a step; "
            f"{percent(rounds['over'])} of the steps reach the bound of {rounds['most']}.",
            indent="  ",
        )


def _completions(data: Data) -> None:
    head("completions")
    gold = data["gold_in_text"]
    rows = [
        ("truncated", percent(data["truncated"])),
        ("repeated", f"{percent(data['duplicates'])} say the same as another of their question"),
    ]
    if gold is not None:
        rows.append(("gold inside", f"{percent(gold)} hold the gold answer somewhere"))
    facts(rows)


def _suggested(data: Data) -> None:
    head("suggested")
    group, band = data["suggested"]["group"], data["suggested"]["band"]
    rows = []
    if group is not None:
        why = (
            f"{group['size']}: the smallest with 80% of the most signal a completion, "
            f"(1 - dead) (1 - 1/group) = {group['signal']:.2f} of {group['best']:.2f}"
        )
        rows.append(("rollout.group", why))
    if band["keeps"] is not None:
        rows.append(
            (
                "pass rates",
                f"{band['low']:g} to {band['high']:g}, where half of the groups are live; keeps "
                f"{percent(band['keeps'])} {_within(band['interval'])} of the rows"
                + (f", about {round(band['keeps'] * data['rows']):,}" if data["rows"] else ""),
            )
        )
    facts(rows)


def _time(time: Data) -> None:
    head("time")
    speed = time["tokens_a_second"]
    rows = [] if speed is None else [("drawing", f"{speed:,.0f} tokens a second")]
    run = duration(time["run"])
    if time["whole"]:
        rows.append(("run", f"about {run}, {time['step']:.1f} s a step"))
    else:
        rows.append(("run", f"{run} or more: that is drawing and scoring alone"))
    facts(rows)


def _verdict(verdict: Data) -> None:
    head("verdict")
    render.say(f"  {verdict['verdict']}", STYLES[verdict["verdict"]])
    for reason in verdict["reasons"]:
        wrapped(f"- {reason['fact']}", indent="  ")
        wrapped(f"-> {reason['remedy']}", indent="     ")


def _within(interval: tuple[float, float]) -> str:
    low, high = interval
    return f"[{percent(low)}, {percent(high)}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
