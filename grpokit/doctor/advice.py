"""Every rule of thumb on one recipe: those that speak, and those that are content."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from grpokit.compose.rules import RULES

if TYPE_CHECKING:
    from grpokit.spec.plan import Plan

__all__ = ["Advice", "rules_on"]


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What one rule says to a recipe.

    Attributes:
        level: ``warning``, ``info``, or ``ok`` where the rule is content.
        key: the recipe key to change.
        fact: what the rule found, empty where it is content.
    """

    code: str
    level: str
    key: str
    source: str
    fact: str = ""
    remedy: str = ""


def rules_on(plan: Plan) -> tuple[Advice, ...]:
    """The rules in their order; of several with one code and key, the one that speaks."""
    said = {(problem.code, problem.key): problem for problem in plan.findings}
    found: dict[tuple[str, str], Advice] = {}
    for rule in RULES:
        problem = said.get((rule.id, rule.key))
        if (rule.id, rule.key) in found:
            continue
        found[rule.id, rule.key] = Advice(
            code=rule.id,
            level=problem.level if problem else "ok",
            key=rule.key,
            source=rule.source,
            fact=problem.fact if problem else "",
            remedy=problem.remedy if problem else "",
        )
    return tuple(found.values())
