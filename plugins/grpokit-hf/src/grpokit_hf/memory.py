"""What the plan's memory estimate must know of `hf`. No torch."""

from __future__ import annotations

import os

from grpokit.api import SHARDED, MemoryFacts, Recipe, SamplerMemory
from grpokit_hf.config import HfConfig
from grpokit_hf.vllm.choices import by_adapter

__all__ = ["memory_facts"]

GIB = 2**30


def memory_facts(recipe: Recipe, config: HfConfig, *, on_cpu: bool) -> MemoryFacts:
    """How the model is held, and who samples.

    DDP keeps the gradients a second time in its buckets. FSDP divides everything but activations.
    On a CPU attention, and with it the cache, is float32 unless the recipe names another kernel.
    """
    several = recipe.train.processes > 1
    fsdp = several and config.parallel == "fsdp"
    wide = config.attention == "float32" or (config.attention == "auto" and on_cpu)
    return MemoryFacts(
        generate_rows=config.generate_rows,
        logit_rows=config.logit_rows,
        cache_width=4 if wide else None,
        divided=SHARDED if fsdp else frozenset(),
        gradient_copies=1 if several and not fsdp else 0,
        sampler=sampler(recipe, config, on_cpu=on_cpu),
    )


def sampler(recipe: Recipe, config: HfConfig, *, on_cpu: bool) -> SamplerMemory | None:
    """vLLM, with weights of its own: a share of the GPU, or on a CPU a cache of some GiB.

    Whole weights travel through a folder that lies in main memory, unless the recipe names one.
    """
    section = config.vllm
    if config.rollouts != "vllm":
        return None
    if section.mode == "server":
        return SamplerMemory()
    if on_cpu:
        asked = os.environ.get("VLLM_CPU_KVCACHE_SPACE", "")
        size = int(asked) if asked.isdecimal() else section.cpu_cache
        travels = not by_adapter(recipe, config, cuda=False) and section.folder is None
        return SamplerMemory(cache=size * GIB, copies=2 if travels else 1)
    share = section.options.get("gpu_memory_utilization", section.memory)
    return SamplerMemory(share=float(share), sleeps=section.sleep)
