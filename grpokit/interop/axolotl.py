"""Rewards for axolotl: ``trl.reward_funcs: [grpokit.interop.axolotl.math_boxed]``.

The functions are TRL's. axolotl imports the second to last word of a data set's ``type`` as a module
of its own, so ``transform`` is reached through a file of the user: ``type: my_rewards.transform``
with ``from grpokit.interop.axolotl import transform`` in ``my_rewards.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from grpokit.errors import PreflightError
from grpokit.interop.trl import functions

__all__ = ["functions", "transform"]

Transform = Callable[[dict[str, Any]], dict[str, Any]]


def __getattr__(name: str) -> Any:
    """The reward of a dotted name, as for TRL."""
    from grpokit.interop import trl

    return getattr(trl, name)


def transform(_cfg: Any, **_: Any) -> tuple[Transform, dict[str, Any]]:
    """What axolotl asks of a data set's ``type``: rows with ``prompt``, all columns kept.

    A row that has messages under ``prompt`` stays as it is; else its ``question`` is what the user
    says. A ``prompt`` that is text stays where there is no ``question``.

    Raises:
        PreflightError: a row has neither.
    """

    def prompt_of(row: dict[str, Any]) -> dict[str, Any]:
        if isinstance(row.get("prompt"), list):
            return row
        if row.get("question") is not None:
            return {**row, "prompt": [{"role": "user", "content": row["question"]}]}
        if isinstance(row.get("prompt"), str):
            return row
        raise PreflightError(
            f"a row has neither `prompt` nor `question`; it has: {', '.join(row)}",
            place="grpokit.interop.axolotl.transform",
            remedy="rename a column of the data set",
        )

    return prompt_of, {}
