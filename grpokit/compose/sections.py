"""The sections of a recipe that are right by themselves, also when others are not.

Rules between values run on these, so that an impossible combination is told together with a
wrong value elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel

from grpokit.compose.check import validate
from grpokit.compose.diagnostics import Report
from grpokit.compose.nodes import Node, Path, at
from grpokit.spec.recipe import (
    AlgorithmSection,
    BackendSection,
    DatasetSection,
    EvalSection,
    ModelSection,
    OptimSection,
    PromptSection,
    Recipe,
    RewardSection,
    RolloutSection,
    TrainSection,
)

__all__ = ["Sections"]

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class Sections:
    """Each section, or None where it is wrong."""

    tree: Node
    model: ModelSection | None
    dataset: DatasetSection | None
    prompt: PromptSection | None
    rewards: list[RewardSection] | None
    algorithm: AlgorithmSection | None
    rollout: RolloutSection | None
    optim: OptimSection | None
    backend: BackendSection | None
    train: TrainSection | None
    eval: EvalSection | None

    @classmethod
    def of(cls, tree: Node, recipe: Recipe | None) -> Sections:
        """From the checked recipe, or section by section where it is wrong."""
        if recipe is not None:
            names = [name for name in cls.__dataclass_fields__ if name != "tree"]
            return cls(tree=tree, **{name: getattr(recipe, name) for name in names})
        return cls(
            tree=tree,
            model=_section(tree, ("model",), ModelSection),
            dataset=_section(tree, ("dataset",), DatasetSection),
            prompt=_section(tree, ("prompt",), PromptSection),
            rewards=_rewards(tree),
            algorithm=_section(tree, ("algorithm",), AlgorithmSection),
            rollout=_section(tree, ("rollout",), RolloutSection),
            optim=_section(tree, ("optim",), OptimSection),
            backend=_section(tree, ("backend",), BackendSection),
            train=_section(tree, ("train",), TrainSection),
            eval=_section(tree, ("eval",), EvalSection),
        )

    def written(self, key: str) -> bool:
        """Whether the recipe itself says ``section.key``, rather than leaving the default."""
        return at(self.tree, tuple(key.split("."))) is not None


def _section(tree: Node, path: Path, model: type[M]) -> M | None:
    node = at(tree, path) or Node({}, tree.mark)
    return validate(model, node, Report())


def _rewards(tree: Node) -> list[RewardSection] | None:
    node = at(tree, ("rewards",))
    if node is None or not isinstance(node.value, list) or not node.value:
        return None
    items = [_section(tree, ("rewards", index), RewardSection) for index in range(len(node.value))]
    right = [item for item in items if item is not None]
    return right if len(right) == len(items) else None
