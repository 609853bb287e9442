"""The short check of the rewards before a training run: at most ten seconds, on a few rows."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from grpokit.cli import render
from grpokit.errors import GrpokitError, PreflightError

if TYPE_CHECKING:
    from grpokit.probes.report import Finding, Report
    from grpokit.scoring.scorer import Scorer
    from grpokit.spec.flow import Prompt
    from grpokit.spec.recipe import Recipe

__all__ = ["RECORD", "RewardCheck"]

ROWS = 4
SECONDS = 10.0
RECORD = "reward-check.json"
"""File of the run's folder that says what was found, or that nobody looked."""
SHOWN = 120


class RewardCheck:
    """Probes the rewards with the plan's own workers, and keeps what was found.

    ``skip``: somebody decided against it; the run's folder says so.
    """

    def __init__(self, recipe: Recipe, *, skip: bool) -> None:
        self.recipe = recipe
        self.skip = skip
        self.report: Report | None = None
        self.problem = ""
        self.unasked = ""

    def __call__(self, scorer: Scorer, prompts: Sequence[Prompt]) -> None:
        """Called by the plan while the workers run."""
        if self.skip or not prompts:
            return
        from grpokit.compose.trials import paid
        from grpokit.probes import check

        costly = paid(scorer.setups)
        if costly:
            self.unasked = f"calls of {', '.join(costly)} cost money"
            return
        try:
            self.report = check(
                scorer.setups,
                prompts[:ROWS],
                seconds=SECONDS,
                timeout=self.recipe.scoring.timeout,
                scorer=scorer if scorer.isolate else None,
                template=self.recipe.prompt.use,
            )
        except GrpokitError as error:  # the plan says what is wrong with rows and rewards
            self.problem = str(error)

    def settle(self, asked: str) -> None:
        """Stops a run whose rewards can be fooled.

        Raises:
            PreflightError: with every critical finding in ``problems``.
        """
        if self.skip:
            render.warn("note: the rewards were not checked (--skip-reward-check)")
        command = f"grpokit rewards check {shlex.quote(asked)}"
        if self.report is None:
            if self.unasked:
                render.warn(
                    f"note: the rewards were not checked: {self.unasked}; {command} does it"
                )
            return
        blocking = [found for found in self.report.criticals if _blocks(found)]
        if blocking:
            count = f"{len(blocking)} critical finding{'s' if len(blocking) > 1 else ''}"
            raise PreflightError(
                f"the rewards would teach something else: {count}",
                place="rewards",
                remedy=f"{command} shows them; --skip-reward-check trains anyway",
                problems=tuple(map(_line, blocking)),
            )
        for found in self.report.criticals:
            render.warn(f"warning: reward check: {_line(found)}")
        if self.report.warnings:
            names = ", ".join(dict.fromkeys(found.id for found in self.report.warnings))
            render.warn(f"note: reward check: {names}; {command} says more")

    def record(self) -> dict[str, Any]:
        """For the run's folder."""
        report = self.report
        if report is None:
            return {
                "format": 1,
                "skipped": self.skip,
                "checked": False,
                "problem": self.problem or self.unasked,
            }
        return {
            "format": 1,
            "skipped": False,
            "checked": True,
            "rows": report.rows,
            "probes": report.probes,
            "seconds": round(report.seconds, 3),
            "way": report.way,
            "format_share": report.format_share,
            "missed": list(report.missed),
            "findings": [
                {"id": f.id, "severity": f.severity, "subject": f.subject, "fact": f.fact}
                for f in report.findings
                if f.severity != "info"
            ],
        }


def _blocks(found: Finding) -> bool:
    """Not whatever takes long: it is killed at the deadline, and its row has no score.

    A right answer that earns no more than a wrong one may only be written in a way that nobody
    guessed. The plan warns of it (P205). One that earns less is worse than no reward.
    """
    if found.id == "base.margin":
        return (found.share or 0.0) < -1e-6
    return found.family != "dos" and found.id != "contract.deadline"


def _line(found: Finding) -> str:
    shown = ""
    if found.completion:
        text = render.safe(found.completion, limit=SHOWN, one_line=True)
        shown = f" | completion: {text if text.strip() else repr(text)}"
    return f"{found.id} ({found.subject}): {found.fact}{shown}; {found.fix}"
