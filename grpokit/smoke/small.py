"""The recipe that a smoke run trains: small, on a CPU, and otherwise the user's.

Data, prompt, rewards, algorithm and parts stay as they are, with all their settings. The size of a step
goes down as far as the recipe's own rules allow: a setting that fits no smaller step keeps the larger.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from grpokit.compose.load import load_recipe, resolved
from grpokit.compose.write import to_yaml
from grpokit.engine.rundir import flatten
from grpokit.errors import PreflightError, RecipeError
from grpokit.registry.resolve import resolve
from grpokit.spec.components import BackendSpec
from grpokit.spec.contracts import Preflight
from grpokit.spec.recipe import RewardSection

if TYPE_CHECKING:
    from grpokit.compose.load import Loaded
    from grpokit.registry.catalog import Catalog
    from grpokit.spec.recipe import Recipe

__all__ = ["FILE", "MODEL", "STEPS", "Small", "small_recipe"]

MODEL = "tiny-random"
FALLBACK = "hf"
FILE = "smoke.yaml"
STEPS = 2
PROMPTS, GROUP, TOKENS = 2, 16, 128
"""A step's size where the recipe's is larger; a token of the tiny model is a byte."""
QUESTIONS, ANSWERS = 2, 2
"""Of the evaluation."""
MODULES = frozenset({"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"})
OURS = (
    *("summary", "rewards", "eval.rewards", "callbacks"),
    *("train.steps", "train.out", "train.save_every", "train.keep", "train.show_every"),
    *("train.save_rollouts", "scoring.overlap"),
)
"""Keys of which a note tells, or nobody needs to hear."""


@dataclass(frozen=True, kw_only=True)
class Small:
    """A checked recipe of a smoke run.

    Attributes:
        changed: key -> (the recipe's value, the smoke run's).
        notes: what was left out or replaced, and why.
    """

    loaded: Loaded
    changed: dict[str, tuple[Any, Any]]
    notes: tuple[str, ...]

    @property
    def recipe(self) -> Recipe:
        return self.loaded.recipe


def small_recipe(loaded: Loaded, catalog: Catalog, folder: Path) -> Small:
    """Writes the small recipe into ``folder`` and checks it.

    Raises:
        PreflightError: nothing is left to train with, or there is no tiny model.
        RecipeError: the parts do not go together on the backend that takes the recipe's place.
    """
    if not catalog.matches("model", MODEL):
        raise PreflightError(
            f"there is no model {MODEL}",
            place="grpokit train --smoke",
            remedy="run `pip install grpokit-hf`",
        )
    notes: list[str] = []
    recipe = loaded.recipe
    data = copy.deepcopy(loaded.data)
    data["model"] = _model(recipe)
    data["backend"] = _settings(recipe, catalog, recipe.backend.use)
    _leave_paid(data, recipe, catalog, notes)
    if data.pop("callbacks", None):
        notes.append("callbacks are left out")
    data["eval"] = _eval(recipe, data.get("eval") or {})
    data["optim"] = {**(data.get("optim") or {}), **_warmup(recipe)}
    data["scoring"] = {**(data.get("scoring") or {}), "overlap": False}
    data["train"] = {
        "seed": recipe.train.seed,
        "steps": STEPS,
        "save_every": 1,
        "keep": STEPS,
        "out": str(folder),
        "show_every": 0,
    }
    found = _smallest(data, recipe, catalog, folder)
    why = _cannot(found.recipe, catalog)
    if why:
        notes.append(f"the backend {FALLBACK} in place of {recipe.backend.use}: {why}")
        data["backend"] = _settings(recipe, catalog, FALLBACK)
        found = _smallest(data, recipe, catalog, folder)
    before, after = flatten(resolved(loaded)), flatten(resolved(found))
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return Small(
        loaded=replace(found, name=loaded.name),
        changed={key: (before.get(key), after.get(key)) for key in keys if key not in OURS},
        notes=tuple(notes),
    )


def _model(recipe: Recipe) -> dict[str, Any]:
    """The tiny model with the recipe's adapter, where it has one."""
    section = recipe.model
    lora = section.lora and section.lora.model_dump(mode="json")
    if lora and not (isinstance(lora["targets"], list) and MODULES.issuperset(lora["targets"])):
        lora["targets"] = "all-linear"
    return {
        "id": MODEL,
        "dtype": "float32",
        "lora": lora,
        "gradient_checkpointing": section.gradient_checkpointing,
    }


def _settings(recipe: Recipe, catalog: Catalog, name: str) -> dict[str, Any]:
    """The backend with what makes it run here; as it is if it does not say."""
    spec = cast("BackendSpec", catalog.find("backend", name).spec)
    own = recipe.backend.with_ if name == recipe.backend.use else {}
    return {"use": name, "with": {**own, **dict(spec.smoke or ())}}


def _cannot(recipe: Recipe, catalog: Catalog) -> str:
    """Why the recipe's backend cannot train a tiny model here; empty if it can."""
    entry = catalog.find("backend", recipe.backend.use)
    spec = cast("BackendSpec", entry.spec)
    if recipe.backend.use == FALLBACK:
        return ""
    if spec.smoke is None:
        return "it does not say how it would train a tiny model on a CPU"
    if "correction" in recipe.algorithm.parts and "token-statistics" not in spec.provides:
        return "it cannot say how likely written completions are, and the part `correction` asks"
    if not spec.preflight:
        return ""
    preflight: Preflight = resolve(spec.preflight, entry)(recipe)
    errors = [problem.fact for problem in preflight.problems if problem.level == "error"]
    return errors[0] if errors else ""


def _leave_paid(data: dict[str, Any], recipe: Recipe, catalog: Catalog, notes: list[str]) -> None:
    """Rewards whose calls cost money are nobody's to ask unasked."""

    def costs(section: RewardSection) -> bool:
        return bool(getattr(catalog.find("reward", section.use).spec, "paid", False))

    names = [section.use for section in recipe.rewards if costs(section)]
    held_out = recipe.eval.rewards or []
    if not names and not any(map(costs, held_out)):
        return
    data["rewards"] = _without(data["rewards"], recipe.rewards, costs)
    if held_out:
        data["eval"]["rewards"] = _without(data["eval"]["rewards"], held_out, costs)
    if not any(section.weight for section in recipe.rewards if not costs(section)):
        raise PreflightError(
            f"calls of {', '.join(names)} cost money, and no other reward trains",
            place="rewards",
            remedy="add one that costs nothing for this run, such as "
            "--set 'rewards=[{use: length}]'; `grpokit rewards try` asks the paid one",
        )
    notes.append(f"not exercised: {', '.join(names)}, whose calls cost money")


def _without(data: list[Any], sections: list[RewardSection], costs: Any) -> list[Any]:
    return [each for each, section in zip(data, sections, strict=True) if not costs(section)]


def _eval(recipe: Recipe, data: dict[str, Any]) -> dict[str, Any]:
    """A few questions after training; none in between."""
    section = recipe.eval
    samples = min(ANSWERS, section.samples)
    few = {"every": None, "samples": samples, "limit": min(QUESTIONS, section.limit or QUESTIONS)}
    if section.pass_at and max(section.pass_at) > samples:
        few["pass_at"] = None
    if section.max_tokens:
        few["max_tokens"] = min(TOKENS, section.max_tokens)
    return {**data, **few}


def _warmup(recipe: Recipe) -> dict[str, Any]:
    """A warm-up of more steps than there are would be refused."""
    return {"warmup": 0.0} if recipe.optim.warmup >= 1 else {}


def _smallest(data: dict[str, Any], recipe: Recipe, catalog: Catalog, folder: Path) -> Loaded:
    """The smallest step that the recipe's own rules allow; the recipe's, with its error, if none is."""
    path = folder / FILE
    for last, (tokens, group, prompts) in _shapes(recipe):
        size = {
            "prompts": prompts,
            "group": group,
            "max_tokens": tokens,
            "max_prompt_tokens": None,  # a token is a byte
            "staleness": 0,
            "temperature": 1.0,  # at which a backend can say how probable a text is
        }
        shaped = {**data, "rollout": {**(data.get("rollout") or {}), **size}}
        path.write_text(to_yaml(shaped), encoding="utf-8")
        try:
            return load_recipe(str(path), catalog=catalog)
        except RecipeError:
            if last:
                raise
    raise AssertionError(path)


def _shapes(recipe: Recipe) -> Iterator[tuple[bool, tuple[int, int, int]]]:
    """Tokens, completions and prompts of a step, small ones first, and whether it is the last one."""
    rollout = recipe.rollout
    tokens = dict.fromkeys(
        max(TOKENS, min(most, rollout.max_tokens))
        for most in (TOKENS, 4 * TOKENS, 16 * TOKENS, rollout.max_tokens)
    )
    groups = dict.fromkeys((min(GROUP, rollout.group), rollout.group))
    few = range(min(PROMPTS, rollout.prompts), min(rollout.prompts, 4 * PROMPTS) + 1)
    prompts = dict.fromkeys((*few, rollout.prompts))
    found = list(product(tokens, groups, prompts))
    for place, shape in enumerate(found):
        yield place == len(found) - 1, shape
