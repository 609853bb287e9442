"""Pieces of a page that is read in a terminal: headings, folded text, labelled facts, findings."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from grpokit.cli import render

if TYPE_CHECKING:
    from collections.abc import Iterable

    from grpokit.spec.contracts import Problem

__all__ = ["WIDTH", "facts", "finding", "head", "wrapped"]

WIDTH = 80
STYLES = {"error": "bold red", "warning": "yellow", "info": "dim"}


def head(title: str) -> None:
    """A heading after an empty line."""
    render.say()
    render.say(title, "bold")


def wrapped(text: str, *, indent: str = "", style: str = "") -> None:
    """Text folded at 80 columns; commands and names stay whole."""
    lines = textwrap.wrap(
        render.safe(text, one_line=True),
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + ("  " if indent else ""),
        break_long_words=False,
        break_on_hyphens=False,
    )
    for line in lines:
        render.say(line, style)


def facts(rows: Iterable[tuple[str, object]], *, width: int = 13) -> None:
    """Labels and what is known, one a paragraph."""
    for label, value in rows:
        wrapped(f"{label:<{width}} {value}", indent="  ")


def finding(problem: Problem) -> None:
    """One problem with what to do about it."""
    place = f"{problem.key}: " if problem.key else ""
    code = f"{problem.code} " if problem.code else ""
    wrapped(f"{code}{place}{problem.fact}", indent="  ", style=STYLES.get(problem.level, ""))
    if problem.remedy:
        wrapped(f"-> {problem.remedy}", indent="     ")
