"""Small data sets, rewards and a backend's preflight, and a catalog that has nothing else.

Rewards run in worker processes, so they stand in a module of their own.
"""

from __future__ import annotations

import re
from typing import Any

from grpokit.builtins.algorithms import SPECS
from grpokit.errors import PreflightError
from grpokit.registry.catalog import Catalog
from grpokit.registry.record import PluginRecord
from grpokit.spec.components import BackendSpec, ComponentSpec, DatasetSpec, RewardSpec
from grpokit.spec.config import Config
from grpokit.spec.contracts import Preflight, Problem

SUMS = [{"question": f"What is {a} + 3?", "answer": str(a + 3), "level": a} for a in range(40)]


class SumsConfig(Config):
    start: int = 0
    stop: int = 40
    drop: str = ""
    bad: int | None = None


class Sums:
    """Rows ``start`` to ``stop`` of a table of additions; a column may be dropped."""

    def __init__(self, config: SumsConfig) -> None:
        self.config = config
        self.rows = [
            {key: value for key, value in row.items() if key != config.drop}
            for row in SUMS[config.start : config.stop]
        ]

    @property
    def size(self) -> int:
        return len(self.rows)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.rows[0])

    @property
    def fingerprint(self) -> str:
        return f"sums-{self.config.start}-{self.config.stop}-{self.config.drop}"

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index == self.config.bad:
            raise PreflightError("line 8 is no JSON", place="sums.jsonl:8", remedy="repair it")
        return self.rows[index]


def boxed(completion: str, answer: str) -> float | None:
    found = re.findall(r"\\boxed\{([^{}]*)\}", completion)
    return float(bool(found) and found[-1].strip() == answer)


def last_number(completion: str, answer: str) -> float:
    found = re.findall(r"-?\d+", completion)
    return float(bool(found) and found[-1] == answer)


def constant(completion: str) -> float:
    return 0.5


def abstains(completion: str) -> None:
    return None


def raises_on_some(completion: str, level: int) -> float:
    if level % 10 == 7:
        raise KeyError("unit")
    return 1.0


def nan(completion: str) -> float:
    return float("nan")


def wants_solution(completion: str, solution: str) -> float:
    return float(solution in completion)


def preflight(recipe: Any) -> Preflight:
    """Knows the model ``toy``; any other is missing."""
    if recipe.model.id != "toy":
        problem = Problem(
            level="error",
            fact=f"{recipe.model.id} is not on this machine",
            remedy="run `fetch it`",
            code="T001",
            key="model.id",
        )
        return Preflight(problems=(problem,), device="cpu (2 cores)")
    return Preflight(
        dimensions={
            "vocab_size": 100,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 256,
        },
        device="cpu (2 cores)",
        versions={"toy": "1.0"},
        render=lambda messages: "".join(f"<{m['role']}>{m['content']}" for m in messages),
        count=len,
        notes=("the tokenizer names <x> as the end, but it opens turns",),
    )


def rejecting_preflight(recipe: Any) -> Preflight:
    def render(messages: Any) -> str:
        raise PreflightError("the template wants alternating roles", remedy="set chat_template")

    return Preflight(render=render, count=len)


REWARDS = (
    "boxed",
    "last_number",
    "constant",
    "abstains",
    "raises_on_some",
    "nan",
    "wants_solution",
)


def toy_catalog(*more: ComponentSpec) -> Catalog:
    """A catalog with core's algorithms, the parts of this module and ``more``."""
    specs = (
        *SPECS,
        *more,
        DatasetSpec(
            name="sums",
            summary="Additions.",
            target="toy_parts:Sums",
            config="toy_parts:SumsConfig",
        ),
        *(
            RewardSpec(name=name.replace("_", "-"), summary="Toy.", target=f"toy_parts:{name}")
            for name in REWARDS
        ),
        BackendSpec(
            name="toy", summary="Toy.", target="toy_parts:none", preflight="toy_parts:preflight"
        ),
        BackendSpec(
            name="rejecting",
            summary="Toy.",
            target="toy_parts:none",
            preflight="toy_parts:rejecting_preflight",
        ),
    )
    record = PluginRecord(
        name="grpokit",
        distribution="grpokit-toy",
        version="1.2.3",
        module="toy_parts",
        state="loaded",
        specs=specs,
    )
    return Catalog((record,))
