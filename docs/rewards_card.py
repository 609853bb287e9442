"""Writes docs/rewards-card.md: ``python docs/rewards_card.py``, about a minute.

Every reward of this repository is probed on the same 16 rows of arithmetic (those of
``grpokit.probes.rows``), with the settings below. Nothing on the page depends on the machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from grpokit.errors import GrpokitError
from grpokit.probes import Report, check
from grpokit.probes.rows import sample_rows
from grpokit.probes.strategies import STRATEGIES
from grpokit.registry.catalog import Catalog, Entry
from grpokit.scoring.scorer import RewardSetup

PAGE = Path(__file__).with_name("rewards-card.md")
BEGIN, END = "<!-- made by docs/rewards_card.py -->", "<!-- end -->"
ROWS = 16
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "format": {"boxed": True},
    "length": {"unit": "characters", "max": 400},
    "math/rubric": {"items": [{"contains": "therefore"}]},
}
"""Settings of rewards that have required ones."""
OURS = ("grpokit", "grpokit-cppo", "grpokit-example-reward", "grpokit-math")
ELSEWHERE = {
    "math/email": "its rows are e-mails",
    "math/rubric": "what is right stands in its settings",
}
"""Rewards for which a question with a number as its answer says nothing."""


def entries(catalog: Catalog) -> list[Entry]:
    """The rewards of this repository that need nothing but a row."""
    return [
        entry
        for entry in catalog.entries("reward")
        if entry.plugin.distribution in OURS and entry.id not in ELSEWHERE
    ]


def report_of(entry: Entry) -> Report:
    """The check, on rows whose answer is a number, or else a GSM8K solution."""
    setup = RewardSetup(
        name=entry.spec.name, entry=entry, settings=SETTINGS.get(entry.id, {}), weight=1.0
    )
    first = check([setup], sample_rows(ROWS))
    if not any(found.id == "base.margin" for found in first.findings):
        return first
    return check([setup], sample_rows(ROWS, solutions=True))


def row(entry: Entry, report: Report) -> str:
    """One line of the first table."""
    (reward,) = report.rewards
    judged = reward.reads_answer
    findings = (
        ", ".join(f"`{found.id}`" for found in (*report.criticals, *report.warnings)) or "none"
    )
    cells = (
        f"`{entry.id}`",
        report.way if judged else "form only",
        _rate(reward.false_accepts, reward.wrong_tried),
        _rate(reward.false_rejects, reward.right_tried),
        findings,
    )
    return "| " + " | ".join(cells) + " |"


def _rate(count: int, tried: int) -> str:
    return f"{count} of {tried} ({count / tried:.1%})" if tried else "-"


def board(reports: Mapping[str, Report]) -> Iterator[str]:
    """Strategies down, rewards across: the share of the way from wrong to right."""
    judged = {name: report for name, report in reports.items() if report.rewards[0].reads_answer}
    yield "| strategy | " + " | ".join(f"`{name}`" for name in judged) + " |"
    yield "|---" * (len(judged) + 1) + "|"
    for strategy in STRATEGIES:
        cells = [_share(report, strategy) for report in judged.values()]
        yield f"| {strategy} | " + " | ".join(cells) + " |"


def _share(report: Report, strategy: str) -> str:
    found = [each for each in report.strategies if each.name == strategy]
    share = found[0].share if found else None
    return "-" if share is None else f"{round(share, 2) + 0.0:.0%}"


def table() -> str:
    """Everything between the marks of the page."""
    reports: dict[str, Report] = {}
    lines = [
        "| reward | answer written as | paid wrong | refused right | findings |",
        "|---|---|---|---|---|",
    ]
    for entry in entries(Catalog.load()):
        try:
            report = report_of(entry)
        except GrpokitError as error:
            raise SystemExit(f"{entry.id}: {error}") from error
        reports[entry.id] = report
        lines.append(row(entry, report))
    return "\n".join([*lines, "", "## What each strategy earns", "", *board(reports)])


def main() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
