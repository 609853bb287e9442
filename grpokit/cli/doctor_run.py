"""``grpokit doctor RUN``: what is going wrong in a run, with numbers, samples and remedies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from grpokit.cli import render
from grpokit.cli.page import facts, head, wrapped
from grpokit.diagnose.diagnosis import Finding, look_back
from grpokit.diagnose.rollouts import Sample, measure, samples
from grpokit.diagnose.sources import Source, find_source
from grpokit.rescore.saved import read_steps

__all__ = ["STOP", "doctor_run"]

STOP = 1
"""Exit code where a finding is a reason to stop."""
NEEDED = 30
"""Rows from which windows can speak."""
TEXT = 240
"""Characters of a completion that are shown."""
STYLES = {"stop": "bold red", "warn": "yellow", "note": "dim"}

Shown = Sequence[tuple[Finding, list[Sample]]]


def doctor_run(path: Path, *, as_json: bool) -> bool:
    """Prints what is found; whether nothing of it is a reason to stop."""
    source = find_source(path)
    found = _diagnose(source)
    if as_json:
        render.print_json(_as_data(source, found))
    else:
        _show(source, found)
    return all(finding.severity != "stop" for finding, _ in found)


def _diagnose(source: Source) -> list[tuple[Finding, list[Sample]]]:
    """The findings, each with samples of the last step in which some show it. Notes need none."""
    extra: dict[int, dict[str, float]] = {}
    if source.rollouts is not None:
        extra = {saved.step: measure(saved.groups) for saved in read_steps(source.rollouts)}
    findings = look_back(source.rows, source.goal, extra)
    shown: list[list[Sample]] = [[] for _ in findings]
    if source.rollouts is not None and any(each.severity != "note" for each in findings):
        for saved in read_steps(source.rollouts):
            for place, finding in enumerate(findings):
                if finding.severity != "note" and finding.first <= saved.step <= finding.last:
                    shown[place] = samples(finding, saved.groups) or shown[place]
    return list(zip(findings, shown, strict=True))


def _as_data(source: Source, found: Shown) -> dict[str, Any]:
    steps = [row.step for row in source.rows if not row.is_evaluation]
    return {
        "format": 1,
        "source": str(source.path),
        "kind": source.kind,
        "rows": len(steps),
        "last_step": max(steps),
        "stop": any(finding.severity == "stop" for finding, _ in found),
        "findings": [{**asdict(f), "samples": [asdict(s) for s in shown]} for f, shown in found],
    }


def _show(source: Source, found: Shown) -> None:
    rows = [row for row in source.rows if not row.is_evaluation]
    rewards = [row.values["reward"] for row in rows if "reward" in row.values]
    reward = f", reward {rewards[0]:.3f} to {rewards[-1]:.3f}" if rewards else ""
    wrapped(f"{source.path}: {len(rows)} rows to step {rows[-1].step}{reward}", style="bold")
    if len(rows) < NEEDED:
        wrapped(f"Most findings need {NEEDED} rows, so little can be said yet.")
    for finding, shown in found:
        _finding(finding, shown)
    grave = sum(finding.severity == "stop" for finding, _ in found)
    warned = sum(finding.severity == "warn" for finding, _ in found)
    render.say()
    if grave or warned:
        render.say(
            f"reasons to stop: {grave}, warnings: {warned}", "bold red" if grave else "yellow"
        )
    else:
        render.say("nothing is wrong in these numbers", "bold green")


def _finding(finding: Finding, shown: list[Sample]) -> None:
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
