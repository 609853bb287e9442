"""What a check found: errors, which must be repaired, and warnings, which should be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = ["Check", "Finding", "errors", "warnings"]

Level = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One problem, in a sentence that says what to do."""

    text: str
    level: Level = "error"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what, in a word or two.
        findings: what is wrong; empty if all is well.
        note: what was looked at ("1 reward, 8 cases"), or why nothing was.
        skipped: nothing was looked at.
    """

    name: str
    findings: tuple[Finding, ...] = ()
    note: str = ""
    skipped: bool = False

    @property
    def state(self) -> str:
        """``ok``, ``warning``, ``error`` or ``skipped``."""
        levels = {finding.level for finding in self.findings}
        if levels:
            return "error" if "error" in levels else "warning"
        return "skipped" if self.skipped else "ok"


def errors(texts: Iterable[str]) -> tuple[Finding, ...]:
    return tuple(Finding(text) for text in texts)


def warnings(texts: Iterable[str]) -> tuple[Finding, ...]:
    return tuple(Finding(text, "warning") for text in texts)
