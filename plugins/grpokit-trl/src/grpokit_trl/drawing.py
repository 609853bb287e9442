"""Prompts become completions through TRL's own generation, whichever it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from grpokit.api import Prompt, Sampling, ShouldStop, derive_seed

__all__ = ["Drawn", "draw", "set_sampling"]


@dataclass(frozen=True)
class Drawn:
    """One completion. ``logprobs`` are the sampler's, where it says them."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...] | None


def draw(
    trainer: Any,
    prompts: Sequence[Prompt],
    ids: Sequence[tuple[int, ...]],
    sampling: Sampling,
    rows: int,
    should_stop: ShouldStop | None,
) -> list[Drawn]:
    """``sampling.group`` completions a prompt, at most ``rows`` at a time.

    All processes make the same number of calls with the same number of prompts, because generation
    gathers; one that has fewer prompts fills up with copies, whose completions are dropped.
    """
    world = trainer.accelerator.num_processes
    most = most_of(len(ids), trainer) if world > 1 else len(ids)
    step = most if trainer.use_vllm else max(1, rows // sampling.group)
    filler = ids[0] if ids else (trainer.processing_class.eos_token_id,)
    found: list[Drawn] = []
    set_sampling(trainer, sampling)
    # an engine, or a thread of transformers: an interrupt raised there would be lost
    elsewhere = trainer.use_vllm or trainer.use_transformers_continuous_batching
    for start in range(0, most, max(1, step)):
        poll = should_stop if world == 1 else None  # else the others would wait for this one
        if poll is not None:
            poll()
        part = ids[start : start + step]
        count = min(step, most - start)
        names = [prompt.id for prompt in prompts[start : start + step]]
        seed = derive_seed(
            "trl",
            sampling.seed,
            sampling.step,
            sampling.group,
            trainer.accelerator.process_index,
            *names,
        )
        with seeded(trainer, seed), polled(trainer.causal(), None if elsewhere else poll):
            drawn = trainer.complete([*part, *[filler] * (count - len(part))], sampling)
        found += drawn[: len(part) * sampling.group]
    return found


def most_of(count: int, trainer: Any) -> int:
    """The largest of all processes' counts."""
    own = torch.tensor([count], device=trainer.accelerator.device)
    return int(trainer.accelerator.gather(own).max())


@contextmanager
def seeded(trainer: Any, seed: int) -> Iterator[None]:
    """Generation draws from its own stream and leaves every other one alone."""
    device = trainer.accelerator.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def polled(model: Any, should_stop: ShouldStop | None) -> Iterator[None]:
    """An interrupt is noticed between two tokens."""
    if should_stop is None:
        yield
        return
    handle = model.register_forward_pre_hook(lambda *_: should_stop())
    try:
        yield
    finally:
        handle.remove()


def set_sampling(trainer: Any, sampling: Sampling) -> None:
    """Tells TRL how this call draws; a run may change it from step to step, and evaluation does."""
    greedy = sampling.temperature == 0
    trainer.num_generations = trainer.num_generations_eval = sampling.group
    trainer.max_completion_length = sampling.max_tokens
    if trainer.use_vllm:
        engine = trainer.vllm_generation
        engine.temperature = sampling.temperature
        engine.top_p, engine.top_k = sampling.top_p, sampling.top_k
        engine.min_p = sampling.min_p or None
        engine.max_completion_length = sampling.max_tokens
        return
    from transformers import GenerationConfig

    trainer.generation_kwargs = {
        **trainer.generation_kwargs,
        "max_new_tokens": sampling.max_tokens,
        "do_sample": not greedy,
        "temperature": None if greedy else sampling.temperature,
        "top_p": None if greedy else sampling.top_p,
        "top_k": None if greedy else sampling.top_k,
        "min_p": None if greedy or not sampling.min_p else sampling.min_p,
    }
    trainer.generation_config = GenerationConfig(**trainer.generation_kwargs, disable_compile=True)
