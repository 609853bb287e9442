"""What a rule of advice is, and what it may look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from grpokit.spec.recipe import Recipe

if TYPE_CHECKING:
    from grpokit.spec.plan import Arithmetic

__all__ = ["Facts", "Rule"]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the rules may look at.

    Attributes:
        parameters: weights of the model, None where it is not known.
        eval_rows: rows of the held-out data set; None for an endless or unknown one.
    """

    recipe: Recipe
    arithmetic: Arithmetic
    parameters: int | None = None
    eval_rows: int | None = None


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One piece of advice.

    Attributes:
        id: its code.
        level: ``error``, ``warning`` or ``info``.
        key: the recipe key it is about.
        source: who says so.
        remedy: what to do about it.
        check: facts -> what is the matter, with numbers, or "".
    """

    id: str
    level: str
    key: str
    source: str
    check: Callable[[Facts], str] = field(repr=False)
    remedy: str = ""
