"""A backend beside the textbook's update, on the same weights and the same tokens.

Steps are taken by plain gradient descent on both sides, because Adam's first step is the sign of the
gradient, which turns rounding of a small gradient into a large difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from grpokit.algorithms import build_algorithm
from grpokit.api import Algorithm, Recipe
from grpokit.registry.catalog import Catalog
from grpokit.registry.resolve import create
from grpokit_hf.backend import HfBackend
from plain_updates import Drawn, PlainUpdate, draw, load_plain
from tiny_model import CHATML, LETTERS, SPECIAL, write_tokenizer
from tiny_recipes import tiny_recipe

__all__ = ["FAST", "KINDS", "Case", "Pair", "distance", "error", "write_model"]

FAST = {"packing": True, "tree": True, "products": "onednn", "skip": True}
VOCABULARY = len(SPECIAL) + len(LETTERS)
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "qwen2": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("Qwen3", {"head_dim": 16}),
    "mistral": ("Mistral", {"sliding_window": None}),
    "smollm3": ("SmolLM3", {"no_rope_layers": [1, 0], "use_sliding_window": False}),
    "olmo2": ("Olmo2", {}),
    "phi3": ("Phi3", {"sliding_window": None}),
}
"""Architectures whose rows are packed: what transformers calls them, and what they have of their own."""
LORA = {"rank": 4, "alpha": 8.0}


def write_model(folder: Path, kind: str, **more: Any) -> Path:
    """A random model of two layers whose biases and norms are random too: one that is left out shows."""
    name, own = KINDS[kind]
    settings = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.2,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        **own,
        **more,
    }
    config = getattr(transformers, name + "Config")(**settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = getattr(transformers, name + "ForCausalLM")(config)
        for weight in model.parameters():
            if weight.ndim == 1:
                weight.data += 0.1 * torch.randn(weight.shape)
    model.save_pretrained(folder)
    write_tokenizer(folder, eos="<|im_end|>", pad="<|endoftext|>", template=CHATML, adds_bos=False)
    return folder


@dataclass(frozen=True, kw_only=True)
class Case:
    """An update: model, algorithm and settings; the fast paths unless told otherwise."""

    kind: str
    algorithm: str = "grpo"
    options: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)
    lora: bool = True
    dtype: str = "float32"
    checkpointing: bool = False
    iterations: int = 1
    minibatches: int = 1
    micro_tokens: int = 100_000
    temperature: float = 1.0
    settings: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.kind}-{self.algorithm}-{'lora' if self.lora else 'full'}"

    def recipe(self, folder: Path) -> Recipe:
        return tiny_recipe(
            "hf",
            folder,
            model={
                "dtype": self.dtype,
                "lora": LORA if self.lora else None,
                "gradient_checkpointing": self.checkpointing,
            },
            optim={
                "lr": 0.1,
                "max_grad_norm": 2.0,
                "iterations": self.iterations,
                "minibatches": self.minibatches,
                "micro_tokens": self.micro_tokens,
            },
            backend={"with": {"threads": 1, "device": "cpu", **FAST, **self.settings}},
        )

    def make_algorithm(self) -> Algorithm:
        catalog = Catalog.load()
        base: Algorithm = create(catalog.find("algorithm", self.algorithm), self.options)
        parts = {
            axis: create(catalog.find("algorithm", name), {}) for axis, name in self.parts.items()
        }
        return build_algorithm(base, parts)


class Pair:
    """A backend and the textbook's update, from the same weights."""

    def __init__(self, case: Case, folder: Path, open_backend: Callable[..., HfBackend]) -> None:
        self.case = case
        self.algorithm = case.make_algorithm()
        refers = self.algorithm.needs_reference
        recipe = case.recipe(folder)
        self.backend = open_backend(recipe, needs_reference=refers)
        self.trainer = self.backend.trainer
        weights = self.backend.policy.weights
        self.reference: dict[str, Tensor] | None = None
        if refers:  # of an adapter, B = 0
            self.reference = {
                name: torch.zeros_like(w) if "lora" in name else w.detach().clone()
                for name, w in weights.items()
            }
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():  # LoRA's B begins as 0, where A has no gradient
            for weight in weights.values():
                weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.05)
        self.start = {name: w.detach().clone() for name, w in weights.items()}
        self.trainer.optimizer = torch.optim.SGD(list(weights.values()), lr=0.1)  # type: ignore[assignment]
        half = case.dtype == "bfloat16" and case.lora
        self.model = load_plain(folder, torch.bfloat16 if half else torch.float32)

    def compute_in(self, low: torch.dtype) -> None:
        """Lets a backend that computes in bfloat16 compute in another type of two bytes."""
        policy = self.backend.policy
        if policy.autocast is not None:
            policy.autocast = low
        for weight in policy.model.parameters():
            if weight.dtype == torch.bfloat16:
                weight.data = weight.data.to(low)

    def draw(self, seed: int, **shape: Any) -> Drawn:
        options = {"vocabulary": VOCABULARY, "temperature": self.case.temperature, **shape}
        return draw(self.algorithm, seed, **options)

    def fast(self, drawn: Drawn) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Gradients of the optimiser steps and how far the weights moved."""
        caught: list[dict[str, Tensor]] = []
        weights = self.backend.policy.weights
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(self.start[name])

        def catch(*_: Any) -> None:
            caught.append(
                {
                    name: torch.zeros_like(w) if w.grad is None else w.grad.clone()
                    for name, w in weights.items()
                }
            )

        handle = self.trainer.optimizer.register_step_pre_hook(catch)
        update = self.backend.update(
            self.algorithm.loss, drawn.rollout, drawn.advantages, drawn.selection, 1
        )
        handle.remove()
        assert update.optimizer_steps == len(caught)
        return caught, {name: w.detach() - self.start[name] for name, w in weights.items()}

    def plain(self, drawn: Drawn) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        update = PlainUpdate(
            model=self.model,
            algorithm=self.algorithm,
            weights=dict(self.start),
            scale=LORA["alpha"] / LORA["rank"],
            lr=0.1,
            max_norm=2.0,
            reference=self.reference,
        )
        update.run(drawn, iterations=self.case.iterations, parts=self.case.minibatches, seed=7)
        return update.gradients, {
            name: value - self.start[name] for name, value in update.weights.items()
        }


def distance(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> float:
    """The largest relative difference of a parameter; of one that hardly counts, in thousandths of all."""
    floor = 1e-3 * norm(theirs)
    return max(
        norm({name: ours[name] - value}) / max(norm({name: value}), floor, 1e-30)
        for name, value in theirs.items()
    )


def error(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> float:
    """The relative difference of a gradient as one vector."""
    return norm({name: ours[name] - value for name, value in theirs.items()}) / norm(theirs)


def norm(values: Mapping[str, Tensor]) -> float:
    return torch.stack([value.double().norm() for value in values.values()]).norm().item()
