"""``rewards try``: one completion, its score, and what would have earned the most."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from grpokit.cli import render
from grpokit.cli.page import facts, wrapped
from grpokit.cli.rewards_show import short
from grpokit.errors import PreflightError

if TYPE_CHECKING:
    from grpokit.probes.gold import Beside
    from grpokit.scoring.scorer import RewardSetup
    from grpokit.scoring.values import Outcome
    from grpokit.spec.flow import Prompt
    from grpokit.spec.recipe import Recipe

__all__ = ["Asked", "Tried", "show_tried", "tried"]

TEXT = 1500


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One completion to one row; ``given`` are columns beside or instead of the row's own."""

    setup: RewardSetup
    text: str
    prompt: Prompt
    given: Mapping[str, Any]
    recipe: Recipe | None


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What ``--json`` prints. ``beside`` is None where the row has no gold answer, or calls cost money."""

    reward: str
    settings: Mapping[str, Any]
    row: Mapping[str, Any]
    completion: str
    outcome: Outcome
    beside: Beside | None


def tried(asked: Asked) -> Tried:
    """Scores it in a worker, as training would."""
    from grpokit.probes.gold import beside
    from grpokit.scoring.scorer import Scorer

    setup = asked.setup
    prompt = replace(asked.prompt, row={**asked.prompt.row, **asked.given})
    timeout = asked.recipe.scoring.timeout if asked.recipe else 10.0
    with Scorer([setup], timeout=timeout) as scorer:
        problems = scorer.problems(tuple(prompt.row))
        if problems:
            raise PreflightError(
                problems[0].fact,
                remedy="give --answer TEXT, --row '{\"COLUMN\": ...}' or --recipe RECIPE",
            )
        (outcome,) = scorer.explain(prompt.row, asked.text, prompt.messages).values()
        near = None if outcome.fault else beside(scorer, prompt)
    return Tried(
        reward=setup.entry.id,
        settings=setup.settings,
        row=prompt.row,
        completion=asked.text,
        outcome=outcome,
        beside=near,
    )


def show_tried(found: Tried) -> None:
    """One score with everything that is known about it."""
    outcome, fault = found.outcome, found.outcome.fault
    render.say(f"reward {found.reward}", "bold")
    settings = json.dumps(dict(found.settings), default=str, ensure_ascii=False)
    facts(
        [
            *([("settings", settings)] if found.settings else []),
            *((name, short(value)) for name, value in found.row.items()),
            ("completion", short(found.completion)),
        ]
    )
    if fault is not None:
        render.say(f"no score: {fault.kind}", "bold red")
        wrapped(fault.message, indent="  ")
        if fault.remedy:
            wrapped(f"-> {fault.remedy}", indent="     ")
        if fault.trace:
            render.say(render.safe(fault.trace, limit=TEXT), "dim")
        return
    told = "None: the reward does not apply" if outcome.value is None else f"{outcome.value:g}"
    render.say(f"score {told}", "bold green")
    for name, value in outcome.components.items():
        wrapped(f"{name:<20} {value:g}", indent="  ")
    if outcome.note:
        wrapped(f"note: {outcome.note}", indent="  ")
    near = found.beside
    if near is None or near.right is None or (outcome.value or 0.0) >= near.right:
        return
    wrong = "no score" if near.wrong is None else f"{near.wrong:g}"
    wrapped(f"the right answer earns {near.right:g}, a wrong one {wrong}, written as", indent="  ")
    wrapped(short(near.completion), indent="    ")
