"""What a checked recipe will do, before anything heavy is loaded. Written to ``plan.json``."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from grpokit.spec.contracts import Problem
from grpokit.spec.recipe import Recipe

__all__ = ["Arithmetic", "ColumnUse", "ComponentRecord", "MemoryEstimate", "Plan", "RewardTrial"]


@dataclass(frozen=True, kw_only=True)
class ComponentRecord:
    """One component of the plan: resume, eval and compare see when it changed."""

    role: str
    kind: str
    id: str
    plugin: str
    distribution: str
    version: str
    source_hash: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """Numbers of the run that follow from the recipe."""

    steps: int
    prompts_per_step: int
    completions_per_step: int
    questions: int
    completions: int
    max_new_tokens: int
    optimizer_steps: int
    rows: int | None
    epochs: float | None


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Bytes by part for one process, and where they come from.

    Attributes:
        training: parts that are held only while the model trains.
        sampling: parts that are held only while completions are sampled.
        shortage: why an engine could not start with what it is given; empty if it can.
    """

    parts: Mapping[str, int]
    notes: tuple[str, ...] = ()
    training: frozenset[str] = frozenset({"gradients", "activations", "logits"})
    sampling: frozenset[str] = frozenset({"kv_cache"})
    shortage: str = ""

    @property
    def total(self) -> int:
        return sum(self.parts.values())

    @property
    def peak(self) -> int:
        """Generation and training take turns: the lasting parts plus the larger of the two."""
        lasting = self._sum(self.parts.keys() - self.training - self.sampling)
        return lasting + max(self._sum(self.training), self._sum(self.sampling))

    def _sum(self, names: AbstractSet[str]) -> int:
        return sum(self.parts.get(name, 0) for name in names)


@dataclass(frozen=True, kw_only=True)
class RewardTrial:
    """What one reward says about one real row: the gold answer and a wrong one."""

    reward: str
    row: int
    gold: float | None
    wrong: float | None
    completion: str
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class ColumnUse:
    """What one reward asks for: facts of the completion, columns, and which are not there."""

    reward: str
    asks: tuple[str, ...]
    columns: tuple[str, ...]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A recipe, resolved against the installed components.

    Attributes:
        rendered: the first row's prompt as the model will read it; the messages without a model.
        columns: of the data set, after mapping.
        way: how the gold answer was written in the reward trials (see ``compose.trials``).
        device: where the model would run, in the backend's words.
        notes: what the backend repaired or wants to be known (end-of-turn token, template).
        memory_available: bytes that the device has free, None where that is not known.
        disk: bytes of the run directory by part, at their upper bound.
    """

    recipe: Recipe
    name: str
    components: tuple[ComponentRecord, ...]
    arithmetic: Arithmetic
    memory: MemoryEstimate | None
    trials: tuple[RewardTrial, ...]
    rendered: str
    rendered_tokens: int | None
    findings: tuple[Problem, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    dataset_fingerprint: str = ""
    columns: tuple[str, ...] = ()
    uses: tuple[ColumnUse, ...] = ()
    way: str = ""
    device: str = ""
    notes: tuple[str, ...] = ()
    memory_available: int | None = None
    disk: Mapping[str, int] = field(default_factory=dict)
    disk_free: int | None = None

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.findings if problem.level == "error")
