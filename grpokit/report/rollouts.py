"""Saved rollouts on their way into the page, a step at a time: packed for the browser, and counted.

A chunk is some thousand completions, twice compressed JSON: numbers in columns, which the page reads
when it opens, and texts, which it reads when it shows or searches them. So a long run opens quickly.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from grpokit.diagnose.rollouts import measure
from grpokit.report.points import finite
from grpokit.report.reading import RunData

__all__ = ["QUADRANTS", "Rollouts", "format_reward", "pack"]

ROWS, CHARACTERS = 2000, 400_000
"""Of a chunk, about."""
LEVEL = 4
"""Of compression: nearly twice as fast as the usual 6, and the page is a fifth larger."""
TEXT = 100_000
"""Characters of one completion, or of one prompt, that the page keeps."""
QUADRANTS = (
    "right and formatted",
    "right, not formatted",
    "wrong but formatted",
    "wrong, not formatted",
)
_STEP = re.compile(rb'\{"step": ?(\d{1,12})[,}]')

Shown = Callable[[int, int], None]
"""(bytes read, of how many)."""


@dataclass(kw_only=True)
class Rollouts:
    """What was found on the way.

    Attributes:
        completions, packed: how many there are, and how many the page holds.
        every: one of so many steps is in the page.
        measured: step -> what the diagnoses want to know of the rollouts.
        quadrants: step -> completions by answer and format, as in QUADRANTS.
        cut: texts of which the page holds the beginning.
        damaged: lines that are no saved group.
    """

    completions: int = 0
    packed: int = 0
    every: int = 1
    measured: dict[int, dict[str, float]] = field(default_factory=dict)
    quadrants: dict[int, list[int]] = field(default_factory=dict)
    cut: int = 0
    damaged: int = 0
    names: list[str] = field(default_factory=list)


def format_reward(run: RunData) -> str | None:
    """The reward for the format beside the one for the answer, where the recipe has both."""
    listed = run.listed.data.get("rewards")
    for each in listed if isinstance(listed, list) else ():
        if not isinstance(each, dict) or not isinstance(each.get("use"), str):
            continue
        used = each["use"].rpartition("/")[2]
        name = str(each.get("name") or used)
        if name != run.goal and run.goal is not None and "format" in f"{used} {name}".lower():
            return name
    return None


def pack(run: RunData, place: int, out: IO[bytes], *, limit: int, shown: Shown) -> Rollouts:
    """Writes the chunks of one run, the ``place``-th of the page, and says what was in it."""
    path, found = run.path / "rollouts.jsonl", Rollouts()
    try:
        with path.open("rb"):
            size = path.stat().st_size
    except FileNotFoundError:
        run.missing.append("rollouts.jsonl: no completions were saved")
        return found
    except OSError as error:
        run.missing.append(f"rollouts.jsonl: {error.strerror or error}")
        return found
    starts, count = _survey(path)
    found.every = math.ceil(len(starts) / max(1, min(limit, count) * len(starts) // max(count, 1)))
    chosen = set(sorted(starts)[:: found.every or 1]) if limit else set[int]()
    chunk = _Chunk(out, place, found)
    for step, groups, done in _steps(path, starts, found):
        _count(run, step, groups, found)
        if step in chosen:
            chunk.add(step, groups)
        shown(done, size)
    chunk.flush()
    _tell(run, found)
    return found


def _tell(run: RunData, found: Rollouts) -> None:
    if found.damaged:
        run.missing.append(f"rollouts.jsonl: {found.damaged} damaged lines are left out")
    if found.completions and not found.packed:
        run.missing.append(
            f"rollouts.jsonl: {found.completions:,} completions are counted, and none is in this page"
        )
    elif found.every > 1:
        run.missing.append(
            f"rollouts.jsonl: {found.packed:,} of {found.completions:,} completions are in this "
            f"page: those of one step in {found.every}"
        )
    if found.cut:
        run.missing.append(f"{found.cut} texts end after {TEXT:,} characters in this page")


def _lines(path: Path) -> Iterator[tuple[int, int | None, bytes]]:
    """(where the stretch of the line's step begins, step, line); no step where it is no saved group.

    A last line without its end is being written.
    """
    begin = place = 0
    last: int | None = None
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            whole = line.endswith(b"]}\n")  # the completions come last
            match = _STEP.match(line) if whole else None
            step = int(match[1]) if match else None
            if step is not None and step != last:
                begin, last = place, step
            place += len(line)
            yield begin, step, line


def _survey(path: Path) -> tuple[dict[int, int], int]:
    """Where the last stretch of each step begins, and how many completions there are."""
    starts: dict[int, int] = {}
    count = 0
    for begin, step, line in _lines(path):
        if step is not None:
            starts[step] = begin
            count += line.count(b'"advantage":')  # in a text its quotes would be escaped
    return starts, count


def _steps(
    path: Path, starts: Mapping[int, int], found: Rollouts
) -> Iterator[tuple[int, list[dict[str, Any]], int]]:
    """Each step once with its groups, and how far the file was read."""
    groups: list[dict[str, Any]] = []
    current, done = None, 0
    for begin, step, line in _lines(path):
        done += len(line)
        if step is None:
            found.damaged += bool(line.strip())
            continue
        if starts.get(step) != begin:
            continue  # the step was taken again further down
        group = _group(line)
        if group is None:
            found.damaged += 1
            continue
        if current is not None and step != current:
            yield current, groups, done
            groups = []
        current = step
        groups.append(group)
    if current is not None:
        yield current, groups, done


def _group(line: bytes) -> dict[str, Any] | None:
    """A saved group with values of the right kinds; None where it is none."""
    try:
        raw = json.loads(line)
        prompt = raw["prompt"]
        messages = [(str(m["role"]), str(m["content"])) for m in prompt["messages"]]
        return {
            "step": int(raw["step"]),
            "prompt": {
                "id": str(prompt["id"]),
                "index": int(prompt["index"]),
                "messages": messages,
                "answer": prompt.get("answer"),
            },
            "dropped": bool(raw.get("dropped")),
            "completions": [_completion(each) for each in raw["completions"]],
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None


def _completion(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "sample": int(raw["sample"]),
        "text": str(raw["text"]),
        "tokens": int(raw["tokens"]),
        "finish": str(raw["finish"]),
        "rewards": {str(name): _number(value) for name, value in raw["rewards"].items()},
        "total": _number(raw["total"]),
        "advantage": _number(raw["advantage"]),
        "kept": bool(raw["kept"]),
        "errors": {str(name): str(text) for name, text in raw.get("errors", {}).items()},
    }


def _number(value: object) -> float | None:
    """Six digits of it."""
    known = finite(value)
    return None if known is None else float(f"{known:.6g}")


def _count(run: RunData, step: int, groups: list[dict[str, Any]], found: Rollouts) -> None:
    found.completions += sum(len(group["completions"]) for group in groups)
    found.measured[step] = measure(groups)
    wanted, threshold = format_reward(run), run.threshold
    if wanted is None:
        return
    counts = [0, 0, 0, 0]
    for group in groups:
        for one in group["completions"]:
            answer, form = one["rewards"].get(run.goal), one["rewards"].get(wanted)
            if answer is not None and form is not None:
                counts[2 * (answer < threshold) + (form < 1.0)] += 1
    if any(counts):
        found.quadrants[step] = counts


class _Chunk:
    """Completions until there are enough for two blocks of the page."""

    def __init__(self, out: IO[bytes], place: int, found: Rollouts) -> None:
        self.out, self.place, self.found = out, place, found
        self.prompts: dict[str, int] = {}
        self._begin()

    def _begin(self) -> None:
        self.columns: dict[str, list[Any]] = {key: [] for key in "spgtflakdx"}
        self.rewards: dict[str, list[float | None]] = {}
        self.texts: list[str] = []
        self.errors: dict[int, dict[str, str]] = {}
        self.asked: list[list[Any]] = []
        self.told: list[list[Any]] = []
        self.characters = 0

    def add(self, step: int, groups: list[dict[str, Any]]) -> None:
        for group in groups:
            number = self._prompt(group["prompt"])
            for one in group["completions"]:
                self._row(step, number, one, dropped=group["dropped"])
            if len(self.texts) >= ROWS or self.characters >= CHARACTERS:
                self.flush()

    def _prompt(self, prompt: Mapping[str, Any]) -> int:
        """Its number; its words go into the chunk in which it comes first."""
        key = prompt["id"]
        if key not in self.prompts:
            self.prompts[key] = len(self.prompts)
            messages = [[role, self._text(content)] for role, content in prompt["messages"]]
            answer = prompt["answer"]
            self.asked.append([key, prompt["index"]])
            self.told.append([messages, None if answer is None else self._text(str(answer))])
        return self.prompts[key]

    def _row(self, step: int, number: int, one: Mapping[str, Any], *, dropped: bool) -> None:
        place = len(self.texts)
        values = (step, number, one["sample"], one["tokens"], one["finish"] == "length")
        marks = (one["total"], one["advantage"], one["kept"], dropped, bool(one["errors"]))
        for key, value in zip("spgtflakdx", (*values, *marks), strict=True):
            self.columns[key].append(int(value) if isinstance(value, bool) else value)
        for name in one["rewards"]:
            if name not in self.found.names:
                self.found.names.append(name)
            self.rewards.setdefault(name, [None] * place)
        for name, known in self.rewards.items():
            known.append(one["rewards"].get(name))
        if one["errors"]:
            self.errors[place] = one["errors"]
        self.texts.append(self._text(one["text"]))

    def _text(self, text: str) -> str:
        self.found.cut += len(text) > TEXT
        self.characters += min(len(text), TEXT)
        return text[:TEXT]

    def flush(self) -> None:
        if not self.texts:
            return
        self.found.packed += len(self.texts)
        columns = {**self.columns, "rewards": self.rewards, "prompts": self.asked}
        texts = {"texts": self.texts, "prompts": self.told, "errors": self.errors}
        for kind, data in (("columns", columns), ("texts", texts)):
            head = (
                f'<script type="application/octet-stream" class="{kind}" data-run="{self.place}">'
            )
            self.out.write(head.encode() + base64.b64encode(_compressed(data)) + b"</script>\n")
        self._begin()


def _compressed(data: Mapping[str, Any]) -> bytes:
    try:
        raw = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # a lone surrogate, which only an escape can hold
        raw = json.dumps(data, separators=(",", ":")).encode()
    return gzip.compress(raw, LEVEL, mtime=0)
