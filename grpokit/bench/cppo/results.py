"""The numbers of ``results.json``: those of any bench, and what pruning changes in time and work."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from grpokit.bench.cppo import paper
from grpokit.bench.cppo.settings import Setting
from grpokit.bench.matrix import Matrix
from grpokit.bench.results import results
from grpokit.bench.runs import Finished
from grpokit.evaluate.spread import spread

__all__ = ["cppo_results", "extended", "ratio_of"]


def cppo_results(
    matrix: Matrix, base: Mapping[str, Any], finished: Sequence[Finished]
) -> dict[str, Any]:
    """The content of ``results.json``; the first row is GRPO without skipping, the paper's baseline."""
    settings = [each for each in matrix.contestants if isinstance(each, Setting)]
    return extended(results(matrix, base, finished), settings)


def extended(data: Mapping[str, Any], settings: Sequence[Setting]) -> dict[str, Any]:
    """``data`` with what the rows are, what they forwarded, and their ratios to the first."""
    rows = [
        {**item, **_what(setting)} | _work(item, setting)
        for item, setting in zip(data["algorithms"], settings, strict=True)
    ]
    for row in rows:
        row["ratio"] = {stage: ratio_of(rows[0], row, stage) for stage in ("total", "update")}
        row["paper"] = {
            name: _figure(table, row)
            for name, table in (("gsm8k", paper.GSM8K), ("math", paper.MATH))
        }
    kept = {key: value for key, value in data.items() if key not in ("algorithms", "steps")}
    return {**kept, "source": paper.SOURCE, "algorithms": rows}


def _what(setting: Setting) -> dict[str, Any]:
    return {
        "method": setting.method,
        "rate": setting.rate,
        "allocation": setting.allocation,
        "skipping": setting.skipping,
        "scale": setting.scale,
        "group": setting.group,
        "kept": setting.kept,
        "prompts": setting.prompts,
        "steps": setting.steps,
    }


def _work(item: Mapping[str, Any], setting: Setting) -> dict[str, Any]:
    """Completions that went through the model in the updates of a run, the mean over the seeds.

    Without skipping these are all that stay after pruning. What skipping leaves out as well is what
    ``trained`` does not count: rows without advantage.
    """
    if item["accuracy"] is None:
        return {"forwarded": None}
    if setting.skipping:
        return {"forwarded": item["trained"]}
    return {"forwarded": item["completions"] * setting.kept / setting.group}


def ratio_of(
    first: Mapping[str, Any], other: Mapping[str, Any], stage: str
) -> dict[str, Any] | None:
    """How many times less time ``other`` took: the quotient of the sums over the seeds both have.

    The interval is that of the quotients seed by seed, Student's t of their logarithms. None where no
    seed is in both, and of the first to itself.
    """
    if first is other:
        return None
    known = _seconds(first, stage)
    pairs = [
        (known[seed], seconds)
        for seed, seconds in _seconds(other, stage).items()
        if seed in known and seconds > 0
    ]
    if not pairs:
        return None
    found = spread([math.log(before / after) for before, after in pairs])
    return {
        "values": [before / after for before, after in pairs],
        "mean": fmean(before for before, _ in pairs) / fmean(after for _, after in pairs),
        "interval": found.interval and [math.exp(end) for end in found.interval],
        "n": len(pairs),
    }


def _seconds(item: Mapping[str, Any], stage: str) -> dict[int, float]:
    return {run["seed"]: run["seconds"][stage] for run in item["runs"] if not run["failure"]}


def _figure(
    table: Mapping[tuple[float, bool], paper.Figure], row: Mapping[str, Any]
) -> dict[str, float] | None:
    """The paper's row; it knows neither skipping nor scaling nor other rates."""
    own = row["skipping"] or row["scale"] != 1.0
    found = None if own else table.get((row["rate"], row["allocation"]))
    if found is None:
        return None
    return {"accuracy": found.accuracy, "seconds": found.seconds, "ratio": found.ratio}
