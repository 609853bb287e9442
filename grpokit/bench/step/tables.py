"""Results -> tables: a small one a cell for the terminal, and a Markdown page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["COLUMNS", "cell_title", "facts_of", "legend", "markdown", "memory", "rows", "verdicts"]

COLUMNS = (
    "contestant",
    ">generate",
    ">update",
    ">step",
    ">tokens/s",
    ">GiB",
    ">floor",
    ">grad",
)
"""Narrow enough for a terminal of 80 columns; :func:`legend` says what they mean."""
NONE = "-"


def cell_title(cell: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """``float32, prompt 330, 16 x 64 tokens, all train``."""
    prompts = data["settings"]["prompts"]
    several = (
        f"{prompts} prompts of {cell['prompt']}" if prompts > 1 else f"prompt {cell['prompt']}"
    )
    kept = "all train" if cell["kept"] == cell["group"] else f"{cell['kept']} train"
    return f"{cell['dtype']}, {several}, {cell['group']} x {cell['completion']} tokens, {kept}"


def rows(cell: Mapping[str, Any]) -> list[list[str]]:
    """A row a contestant: seconds, tokens, memory."""
    return [
        [each["label"], *(["failed"] + [""] * 6 if each["failure"] else _row(each))]
        for each in cell["contestants"]
    ]


def _row(each: Mapping[str, Any]) -> list[str]:
    return [
        digits(each["generate"]),
        digits(each["update"]),
        digits(each["step"]),
        f"{each['tokens_per_second']:.0f}",
        NONE if each["memory"] is None else f"{each['memory'] / 2**30:.2f}",
        *_quality(each),
    ]


def _quality(each: Mapping[str, Any]) -> list[str]:
    """How near to its products alone, and to the reference's gradient."""
    gap = each["gradient_difference"]
    return [
        NONE if each["floor_ratio"] is None else f"{each['floor_ratio']:.1f}x",
        "base" if each["base"] else NONE if gap is None else f"{gap:.0e}",
    ]


def verdicts(cell: Mapping[str, Any]) -> list[str]:
    """``grpokit against TRL 1.14.2: step 6.3x, update 8.1x faster; 41% of the memory``."""
    lines = []
    for each in cell["contestants"]:
        if each["failure"] or not each["own"]:
            continue
        for other, found in each["ratios"].items():
            lines.append(f"{each['label']} against {other}: {_words(found)}")
    return [line for line in lines if not line.startswith("plain against")]


def _words(found: Mapping[str, float | None]) -> str:
    speeds = [
        f"{name} {times(found[name])}" for name in ("step", "update") if found[name] is not None
    ]
    memory = found["memory"]
    said = ", ".join(speeds) + " as fast"
    return said if not memory else f"{said}; {100 / memory:.0f}% of the memory"


def times(value: float | None) -> str:
    """``6.3x``."""
    if value is None:
        return NONE
    return f"{value:.2f}x" if value < 0.995 else f"{value:.1f}x"


def digits(value: float) -> str:
    """Three digits are what a wall time is worth."""
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def seconds(value: float) -> str:
    return f"{digits(value)} s"


def size(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value / 2**30:.2f} GiB" if value >= 2**30 else f"{value / 2**20:.0f} MiB"


def facts_of(data: Mapping[str, Any]) -> dict[str, list[str]]:
    """Package -> its versions among the contestants."""
    found: dict[str, list[str]] = {}
    for cell in data["cells"]:
        for each in cell["contestants"]:
            for name, version in each["versions"].items():
                if version not in found.setdefault(name, []):
                    found[name].append(version)
    return found


def legend(data: Mapping[str, Any]) -> list[str]:
    """What the tables mean."""
    rounds = data["settings"]["rounds"]
    where = {e["memory_of"] for c in data["cells"] for e in c["contestants"] if not e["failure"]}
    steps = (
        f"Seconds: median of {rounds} step{'s' if rounds > 1 else ''} after one to warm up. "
        f"GiB: peak memory of the {' or '.join(sorted(where)) or 'process'}."
    )
    columns = (
        "floor: forward and backward over their matrix products alone. grad: relative distance "
        f"of the first step's gradient from that of {_base(data)}."
    )
    failed = [
        f"{each['label']} ({cell['dtype']}, prompt {cell['prompt']}): {each['failure']}"
        for cell in data["cells"]
        for each in cell["contestants"]
        if each["failure"]
    ]
    return [steps, columns, *_gpus(data), *failed]


def _gpus(data: Mapping[str, Any]) -> list[str]:
    found = {
        each["facts"]["gpu"]
        for cell in data["cells"]
        for each in cell["contestants"]
        if not each["failure"] and "gpu" in each["facts"]
    }
    return [f"GPU: {', '.join(sorted(found))}."] if found else []


def _base(data: Mapping[str, Any]) -> str:
    names = {cell["compared_with"] for cell in data["cells"]} - {None}
    return " or ".join(sorted(names)) or "nobody"


def markdown(data: Mapping[str, Any]) -> str:
    """All cells in one table, with the stages and the ranges."""
    heads = [
        "cell",
        "contestant",
        "generate",
        "forward",
        "backward",
        "optimiser",
        "other",
        "step (range)",
        "tokens/s",
        "peak memory",
        "floor",
        "grad",
        "grpokit: step, update",
    ]
    lines = [heads, ["---", "---", *["---:"] * (len(heads) - 2)]]
    for cell in data["cells"]:
        title = cell_title(cell, data)
        for number, each in enumerate(cell["contestants"]):
            lines.append([title if number == 0 else "", *_markdown_row(each, cell, len(heads))])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _markdown_row(each: Mapping[str, Any], cell: Mapping[str, Any], width: int) -> list[str]:
    label = f"`{each['label']}`"
    if each["failure"]:
        return [label, "failed", *[""] * (width - 3)]
    spent = {name: found["median"] for name, found in each["seconds"].items()}
    low, high = each["step_range"]
    rest = spent["other"] + spent["score"] + spent["sync"]
    split = [seconds(spent["forward"]), seconds(spent["backward"]), seconds(spent["optimizer"])]
    if spent["update"]:
        split = [f"{seconds(each['update'])} together", "", ""]
    return [
        label,
        seconds(spent["generate"]),
        *split,
        seconds(rest),
        f"**{seconds(each['step'])}** ({seconds(low)} to {seconds(high)})",
        f"{each['tokens_per_second']:.0f}",
        size(each["memory"]),
        *_quality(each),
        _against(each, cell["contestants"]),
    ]


def memory(data: Mapping[str, Any]) -> str:
    """The plan's estimate beside what was measured, as a Markdown table; empty where neither is known.

    On a CPU the process with its libraries is in what was measured and not in the plan; what was
    loaded before the first step holds it, and the weights.
    """
    heads = [
        "cell",
        "contestant",
        "loaded",
        "plan: peak of the model and its work",
        "measured peak",
    ]
    lines = [heads, ["---", "---", "---:", "---:", "---:"]]
    for cell in data["cells"]:
        planned = cell["planned_memory"]
        ours = [e for e in cell["contestants"] if e["name"] == "grpokit" and not e["failure"]]
        for each in ours if planned else ():
            cells = [size(each["memory_loaded"]), size(planned["peak"]), size(each["memory"])]
            lines.append([cell_title(cell, data), f"`{each['label']}`", *cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) if len(lines) > 2 else ""


def _against(each: Mapping[str, Any], all_: Sequence[Mapping[str, Any]]) -> str:
    """How many times faster grpokit is than this one."""
    ours = next((one for one in all_ if one["name"] == "grpokit" and not one["failure"]), None)
    if ours is None or ours is each:
        return ""
    found = ours["ratios"][each["label"]]
    return f"{times(found['step'])}, {times(found['update'])}"
