"""``grpokit doctor RUN``: what is going wrong in a run, with numbers, samples and remedies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from grpokit.cli import render
from grpokit.cli.page import facts, head, wrapped
from grpokit.diagnose.diagnosis import Diagnosis, Finding
from grpokit.diagnose.report import Key, as_data
from grpokit.diagnose.rollouts import Sample, measure, samples
from grpokit.diagnose.sources import Source, find_source
from grpokit.rescore.saved import read_steps

__all__ = ["doctor_run", "show_finding"]

Found = Sequence[tuple[Finding, Sequence[Sample]]]

NEEDED = 30
"""Rows from which windows can speak."""
TEXT = 240
"""Characters of a completion that are shown."""
LARGE = 64 << 20
"""Bytes of rollouts from which reading takes long enough to say how far it is."""
TRIED = 50
"""Steps that are read again for samples; a finding is of two windows, so some show it in fewer."""
STYLES = {"stop": "bold red", "warn": "yellow", "note": "dim"}


def doctor_run(path: Path, *, as_json: bool) -> bool:
    """Prints what is found; whether nothing of it is a reason to stop."""
    source = find_source(path)
    diagnosis, shown = _diagnose(source)
    findings = diagnosis.findings()
    if as_json:
        render.print_json(as_data(diagnosis, source.path, source.kind, shown))
    else:
        _show(source, [(each, shown.get((each.name, each.subject), [])) for each in findings])
    return all(finding.severity != "stop" for finding in findings)


def _diagnose(source: Source) -> tuple[Diagnosis, dict[Key, list[Sample]]]:
    """What is found, with samples of the last step in which some show it. Notes need none.

    A step's completions are in memory at a time; for samples those steps are read again that the
    findings are of, from the last one back.
    """
    diagnosis = Diagnosis(source.goal)
    saved = None if source.rollouts is None else _Saved(source.rollouts)
    for row in source.rows:
        more = {} if saved is None or row.is_evaluation else saved.measured(row.step)
        diagnosis.add(replace(row, values={**row.values, **more}))
    if saved is None:
        return diagnosis, {}
    graver = [each for each in diagnosis.findings() if each.severity != "note"]
    return diagnosis, {(each.name, each.subject): saved.samples(each) for each in graver}


class _Saved:
    """``rollouts.jsonl``, read alongside the rows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = path.stat().st_size
        self._told = 0
        self._begins: dict[int, int] = {}
        self._steps = read_steps(path)
        self._next = next(self._steps, None)
        self._at = 0

    def measured(self, step: int) -> dict[str, float]:
        """What the step's completions say; nothing where they were not saved."""
        while self._next is not None and self._next.step < step:
            self._advance()
        if self._next is None or self._next.step > step:
            return {}
        self._begins[step] = self._at
        found = measure(self._next.groups)
        self._advance()
        return found

    def _advance(self) -> None:
        assert self._next is not None
        self._at = self._next.end
        self._next = next(self._steps, None)
        tenth = 10 * self._at // max(self._size, 1)
        if self._size >= LARGE and tenth > self._told:
            self._told = tenth
            render.warn(f"{self._path.name}: {tenth}0% of {self._size >> 20} MiB read", "dim")

    def samples(self, finding: Finding) -> list[Sample]:
        """Those of the last step of the finding in which some show it."""
        wanted = [step for step in self._begins if finding.first <= step <= finding.last]
        for step in sorted(wanted)[: -TRIED - 1 : -1]:
            saved = next(read_steps(self._path, self._begins[step]))
            if shown := samples(finding.name, saved.groups):
                return shown
        return []


def _show(source: Source, found: Found) -> None:
    rows = [row for row in source.rows if not row.is_evaluation]
    rewards = [row.values["reward"] for row in rows if "reward" in row.values]
    reward = f", reward {rewards[0]:.3f} to {rewards[-1]:.3f}" if rewards else ""
    wrapped(f"{source.path}: {len(rows)} rows to step {rows[-1].step}{reward}", style="bold")
    if len(rows) < NEEDED:
        wrapped(f"Most findings need {NEEDED} rows, so little can be said yet.")
    for finding, shown in found:
        show_finding(finding, shown)
    grave = sum(finding.severity == "stop" for finding, _ in found)
    warned = sum(finding.severity == "warn" for finding, _ in found)
    render.say()
    if grave or warned:
        render.say(
            f"reasons to stop: {grave}, warnings: {warned}", "bold red" if grave else "yellow"
        )
    else:
        render.say("nothing is wrong in these numbers", "bold green")


def show_finding(finding: Finding, shown: Sequence[Sample]) -> None:
    """One finding with its numbers, its cost, its remedy and completions that show it."""
    where = f"step {finding.first}"
    if finding.last > finding.first:
        where = f"steps {finding.first} to {finding.last}"
    head(f"{finding.severity}: {finding.name}, {where}")
    wrapped(finding.fact, indent="  ", style=STYLES[finding.severity])
    wasted = "" if finding.wasted is None else f", {finding.wasted} completions"
    facts(
        [
            ("measured", f"{finding.value:.4g}, threshold {finding.threshold:.4g}"),
            ("cost" if finding.severity != "note" else "since", f"{finding.steps} steps{wasted}"),
        ],
        width=9,
    )
    wrapped(f"-> {finding.remedy}", indent="  ")
    for one in shown:
        total = "no reward" if one.total is None else f"reward {one.total:.4g}"
        place = f"step {one.step}, row {one.index}, sample {one.sample}"
        wrapped(f"{place}, {one.tokens} tokens, {total}:", indent="  ")
        _text(one.text)


def _text(text: str) -> None:
    """A completion in quotes. It is hostile: every character that could steer a terminal is escaped."""
    quoted = f'"{render.safe(text, limit=TEXT, one_line=True)}"'
    for start in range(0, len(quoted), 74):
        render.say(f"    {quoted[start : start + 74]}", "dim")
