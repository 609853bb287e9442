"""The probes, as ``probes.yaml`` has them, and the rows for rewards that are checked alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml

__all__ = ["Contract", "Expect", "Kind", "Probe", "Severity", "Way", "contracts", "probes", "ways"]

Severity = Literal["critical", "warning", "info"]
Kind = Literal["numeric", "choice", "text"]
Expect = Literal["right", "wrong", "nothing", "same", "any"]


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a completion wraps its answer: ``before open ANSWER close after``."""

    name: str
    before: str
    open: str
    close: str
    after: str

    def write(self, answer: str) -> str:
        """A whole completion with this answer."""
        return f"{self.before}{self.open}{answer}{self.close}{self.after}"


@dataclass(frozen=True, kw_only=True)
class Contract:
    """A promise that is not about one completion."""

    id: str
    severity: Severity
    why: str
    fix: str

    @property
    def family(self) -> str:
        return self.id.partition(".")[0]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A completion with placeholders, and what it may earn.

    Attributes:
        expect: see the head of ``probes.yaml``.
        kinds: kinds of gold answers that it is for; empty for all.
        within: seconds that one call may take; None where only the deadline counts.
        short: belongs to the check before training.
    """

    id: str
    family: str
    text: str
    expect: Expect
    severity: Severity
    why: str
    fix: str
    kinds: tuple[Kind, ...] = ()
    within: float | None = None
    short: bool = False


@cache
def _data() -> dict[str, Any]:
    text = (files("grpokit.probes") / "probes.yaml").read_text(encoding="utf-8")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    data: dict[str, Any] = yaml.load(text, Loader=loader)  # noqa: S506  # both are safe loaders
    return data


@cache
def ways() -> tuple[Way, ...]:
    """Ways to write an answer, plain ones first."""
    return tuple(Way(**each) for each in _data()["ways"])


@cache
def probes() -> tuple[Probe, ...]:
    """All probes of completions, in the order of the file."""
    return tuple(
        Probe(**{**each, "kinds": tuple(each.get("kinds", ()))}) for each in _data()["probes"]
    )


@cache
def contracts() -> dict[str, Contract]:
    """Id -> promise."""
    return {each["id"]: Contract(**each) for each in _data()["contracts"]}
