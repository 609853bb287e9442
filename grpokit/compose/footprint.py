"""How much memory a run needs, by part, from the sizes of the model and the facts of its backend.

Exact up to small tensors: weights (packed ones too), adapter, gradients, optimiser, reference, casts,
logits, KV cache, and an engine's share. Approximate (within about a factor of 1.5): activations,
which depend on what the kernels keep, and what FSDP gathers. Not counted: the Python process with its
libraries (about 1 GiB), a CUDA context, and the allocator's slack.

Everything is bytes of one process. Parts that processes divide are 1/N each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from grpokit.compose.dimensions import Dimensions, parameters, read_dimensions
from grpokit.compose.memory import (
    activation_bytes,
    format_bytes,
    gathered_bytes,
    kv_cache_bytes,
    logits_bytes,
    model_dtype,
    trainable,
    training_shape,
    unpacked_bytes,
    weight_bytes,
)
from grpokit.spec.memory import MemoryFacts
from grpokit.spec.plan import MemoryEstimate
from grpokit.spec.recipe import Recipe

__all__ = ["Footprint", "estimate"]

WIDTH = {"float32": 4, "bfloat16": 2}
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")
PROMPT_TOKENS = 256
"""Length of a prompt where nothing is known about it."""


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """The parts of one recipe on one backend.

    Attributes:
        prompt_tokens: of the longest prompt that was seen; None where none was.
        device: bytes of the whole device, of which an engine takes a share; None where not known.
        experts: the model is a mixture of experts.
    """

    recipe: Recipe
    dims: Dimensions
    facts: MemoryFacts
    prompt_tokens: int | None = None
    needs_reference: bool = False
    shared_prefix: bool = False
    device: int | None = None
    experts: bool = False

    @property
    def lora(self) -> bool:
        return self.recipe.model.lora is not None

    @property
    def width(self) -> int:
        """Bytes of a number where the model computes."""
        return WIDTH[model_dtype(self.recipe)]

    @property
    def processes(self) -> int:
        return self.recipe.train.processes

    @property
    def prompt(self) -> int:
        return self.prompt_tokens or self.recipe.rollout.max_prompt_tokens or PROMPT_TOKENS

    @cached_property
    def shape(self) -> tuple[int, int]:
        return training_shape(self.recipe, self.prompt, shared=self.shared_prefix)

    @property
    def together(self) -> int:
        """Completions of one process that are sampled at once; whole groups are its share."""
        rollout = self.recipe.rollout
        own = math.ceil(rollout.prompts / self.processes) * rollout.group
        return min(own, self.facts.generate_rows)

    @property
    def piece(self) -> int:
        """Tokens whose logits are held at once."""
        whole = self.shape[0] * self.recipe.rollout.max_tokens
        return whole if self.facts.logit_rows is None else min(self.facts.logit_rows, whole)

    @cached_property
    def weights(self) -> int:
        """The undivided model; weights that train are kept in float32."""
        if not self.lora:
            return weight_bytes(self.dims, width=4)
        return weight_bytes(self.dims, width=self.width, packed=self.facts.packed)

    def cache(self, rows: int) -> int:
        """Keys and values of ``rows`` sequences of full length."""
        return kv_cache_bytes(
            layers=self.dims.layers,
            kv_width=self.dims.kv_width,
            tokens=self.prompt + self.recipe.rollout.max_tokens,
            rows=rows,
            width=self.facts.cache_width or self.width,
        )

    def lasting(self) -> dict[str, int]:
        """What is held all the time."""
        train, every = trainable(self.recipe, self.dims), parameters(self.dims)
        packed = self.lora and self.facts.packed is not None
        return {
            "weights": self.weights,
            "unpacked": unpacked_bytes(self.dims, width=self.width) if packed else 0,
            "casts": 0 if self.lora or self.width == 4 else every * self.width,
            "adapter": train * 4 if self.lora else 0,
            "optimizer": 2 * train * 4,
            "reference": every * 4 if self.needs_reference and not self.lora else 0,
            "gradient_copies": self.facts.gradient_copies * train * 4,
        }

    def training(self) -> dict[str, int]:
        """What is held while the model trains."""
        split = "weights" in self.facts.divided and self.processes > 1
        kept = self.width if self.lora else 4
        return {
            "gradients": trainable(self.recipe, self.dims) * 4,
            "gathered": gathered_bytes(self.dims, width=kept, trained=not self.lora)
            if split
            else 0,
            "activations": activation_bytes(
                self.dims,
                tokens=self.shape[1],
                width=self.width,
                checkpointing=self.recipe.model.gradient_checkpointing,
                adapter=self.lora,
                offloads=self.facts.offloads,
            ),
            "logits": logits_bytes(
                rows=1, tokens=self.piece, vocab=self.dims.vocab, width=4, copies=2
            ),
        }

    def sampling(self) -> dict[str, int]:
        """What is held while completions are sampled: nothing of ours where an engine samples."""
        if self.facts.sampler is not None:
            return {"kv_cache": 0}
        whole = 0
        if "weights" in self.facts.divided:  # shards are put together for the time of sampling
            whole = self.weights - self.weights // self.processes
        return {"kv_cache": self.cache(self.together), "whole_weights": whole}

    def engine_least(self) -> int:
        """Without it an engine cannot start: its weights, and the cache of one full sequence."""
        packed = self.facts.packed if self.lora else None
        return weight_bytes(self.dims, width=self.width, packed=packed) + self.cache(1)

    def engine(self) -> int:
        """What the engine adds to the policy's own weights.

        share * device, or where the device or the share is not known the least that it needs; with
        a cache in bytes, copies of the weights and that. Less the weights where they are the policy's own.
        """
        sampler = self.facts.sampler
        if sampler is None or sampler.elsewhere:
            return 0
        if sampler.cache:
            taken = sampler.copies * (self.engine_least() - self.cache(1)) + sampler.cache
        elif sampler.share is None or self.device is None:
            taken = self.engine_least()
        else:
            taken = int(sampler.share * self.device)
        return max(0, taken - (self.weights if sampler.same_weights else 0))

    def shortage(self) -> str:
        """Why the engine could not start, where its share and the device are known."""
        sampler = self.facts.sampler
        if sampler is None or not sampler.share or self.device is None:
            return ""
        given, least = int(sampler.share * self.device), self.engine_least()
        if given >= least:
            return ""
        return (
            f"{sampler.share:.0%} of {format_bytes(self.device)} is {format_bytes(given)} for the "
            f"engine; its weights and the cache of one completion need {format_bytes(least)}"
        )

    def estimate(self) -> MemoryEstimate:
        sampler = self.facts.sampler
        lasting, training, sampling = self.lasting(), self.training(), self.sampling()
        (sampling if sampler and sampler.sleeps else lasting)["engine"] = self.engine()
        parts = {
            name: math.ceil(size / self.processes) if name in self.facts.divided else size
            for name, size in (lasting | training | sampling).items()
        }
        return MemoryEstimate(
            parts=parts,
            training=frozenset(training),
            sampling=frozenset(sampling),
            notes=self.notes(),
            shortage=self.shortage(),
        )

    def notes(self) -> tuple[str, ...]:
        """What the numbers were made from."""
        rows, positions = self.shape
        length = self.prompt + self.recipe.rollout.max_tokens
        whole = logits_bytes(
            rows=rows, tokens=length, vocab=self.dims.vocab, width=self.width, copies=2
        )
        sampled = "" if self.facts.sampler else f"; {self.together} completions sampled at once"
        held = (
            f"log-probabilities are computed {self.piece} tokens at a time; all at once the logits "
            f"would take {format_bytes(whole)}"
        )
        turns = (
            "activations are approximate; gradients, activations and logits are not held while "
            "completions are sampled"
        )
        return (
            f"micro-batch of {rows} rows, {positions:,} positions{sampled}",
            *((held,) if self.facts.logit_rows is not None else ()),
            turns,
            *self._engine_notes(),
            *self._process_notes(),
            *(
                ()
                if self.prompt_tokens
                else (f"prompt length unknown: {self.prompt} tokens assumed",)
            ),
            *(("mixture of experts: only one expert is counted",) if self.experts else ()),
        )

    def _engine_notes(self) -> tuple[str, ...]:
        sampler = self.facts.sampler
        if sampler is None:
            return ()
        if sampler.elsewhere:
            return ("a server samples; its memory is not counted",)
        if sampler.cache:
            twice = (
                ", which lie in memory once more on their way to it," if sampler.copies > 1 else ""
            )
            return (f"engine: its weights{twice} and {format_bytes(sampler.cache)} of cache",)
        if sampler.share is None or self.device is None:
            why = "it chooses its share" if sampler.share is None else "the GPU's size is not known"
            return (f"engine: {why}; its weights and the cache of one completion are counted",)
        taken = f"engine: {sampler.share:.0%} of {format_bytes(self.device)}"
        return (f"{taken}, the weights that train among it" if sampler.same_weights else taken,)

    def _process_notes(self) -> tuple[str, ...]:
        if self.processes == 1:
            return ()
        count, divided = self.processes, ", ".join(sorted(self.facts.divided)) or "nothing"
        held = f"sizes are those of one of {count} processes; they divide {divided} among them"
        return (f"{held}, and on a CPU take {count} times this from one memory",)


def estimate(
    recipe: Recipe,
    config: Mapping[str, Any],
    *,
    facts: MemoryFacts | None = None,
    prompt_tokens: int | None = None,
    needs_reference: bool = False,
    shared_prefix: bool = False,
    device: int | None = None,
) -> MemoryEstimate | None:
    """Bytes by part; None if ``config`` (names of a ``config.json``) lacks the model's sizes.

    Generation and training take turns, so the peak is the lasting parts plus the larger of the
    two; ``MemoryEstimate.peak`` computes it.
    """
    dims = read_dimensions(config)
    if dims is None:
        return None
    return Footprint(
        recipe=recipe,
        dims=dims,
        facts=facts or MemoryFacts(),
        prompt_tokens=prompt_tokens,
        needs_reference=needs_reference,
        shared_prefix=shared_prefix,
        device=device,
        experts=any(key in config for key in EXPERTS),
    ).estimate()
