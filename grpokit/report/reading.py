"""A run as the page shows it, as far as it can be read. What cannot is said, and is no error."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

from grpokit.compose.diff import MISSING, leaves
from grpokit.diagnose.rows import StepRow, own_row
from grpokit.diagnose.sources import goal_of
from grpokit.report.listing import Listed, read_run

__all__ = ["RunData", "as_mapping", "differing", "labelled", "read_for_page"]

SMALL = 1 << 24
"""Bytes of a file that is read whole."""
UNTOLD = ("summary", "train.out")
"""Keys that name no run."""
FAILURES = 50
"""Failures that are shown."""


@dataclass(frozen=True, kw_only=True)
class RunData:
    """One run.

    Attributes:
        name: of its folder, without where that is.
        label: how curves call it: beside other runs, what tells it from them.
        rows: its steps in their order, each once; of a step that stands there twice, the later row.
            They have a ``trained_share`` of their completions, too.
        seconds: step -> stage -> seconds.
        evals: evaluations during training, in their order.
        evaluations: name of the folder -> summary.json, in the order of the names.
        goal: the reward that says whether an answer is right, where the recipe tells.
        missing: sentences about what is not there or could not be read.
    """

    name: str
    label: str
    listed: Listed
    rows: tuple[StepRow, ...]
    seconds: Mapping[int, Mapping[str, float]]
    evals: tuple[Mapping[str, Any], ...]
    evaluations: Mapping[str, Mapping[str, Any]]
    plan: Mapping[str, Any]
    resumes: tuple[Mapping[str, Any], ...]
    failures: tuple[Mapping[str, Any], ...]
    goal: str | None
    missing: list[str] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.listed.path

    @cached_property
    def columns(self) -> dict[str, list[float | None]]:
        """Every number of the steps by its name."""
        names = dict.fromkeys(name for row in self.rows for name in row.values)
        return {name: [row.values.get(name) for row in self.rows] for name in names}

    @cached_property
    def ranges(self) -> dict[str, tuple[float, float, int]]:
        """The smallest and the largest value of each number, and in how many steps it is."""
        known = {
            name: [value for value in values if value is not None]
            for name, values in self.columns.items()
        }
        return {name: (min(each), max(each), len(each)) for name, each in known.items()}

    @property
    def threshold(self) -> float:
        """From which score an answer is right."""
        value = as_mapping(self.listed.data.get("eval")).get("threshold")
        return float(value) if isinstance(value, int | float) else 1.0

    @property
    def settings(self) -> dict[str, Any]:
        """Every value of the recipe under its dotted key."""
        return dict(leaves(dict(self.listed.data)))


def as_mapping(value: object) -> Mapping[str, Any]:
    """What a damaged file might hold instead of an object is an empty one."""
    return value if isinstance(value, Mapping) else {}


def read_for_page(path: Path) -> RunData:
    """Everything but the rollouts, which :mod:`grpokit.report.rollouts` reads a step at a time."""
    listed, missing = read_run(path), list[str]()
    raw = _lines(path / "metrics.jsonl", missing, needed="no step is recorded yet")
    rows, seconds = _steps(raw, missing)
    evals = {r["step"]: r for r in _lines(path / "evals.jsonl", missing) if _row(r)}
    if not listed.data:
        missing.append("recipe.yaml is missing or cannot be read")
    name = path.resolve().name
    return RunData(
        name=name,
        label=name,
        listed=listed,
        rows=rows,
        seconds=seconds,
        evals=tuple(evals[step] for step in sorted(evals)),
        evaluations=_evaluations(path / "eval", missing),
        plan=_json(path / "plan.json", missing),
        resumes=tuple(_lines(path / "resumes.jsonl", missing)),
        failures=tuple(_lines(path / "failures.jsonl", missing))[:FAILURES],
        goal=goal_of(path),
        missing=missing,
    )


def differing(runs: Sequence[RunData]) -> dict[str, list[Any]]:
    """Keys of the recipes that are not the same in all runs, with the value of each run."""
    settings = [run.settings for run in runs]
    found = {
        key: [each.get(key, MISSING) for each in settings] for all_ in settings for key in all_
    }
    return {key: values for key, values in found.items() if len(set(map(repr, values))) > 1}


def labelled(runs: Sequence[RunData]) -> list[RunData]:
    """Runs with labels: the one key in which they differ, else names without what they share.

    Runs of the same name in different folders get numbers.
    """
    if len(runs) == 1:
        return list(runs)
    seen = Counter[str]()
    names = []
    for run in runs:
        seen[run.name] += 1
        names.append(f"{run.name} ({seen[run.name]})" if seen[run.name] > 1 else run.name)
    keys = {key: values for key, values in differing(runs).items() if key not in UNTOLD}
    if len(keys) == 1:
        [(key, values)] = keys.items()
        labels = [f"{key.rpartition('.')[2]} {value}" for value in values]
    else:
        first, last = min(names), max(names)  # what these two share, all share
        same = sum(
            1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
        )
        shared = first[: first.rfind("-", 0, same) + 1]
        labels = [name.removeprefix(shared) for name in names]
    if len(set(labels)) < len(labels):
        labels = names
    pairs = zip(runs, names, labels, strict=True)
    return [replace(run, name=name, label=label) for run, name, label in pairs]


def _steps(
    raw: Iterator[dict[str, Any]], missing: list[str]
) -> tuple[tuple[StepRow, ...], dict[int, dict[str, float]]]:
    rows: dict[int, StepRow] = {}
    seconds: dict[int, dict[str, float]] = {}
    bad = 0
    for each in raw:
        row = _row(each)
        if row is None:
            bad += 1
            continue
        rows[row.step] = row
        times = as_mapping(each.get("seconds"))
        seconds[row.step] = {k: float(v) for k, v in times.items() if _is_time(v)}
    if bad:
        missing.append(f"metrics.jsonl: {bad} rows without a step are left out")
    return tuple(rows[step] for step in sorted(rows)), seconds


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value < 1e9


def _row(raw: Mapping[str, Any]) -> StepRow | None:
    try:
        row = own_row(raw)
    except ValueError:
        return None
    if not 0 <= row.step < 1e15:
        return None
    trained, drawn = row.values.get("trained_rows"), row.values.get("completions")
    if trained is None or not drawn:
        return row
    return replace(row, values={**row.values, "trained_share": trained / drawn})


def _lines(path: Path, missing: list[str], needed: str = "") -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines. A last line without an end is being written."""
    bad = 0
    try:
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    row = None
                if isinstance(row, dict):
                    yield row
                else:
                    bad += bool(line.strip())
    except OSError as error:
        if needed or not isinstance(error, FileNotFoundError):
            missing.append(f"{path.name}: {needed or error.strerror}")
    if bad:
        missing.append(f"{path.name}: {bad} damaged lines are left out")


def _json(path: Path, missing: list[str]) -> Mapping[str, Any]:
    try:
        data = json.loads(path.read_bytes()) if path.stat().st_size < SMALL else None
    except (OSError, ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        missing.append(f"{path.name} is missing or cannot be read")
        return {}
    return data


def _evaluations(folder: Path, missing: list[str]) -> dict[str, Mapping[str, Any]]:
    found = {}
    for path in sorted(folder.glob("**/summary.json")):
        notes: list[str] = []
        data = _json(path, notes)
        name = str(path.parent.relative_to(folder))
        if data:
            found[name if name != "." else "eval"] = data
        missing.extend(f"eval/{name}: {note}" for note in notes)
    return found
