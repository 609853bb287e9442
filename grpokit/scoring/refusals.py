"""Why rewards cannot be called on these rows: a column that is not there, a value that cannot be sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from grpokit.errors import PreflightError
from grpokit.scoring.call import Batch
from grpokit.scoring.signature import MEASURED
from grpokit.scoring.wire import UnsendableError, dump
from grpokit.spec.contracts import Problem

if TYPE_CHECKING:
    from grpokit.scoring.scorer import RewardSetup

__all__ = ["missing_problem", "unsendable"]


def missing_problem(
    setup: RewardSetup, missing: Sequence[str], columns: Sequence[str], key: str
) -> Problem:
    facts = {name: need for need, named in MEASURED.items() for name in named}
    if missing[0] in facts:
        need = facts[missing[0]]
        return Problem(
            level="error",
            fact=f"the reward {setup.name} of {setup.entry.origin} asks for {missing[0]!r}, which the "
            "policy would have to tell, and its spec does not say that it needs that",
            remedy=f'in its RewardSpec: needs=frozenset({{"{need}"}}); or map a column of that name',
            key=key,
        )
    names = ", ".join(repr(name) for name in missing)
    word = "column" if len(missing) == 1 else "columns"
    return Problem(
        level="error",
        fact=(
            f"the reward {setup.name} of {setup.entry.origin} asks for the {word} {names}, "
            f"which the data set lacks; it has: {', '.join(columns) or 'none'}"
        ),
        remedy=f"map it: dataset.columns: {{{missing[0]}: NAME_OF_A_COLUMN}}",
        key=key,
    )


def unsendable(batch: Batch, indices: Sequence[int], error: UnsendableError) -> PreflightError:
    for position, question in enumerate(batch.questions):
        for name, value in question.row.items():
            try:
                dump(value)
            except UnsendableError:
                return PreflightError(
                    f"the column {name!r}: {error}",
                    place=f"data set row {indices[position]}",
                    remedy="leave the column out, or set scoring.isolate: false",
                )
    return PreflightError(str(error), remedy="set scoring.isolate: false")
