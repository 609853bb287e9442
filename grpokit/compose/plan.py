"""The plan: what a checked recipe will do on this machine, in under a second and without torch."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from grpokit.compose.draft import Draft, Inspect
from grpokit.errors import PreflightError
from grpokit.spec.contracts import Problem
from grpokit.spec.plan import Plan

if TYPE_CHECKING:
    from grpokit.compose.load import Loaded
    from grpokit.registry.catalog import Catalog

__all__ = ["PLAN_CODES", "make_plan", "plan_json", "problem_lines", "raise_errors"]

PLAN_CODES: dict[str, str] = {
    "P201": "The data set cannot be opened, or one of its rows cannot be read.",
    "P202": "A row cannot be made into a prompt.",
    "P203": "A reward or a sampler asks for a column that the data set does not have.",
    "P204": "A reward raised, hung or returned no usable score for a real row.",
    "P205": "The rewards do not prefer the gold answer to a wrong one.",
    "P206": "The model's chat template cannot render the prompt.",
    "P207": "A prompt is longer than the recipe or the model allows.",
    "P208": "The run may need more memory than there is.",
    "P209": "The run may need more disk space than there is.",
    "P210": "A component cannot be found, imported or built.",
    "P211": "The held-out data set cannot be used.",
    "P212": "Rows were left out of the data set, as the recipe allows (warning).",
    "P213": "The author of a reward warns of what can go wrong in training with it (warning).",
    "P214": "A reward was not tried: it needs the policy, which a plan does not open (note).",
    "P215": "Completions are drawn one step ahead (note); nothing weighs that (warning).",
    "P216": "A callback cannot run here, or its author should know what it will do (warning).",
    "P217": "The pass rates of `dataset.difficulty` are those of another model.",
    "P218": "The pass rates of `dataset.difficulty` were measured with other prompts, rewards or sampling (warning).",
}
"""What a plan can find, beside the backend's own codes and the advice (H..)."""


def make_plan(loaded: Loaded, catalog: Catalog, *, inspect: Inspect | None = None) -> Plan:
    """Resolves a recipe against the machine and collects every problem; raises for none of them.

    ``inspect`` is called with the rewards' running workers and the first prompts.
    """
    return Draft(loaded, catalog, inspect=inspect).finish()


def problem_lines(problems: Sequence[Problem]) -> tuple[str, ...]:
    """``key: CODE fact; remedy``, one string a problem."""
    return tuple(
        f"{problem.key + ': ' if problem.key else ''}{problem.code + ' ' if problem.code else ''}"
        f"{problem.fact}{'; ' + problem.remedy if problem.remedy else ''}"
        for problem in problems
    )


def raise_errors(plan: Plan, asked: str = "") -> None:
    """Stops a run that cannot work, before anything heavy is loaded.

    ``asked`` is the recipe as the user named it: a file has a shorter name in the plan.

    Raises:
        PreflightError: with every error of the plan in ``problems``.
    """
    if not plan.errors:
        return
    count = len(plan.errors)
    raise PreflightError(
        f"{plan.name} cannot run here: {count} problem{'s' if count > 1 else ''}",
        remedy=f"grpokit plan {shlex.quote(asked or plan.name)} shows the whole plan",
        problems=problem_lines(plan.errors),
    )


def plan_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain data, for ``plan.json`` and ``--json``."""
    memory = plan.memory
    return {
        "format": 1,
        "name": plan.name,
        "recipe": plan.recipe.model_dump(mode="json", by_alias=True),
        "components": [
            {**asdict(component), "settings": dict(component.settings)}
            for component in plan.components
        ],
        "arithmetic": asdict(plan.arithmetic),
        "dataset_fingerprint": plan.dataset_fingerprint,
        "columns": list(plan.columns),
        "rewards": [asdict(use) for use in plan.uses],
        "trials": {"way": plan.way, "rows": [asdict(trial) for trial in plan.trials]},
        "prompt": {"text": plan.rendered, "tokens": plan.rendered_tokens},
        "memory": None
        if memory is None
        else {
            "parts": dict(memory.parts),
            "peak": memory.peak,
            "training": sorted(memory.training & memory.parts.keys()),
            "sampling": sorted(memory.sampling & memory.parts.keys()),
            "available": plan.memory_available,
            "notes": list(memory.notes),
        },
        "disk": {"parts": dict(plan.disk), "free": plan.disk_free},
        "device": plan.device,
        "notes": list(plan.notes),
        "findings": [asdict(problem) for problem in plan.findings],
        "environment": dict(plan.environment),
    }
