"""The option that lets a recipe's foreign rewards be imported, and what is said about them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from grpokit.cli import render

if TYPE_CHECKING:
    from grpokit.compose.diagnostics import Diagnostic

__all__ = ["FLAG", "ForeignRewards", "tell"]

FLAG = "--allow-foreign-rewards"
ForeignRewards = Annotated[
    bool,
    typer.Option(
        FLAG, help="Import rewards that the recipe names as trl:, verl: or verifiers: code."
    ),
]


def tell(notes: Iterable[Diagnostic]) -> None:
    """How foreign rewards are read."""
    for each in notes:
        if each.code == "C513":
            render.warn(f"note: {each.message}", limit=1000)
