"""Contestants times seeds: what would run, checked as a whole before anything does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpokit.bench.contestants import Contestant
from grpokit.compose.load import load_recipe
from grpokit.compose.plan import make_plan, plan_json, problem_lines
from grpokit.engine.rundir import flatten
from grpokit.errors import GrpokitError, PreflightError, RecipeError

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog
    from grpokit.spec.plan import Plan
    from grpokit.spec.recipe import Recipe

__all__ = ["Cell", "Matrix", "make_matrix", "refuse_own_keys"]

OWN_KEYS = ("algorithm", "train.seed", "train.out", "extends")
"""What the bench decides itself."""
REMEDY = "correct them, or leave the algorithms out of --algorithms"
WATCHING = (
    "summary",
    "train.out",
    "train.show_every",
    "train.on_finding",
    "train.save_rollouts",
    "train.save_every",
    "train.keep",
    "eval.",
    "callbacks",
)
"""Keys (and prefixes ending in a dot) that change nothing of what a run learns."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run: a contestant with one seed.

    Attributes:
        recipe: checked, with every default.
        plan: what the run directory keeps in ``plan.json``.
        folder: of the run; its name ends with a hash of all that decides what the run learns.
    """

    contestant: Contestant
    seed: int
    recipe: Recipe
    plan: dict[str, Any]
    folder: Path


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """The whole comparison.

    Attributes:
        name: of the recipe.
        overrides: those that hold for all contestants.
        cells: seed by seed, so that an interrupted bench has compared what it has.
        notes: warnings of the plans, once each.
    """

    name: str
    overrides: tuple[str, ...]
    contestants: tuple[Contestant, ...]
    seeds: tuple[int, ...]
    cells: tuple[Cell, ...]
    folder: Path
    notes: tuple[str, ...]

    @property
    def recipe(self) -> Recipe:
        """That of the first cell: all cells share model, data and evaluation."""
        return self.cells[0].recipe


def make_matrix(
    name: str,
    contestants: Sequence[Contestant],
    *,
    seeds: int,
    overrides: Sequence[str],
    folder: Path,
    catalog: Catalog,
    remedy: str = REMEDY,
) -> Matrix:
    """Loads and plans the recipe once a contestant.

    Args:
        name: of the recipe.
        contestants: in the order of the table; the first is what the others are compared with.
        seeds: how many, from the recipe's seed on.
        overrides: of the recipe, for all.
        folder: where the runs stand.
        catalog: what is installed.
        remedy: said where some contestants cannot run.

    Raises:
        RecipeError: the overrides are the bench's own business, or a recipe is wrong.
        PreflightError: a plan refuses a contestant. All problems of all contestants come at once.
    """
    refuse_own_keys(
        overrides,
        OWN_KEYS,
        "name settings with the algorithm (--algorithms grpo:epsilon=0.1), "
        "the number of seeds with --seeds, the folder with --out",
    )
    loaded = load_recipe(name, overrides=overrides, catalog=catalog)  # its mistakes are its own
    _refuse_processes(loaded.recipe)
    drafts = _plans(name, contestants, overrides, catalog, remedy)
    first = drafts[0][1]
    numbers = tuple(first.recipe.train.seed + offset for offset in range(seeds))
    return Matrix(
        name=first.name,
        overrides=tuple(overrides),
        contestants=tuple(contestants),
        seeds=numbers,
        cells=tuple(
            _cell(contestant, seed, plan, folder) for seed in numbers for contestant, plan in drafts
        ),
        folder=folder,
        notes=_notes(drafts),
    )


def _plans(
    name: str,
    contestants: Sequence[Contestant],
    overrides: Sequence[str],
    catalog: Catalog,
    remedy: str,
) -> list[tuple[Contestant, Plan]]:
    """The plan of each contestant, or one error with what is wrong with any of them."""
    drafts: list[tuple[Contestant, Plan]] = []
    wrong: dict[str, list[Contestant]] = {}
    refused = False
    for contestant in contestants:
        try:
            loaded = load_recipe(
                name, overrides=[*overrides, *contestant.overrides], catalog=catalog
            )
        except RecipeError as error:
            for line in error.problems or (str(error),):
                wrong.setdefault(line, []).append(contestant)
            continue
        plan = make_plan(loaded, catalog)
        lines = problem_lines(plan.errors)
        if loaded.recipe.eval.dataset is None:
            lines += ("eval.dataset: the recipe names no held-out data set; add one to `eval`",)
        for line in lines:
            refused = True
            wrong.setdefault(line, []).append(contestant)
        drafts.append((contestant, plan))
    if wrong:
        kind = PreflightError if refused else RecipeError
        raise _refusal(kind, wrong, len(contestants), remedy)
    return drafts


def refuse_own_keys(overrides: Sequence[str], own: Sequence[str], remedy: str) -> None:
    """Values that a bench decides itself are not taken from ``--set``.

    Raises:
        RecipeError: one of them is set.
    """
    for text in overrides:
        key = text.partition("=")[0].strip()
        if any(key == each or key.startswith(f"{each}.") for each in own):
            raise RecipeError(f"{key} is the bench's own business", place="--set", remedy=remedy)


def _refuse_processes(recipe: Recipe) -> None:
    count = recipe.train.processes
    if count > 1:
        raise PreflightError(
            f"the recipe asks for {count} processes, and the bench trains in one",
            place="train.processes",
            remedy="add --set train.processes=1",
        )


def _refusal(
    kind: type[PreflightError | RecipeError],
    wrong: dict[str, list[Contestant]],
    count: int,
    remedy: str,
) -> GrpokitError:
    """Each problem once, with the contestants that have it."""
    lines = tuple(
        line if len(owners) == count else f"{', '.join(o.label for o in owners)}: {line}"
        for line, owners in wrong.items()
    )
    plural = "s" if len(lines) > 1 else ""
    return kind(
        f"the comparison cannot run: {len(lines)} problem{plural}; nothing was trained",
        place="grpokit bench",
        remedy=remedy,
        problems=lines,
    )


def _notes(drafts: Sequence[tuple[Contestant, Plan]]) -> tuple[str, ...]:
    found: dict[str, list[str]] = {}
    for contestant, plan in drafts:
        warnings = [problem for problem in plan.findings if problem.level == "warning"]
        for line in problem_lines(warnings):
            found.setdefault(line, []).append(contestant.label)
    return tuple(
        line if len(owners) == len(drafts) else f"{', '.join(owners)}: {line}"
        for line, owners in found.items()
    )


def _cell(contestant: Contestant, seed: int, plan: Plan, folder: Path) -> Cell:
    recipe = plan.recipe
    train = recipe.train.model_copy(update={"seed": seed, "out": str(folder / "runs")})
    seeded = replace(plan, recipe=recipe.model_copy(update={"train": train}))
    data = plan_json(seeded)
    name = f"{contestant.slug[:40]}-seed{seed}-{_fingerprint(seeded.recipe, data)}"
    return Cell(
        contestant=contestant,
        seed=seed,
        recipe=seeded.recipe,
        plan=data,
        folder=folder / "runs" / name,
    )


def _fingerprint(recipe: Recipe, plan: dict[str, Any]) -> str:
    """Equal for two runs that would learn the same on one machine."""
    values = flatten(recipe.model_dump(mode="json", by_alias=True))
    kept = {key: value for key, value in values.items() if not _watches(key)}
    components = [
        (c["role"], c["id"], c["version"], c["source_hash"])
        for c in plan["components"]
        if not c["role"].startswith(("eval ", "callback "))
    ]
    text = json.dumps([kept, components, plan["dataset_fingerprint"]], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _watches(key: str) -> bool:
    return any(key == each or (each.endswith(".") and key.startswith(each)) for each in WATCHING)
