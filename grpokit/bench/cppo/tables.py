"""Results as tables: rows of text for a terminal of 80 columns, and two tables in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from grpokit.bench.cppo import paper
from grpokit.bench.tables import percent

__all__ = [
    "ACCURACY",
    "FASTER",
    "PAPER",
    "STAGES",
    "WORK",
    "accuracy_rows",
    "faster_rows",
    "legend",
    "markdown",
    "paper_rows",
    "stage_rows",
    "work_rows",
]

Row = tuple[str, ...]
STAGE_NAMES = ("generate", "score", "update", "other", "total")
PAPER = ("method", ">k", ">correct", ">faster", ">paper: GSM8K", ">MATH-500")
ACCURACY = ("method", ">correct", ">interval", ">vs GRPO, points", "verdict")
FASTER = ("method", ">whole step", ">95% interval", ">update alone", ">95% interval ")
"""No two columns may have one name."""
WORK = ("method", ">questions", ">steps", ">updates", ">forwarded", ">of GRPO's")
STAGES = ("method", *(f">{name}" for name in STAGE_NAMES))


def paper_rows(data: Mapping[str, Any]) -> list[Row]:
    """The columns of the paper's tables 1 and 5: per cent correct, and times faster than GRPO."""
    there = [_there(paper.BASE_GSM8K), _there(paper.BASE_MATH)]
    rows: list[Row] = [("(before)", "", percent(data["base"]["accuracy"]), "", *there)]
    for item in data["algorithms"]:
        here = ("failed", "")
        if item["accuracy"] is not None:
            here = (percent(item["accuracy"]["mean"]), _times(item["ratio"]["total"]))
        figures = [item["paper"][name] for name in ("gsm8k", "math")]
        there = [_there(each["accuracy"], each["ratio"]) if each else "" for each in figures]
        rows.append((item["label"], str(item["kept"]), *here, *there))
    return rows


def faster_rows(data: Mapping[str, Any]) -> list[Row]:
    """GRPO's time over each row's, with intervals over the seeds."""
    rows: list[Row] = []
    for item in _done(data):
        if item is data["algorithms"][0]:
            continue
        cells: list[str] = []
        for stage in ("total", "update"):
            ratio = item["ratio"][stage]
            interval = ratio and ratio["interval"]
            cells += [_times(ratio), "{:.2f}-{:.2f}".format(*interval) if interval else ""]
        rows.append((item["label"], *cells))
    return rows


def accuracy_rows(data: Mapping[str, Any]) -> list[Row]:
    """Who learnt it, with intervals; before training comes first."""
    base = data["base"]
    rows: list[Row] = [("(before)", percent(base["accuracy"]), _range(base["interval"]), "", "")]
    for item in data["algorithms"]:
        if item["accuracy"] is None:
            rows.append((item["label"], "failed", "", "", ""))
            continue
        interval, gap = item["accuracy"]["interval"], item["difference"]
        rows.append(
            (
                item["label"],
                percent(item["accuracy"]["mean"]),
                _range(interval) if interval else "one seed",
                _points(gap),
                gap["verdict"] if gap else "",
            )
        )
    return rows


def work_rows(data: Mapping[str, Any]) -> list[Row]:
    """Equal questions, fewer steps, fewer completions through the model."""
    first = data["algorithms"][0]["forwarded"]
    return [
        (
            item["label"],
            f"{item['questions']:.0f}",
            str(item["steps"]),
            f"{item['optimizer_steps']:.0f}",
            f"{item['forwarded']:.0f}",
            percent(item["forwarded"] / first) if first else "",
        )
        for item in _done(data)
    ]


def stage_rows(data: Mapping[str, Any]) -> list[Row]:
    """Seconds a run, the mean over the seeds."""
    return [
        (item["label"], *(f"{item['seconds'][name]:.1f}" for name in STAGE_NAMES))
        for item in _done(data)
    ]


def legend(data: Mapping[str, Any]) -> list[str]:
    """What the tables mean, and what they do not say."""
    first, seeds = data["algorithms"][0], len(data["seeds"])
    shares = (
        f"P: share of the {first['group']} completions that is pruned; k: those that stay. alloc: "
        "freed places go to further questions. skip: completions that move no weight are not "
        "computed, nor twice what they share; the other rows compute all, as in the paper."
    )
    if any(item["scale"] != 1.0 for item in data["algorithms"]):
        shares += (
            " lr: the learning rate times sqrt(1 / (1 - P)), because a step takes 1 / (1 - P) times "
            "more questions; the other rows have the recipe's, as in the paper."
        )
    times = (
        f"{data['questions']} held-out questions, {seeds} seed{'s' if seeds > 1 else ''}. Times are "
        "of training, without loading and evaluating; a ratio is GRPO's time over the row's."
    )
    source = (
        f"The paper's figures ({data['source']}): one run each, other models and tasks, on GPUs."
    )
    lines = [shares, times, source]
    if seeds < 2:
        return [*lines, "One seed tells nothing about another one: ask for --seeds 3 or more."]
    lines.append(
        "Intervals are Student's t over the seeds; that of (before) is Wilson's. The verdict on the "
        "difference to GRPO, paired by seed, is `unclear` where its 95% interval contains 0."
    )
    compared = len(_done(data)) - 1
    if compared > 1:
        lines.append(
            f"Each verdict stands for itself. Of {compared} equal methods at least one would seem "
            f"better or worse in up to {percent(1 - 0.95**compared, 0)} of all such comparisons."
        )
    return lines


def markdown(data: Mapping[str, Any]) -> str:
    """The paper's columns, and the time by stage, for a page."""
    heads = [
        *("method", "P", "k", "correct (95% interval)", "minus GRPO, points", "verdict"),
        *("s a run", "times faster", "update, times faster", "paper: GSM8K", "paper: MATH-500"),
    ]
    base = data["base"]
    before = f"{percent(base['accuracy'])} ({_long(base['interval'])})"
    rows: list[Row] = [("*(before)*", "", "", before, *[""] * (len(heads) - 4))]
    rows += [_markdown_row(item, len(heads)) for item in data["algorithms"]]
    second = ["method", "P", *(name.removeprefix(">") for name in (*WORK[1:], *STAGES[1:]))]
    work = [
        (*_head(item), *one[1:], *two[1:])
        for item, one, two in zip(_done(data), work_rows(data), stage_rows(data), strict=True)
    ]
    return f"{_grid(heads, rows)}\nWork and seconds of a run:\n\n{_grid(second, work)}"


def _markdown_row(item: Mapping[str, Any], width: int) -> Row:
    head = (*_head(item), str(item["kept"]))
    if item["accuracy"] is None:
        return (*head, "failed", *[""] * (width - 4))
    accuracy, gap = item["accuracy"], item["difference"]
    interval = _long(accuracy["interval"]) if accuracy["interval"] else "one seed"
    failed = f", {item['failed']} failed" if item["failed"] else ""
    figures = [item["paper"][name] for name in ("gsm8k", "math")]
    there = [
        f"{100 * each['accuracy']:.2f}%, {each['ratio']:.2f}x" if each else "" for each in figures
    ]
    return (
        *head,
        f"{percent(accuracy['mean'])} ({interval}{failed})",
        _points(gap),
        gap["verdict"] if gap else "",
        f"{item['seconds']['total']:.1f}",
        *(_ratio(item["ratio"][stage]) for stage in ("total", "update")),
        *there,
    )


def _grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (heads, rule, *rows))


def _done(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [item for item in data["algorithms"] if item["accuracy"] is not None]


def _head(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["method"], f"{item['rate']:g}"


def _times(ratio: Mapping[str, Any] | None) -> str:
    return f"{ratio['mean']:.2f}x" if ratio else ""


def _ratio(ratio: Mapping[str, Any] | None) -> str:
    """With the interval over the seeds."""
    if ratio is None or not ratio["interval"]:
        return _times(ratio)
    low, high = ratio["interval"]
    return f"{_times(ratio)} ({low:.2f} to {high:.2f})"


def _there(accuracy: float, ratio: float | None = None) -> str:
    """A cell of the paper's: digits under digits, whether it has a ratio or not."""
    return f"{100 * accuracy:.2f} {f'{ratio:.2f}x' if ratio else '':5}".ljust(11)


def _range(interval: Sequence[float]) -> str:
    low, high = interval
    return f"{100 * low:.1f}-{100 * high:.1f}"


def _long(interval: Sequence[float]) -> str:
    low, high = interval
    return f"{100 * low:.1f} to {100 * high:.1f}"


def _points(gap: Mapping[str, Any] | None) -> str:
    if gap is None:
        return ""
    mean = f"{100 * gap['mean']:+.1f}"
    if gap["interval"] is None:
        return mean
    low, high = gap["interval"]
    return f"{mean} ({100 * low:+.1f} to {100 * high:+.1f})"
