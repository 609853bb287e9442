"""What the plan's memory estimate must know of `trl`. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from grpokit.api import SHARDED, MemoryFacts, PreflightError, SamplerMemory
from grpokit_trl.config import TrlConfig
from grpokit_trl.launch import find

__all__ = ["memory_facts"]

SHARE = 0.3
"""Of a GPU's memory that TRL gives to a colocated vLLM where nothing is said."""
STAGES = {1: frozenset({"optimizer"}), 2: frozenset({"optimizer", "gradients"}), 3: SHARDED}
"""ZeRO stage -> what it divides."""


def memory_facts(config: TrlConfig) -> MemoryFacts:
    """TRL holds the logits of a whole micro-batch; with Liger's fused loss it holds fewer."""
    return MemoryFacts(
        generate_rows=config.generate_rows,
        logit_rows=None,
        divided=divided(config),
        sampler=sampler(config),
    )


def sampler(config: TrlConfig) -> SamplerMemory | None:
    if config.vllm is None:
        return None
    if config.vllm == "server":
        return SamplerMemory()
    share = config.args.get("vllm_gpu_memory_utilization", SHARE)
    return SamplerMemory(
        share=float(share)
        if isinstance(share, int | float)
        else SHARE,  # GRPOConfig refuses a word
        sleeps=bool(config.args.get("vllm_enable_sleep_mode")),
    )


def divided(config: TrlConfig) -> frozenset[str]:
    """What FSDP or DeepSpeed divides among the processes, by name or by the file that asks for it."""
    if config.args.get("fsdp"):
        return SHARDED
    asked = config.args.get("deepspeed")
    if asked:
        return stage(read(asked) if isinstance(asked, str) else asked)
    if config.accelerate_config is None:
        return frozenset()
    try:
        found = read(find(config.accelerate_config))
    except PreflightError:  # said as TRL005
        return frozenset()
    if found.get("distributed_type") == "FSDP":
        return SHARDED
    deepspeed = found.get("deepspeed_config")
    number = deepspeed.get("zero_stage") if isinstance(deepspeed, Mapping) else None
    return stage({"zero_optimization": {"stage": number}})


def stage(asked: Mapping[str, Any]) -> frozenset[str]:
    section = asked.get("zero_optimization")
    number = section.get("stage") if isinstance(section, Mapping) else None
    return STAGES.get(number, frozenset()) if isinstance(number, int) else frozenset()


def read(path: str | Path) -> dict[str, Any]:
    """A YAML or JSON file; empty if it is neither, which others say."""
    try:
        found = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}
