"""The short check of the rewards before a training run: at most ten seconds, on a few rows."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from grpokit.cli import render
from grpokit.cli.consent import FLAG
from grpokit.cli.page import WIDTH
from grpokit.errors import GrpokitError, PreflightError

if TYPE_CHECKING:
    from grpokit.probes.report import Finding, Report
    from grpokit.scoring.scorer import Scorer
    from grpokit.spec.flow import Prompt
    from grpokit.spec.recipe import Recipe

__all__ = ["RECORD", "RewardCheck", "check_command", "concerns"]

ROWS = 4
SECONDS = 10.0
RECORD = "reward-check.json"
"""File of the run's folder that says what was found, or that nobody looked."""
SHOWN = 120
MOST = 5
"""Findings that are shown where a run stops."""


def concerns(changes: Sequence[str]) -> bool:
    """Whether rewards may be others after these forced changes, one line each."""
    return any(
        line.startswith(("rewards", "reward ", "scoring", "prompt", "data")) for line in changes
    )


class RewardCheck:
    """Probes the rewards with the plan's own workers, and keeps what was found.

    ``skip``: somebody decided against it; the run's folder says so.
    """

    def __init__(self, recipe: Recipe, *, skip: bool) -> None:
        self.recipe = recipe
        self.skip = skip
        self.report: Report | None = None
        self.called = False
        self.problem = ""
        self.unasked = ""

    def __call__(self, scorer: Scorer, prompts: Sequence[Prompt], way: str = "") -> None:
        """Called by the plan while the workers run."""
        self.called = True
        if self.skip or not prompts:
            return
        from grpokit.compose.trials import paid

        costly = paid(scorer.setups)
        if costly:
            self.unasked = f"calls of {', '.join(costly)} cost money"
            return
        self._check(scorer, prompts[:ROWS], way)

    def _check(self, scorer: Scorer, prompts: Sequence[Prompt], way: str) -> None:
        from grpokit.probes import check

        try:
            self.report = check(
                scorer.setups,
                prompts,
                seconds=SECONDS,
                timeout=self.recipe.scoring.timeout,
                memory=self.recipe.scoring.memory,
                scorer=scorer if scorer.isolate else None,
                template=self.recipe.prompt.use,
                hint=way,
            )
        except GrpokitError as error:  # what is wrong with rows and rewards stops the plan
            self.problem = str(error)

    def settle(self, command: str) -> None:
        """Stops a run whose rewards can be fooled; ``command`` is the whole check of the same recipe.

        Raises:
            PreflightError: with every critical finding in ``problems``.
        """
        if self.skip:
            render.warn("note: the rewards were not checked (--skip-reward-check)")
        report = self.report
        if report is None:
            if self.unasked or self.problem:
                why = self.unasked or self.problem
                render.warn(f"note: the rewards were not checked: {why}; {command} does it")
            return
        blocking = [found for found in report.criticals if _blocks(found)]
        if blocking:
            shown = [_lines(found) for found in blocking[:MOST]]
            more = len(blocking) - len(shown)
            raise PreflightError(
                "these rewards would teach something else",
                place="rewards",
                remedy=f"{command} shows everything; --skip-reward-check trains anyway",
                problems=(*shown, *([f"... and {more} more of this kind"] if more else [])),
            )
        for found in report.criticals:
            render.warn(f"warning: reward check: {_lines(found)}")
        for note in self._notes(report, command):
            render.warn(f"note: reward check: {note}")

    def _notes(self, report: Report, command: str) -> Iterator[str]:
        modelled = [each.name for each in report.rewards if each.needs_model]
        if modelled:
            yield f"what the policy says was made up for {', '.join(modelled)}"
        if report.missed:
            count = len(report.missed)
            yield f"{count} probes were not tried in {SECONDS:g} s; {command} tries all"
        if report.warnings:
            names = ", ".join(dict.fromkeys(found.id for found in report.warnings))
            yield f"{names}; {command} says more"

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


def _lines(found: Finding) -> str:
    """A finding on some lines of a terminal: what, the completion, what to do."""
    lines = _wrapped(f"{found.id} ({found.subject}): {found.fact}", "", "  ")
    if found.completion:
        text = render.safe(found.completion, limit=SHOWN, one_line=True)
        lines += _wrapped(f"completion: {text if text.strip() else repr(text)}", "    ", "      ")
    return "\n".join([*lines, *_wrapped(f"-> {found.fix}", "    ", "       ")])


def _wrapped(text: str, first: str, then: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=then, break_on_hyphens=False
    )


def check_command(asked: str, changes: Sequence[str] = (), *, foreign: bool = False) -> str:
    """`grpokit rewards check` of a recipe with the same changes."""
    words = ["grpokit", "rewards", "check", asked]
    words += [word for change in changes for word in ("--set", change)]
    return shlex.join([*words, FLAG] if foreign else words)
