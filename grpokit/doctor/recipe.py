"""One recipe, or one model, held against this machine."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from grpokit.compose.plan import make_plan
from grpokit.doctor.advice import Advice, rules_on
from grpokit.doctor.backends import preflight_of, small_recipe
from grpokit.doctor.template import Turns, look_at_turns
from grpokit.spec.recipe import BackendSection

if TYPE_CHECKING:
    from grpokit.compose.load import Loaded
    from grpokit.registry.catalog import Catalog
    from grpokit.spec.contracts import Preflight, Problem
    from grpokit.spec.plan import Plan

__all__ = ["ModelState", "RecipeState", "examine_model", "examine_recipe", "state_json"]


@dataclass(frozen=True, kw_only=True)
class ModelState:
    """What a backend finds out about a model without loading it.

    Attributes:
        here: whether its tokenizer could be read.
        tokens: label -> what its files say (chat template, end of turn, pad).
        turns: what its template puts between turns; None without the model.
        notes: what was repaired.
    """

    id: str
    device: str
    here: bool
    tokens: dict[str, str]
    turns: Turns | None
    notes: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.level == "error")

    @property
    def works(self) -> bool:
        """Nothing is wrong, and where the model is here, something opens its turn."""
        return not self.errors and (self.turns is None or self.turns.works)


@dataclass(frozen=True, kw_only=True)
class RecipeState:
    """A recipe on this machine: its plan, its model, and every rule."""

    plan: Plan
    model: ModelState
    advice: tuple[Advice, ...]

    @property
    def works(self) -> bool:
        return not self.plan.errors and self.model.works


def examine_recipe(loaded: Loaded, catalog: Catalog) -> RecipeState:
    """Makes the plan and looks at the model; nothing is loaded."""
    plan = make_plan(loaded, catalog)
    recipe = plan.recipe
    found = catalog.matches("backend", recipe.backend.use)
    preflight = preflight_of(found[0], recipe) if len(found) == 1 else None
    return RecipeState(plan=plan, model=_model(recipe.model.id, preflight), advice=rules_on(plan))


def examine_model(model: str, catalog: Catalog, backend: str = "") -> ModelState:
    """Looks at a model through a backend's eyes.

    Raises:
        ComponentError: there is no such backend.
    """
    use = backend or BackendSection().use
    entry = catalog.find("backend", use)
    return _model(model, preflight_of(entry, small_recipe(use, model)))


def _model(name: str, preflight: Preflight | None) -> ModelState:
    if preflight is None:
        return ModelState(
            id=name, device="", here=False, tokens={}, turns=None, notes=(), problems=()
        )
    render = preflight.render
    return ModelState(
        id=name,
        device=preflight.device,
        here=render is not None,
        tokens=dict(preflight.tokens),
        turns=look_at_turns(render) if render is not None else None,
        notes=preflight.notes,
        problems=preflight.problems,
    )


def model_json(state: ModelState) -> dict[str, Any]:
    """The model as plain data."""
    turns = None if state.turns is None else {**asdict(state.turns), "works": state.turns.works}
    return {**asdict(state), "turns": turns, "works": state.works}


def state_json(state: RecipeState | ModelState) -> dict[str, Any]:
    """The same for ``--json``."""
    from grpokit.compose.plan import plan_json

    if isinstance(state, ModelState):
        return {"format": 1, "model": model_json(state)}
    return {
        "format": 1,
        "works": state.works,
        "model": model_json(state.model),
        "rules": [asdict(each) for each in state.advice],
        "plan": plan_json(state.plan),
    }
