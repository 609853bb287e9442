"""The number of a completion that a part looks at: the total, or one reward by its name. No torch here."""

from __future__ import annotations

from collections.abc import Sequence

from grpokit.errors import ComponentError
from grpokit.spec.flow import Scores

__all__ = ["metric_of"]

Table = Sequence[Sequence[float | None]]


def metric_of(scores: Scores, name: str, part: str) -> Table:
    """scores_PG of the reward ``name``, or the weighted sum of all for "total".

    Raises:
        ComponentError: there is no such reward; it names those that exist, and the ``part`` that asked.
    """
    if name == "total":
        return scores.total
    if name in scores.rewards:
        return scores.rewards[name]
    raise ComponentError(
        f"`{part}` looks at the reward `{name}`, which does not exist",
        place="algorithm",
        remedy=f"set it to total, or to a name of the recipe's rewards: {', '.join(scores.rewards)}",
    )
