"""What can be known about a recipe on Unsloth before torch is imported."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import Literal

from grpokit.api import PACKED_4BIT, MemoryFacts, Preflight, Problem, Recipe, SamplerMemory
from grpokit_hf import preflight as hf
from grpokit_hf.machine import gpu_names, versions
from grpokit_unsloth.config import UnslothConfig

__all__ = ["preflight"]

PACKAGES = ("unsloth", "unsloth_zoo", "trl", "datasets", "bitsandbytes", "triton", "vllm")
ALWAYS = ("unsloth", "unsloth_zoo", "trl", "bitsandbytes")
FOR_GPU = "run `pip install 'grpokit-unsloth[gpu]'`"
FOR_CPU = (
    "run `grpokit doctor --write-constraints unsloth` and do what it says: on a machine without a GPU "
    "Unsloth is installed without its requirements"
)


def preflight(recipe: Recipe) -> Preflight:
    """The checks that `hf` makes of machine, model and tokenizer, and those of Unsloth itself."""
    config = UnslothConfig.model_validate(recipe.backend.with_)
    settings = config.as_hf().model_dump(mode="json")
    section = recipe.backend.model_copy(update={"with_": settings})
    found = hf.preflight(recipe.model_copy(update={"backend": section}))
    installed = {**found.versions, **versions(PACKAGES)}
    on_gpu = found.device.startswith("cuda")
    problems = [
        *found.problems,
        *missing(installed, on_gpu=on_gpu),
        *(gpu_problems(recipe, config, installed) if on_gpu else cpu_problems(config)),
        *standby_problems(config),
    ]
    return replace(
        found,
        problems=tuple(problems),
        versions=installed,
        notes=(*found.notes, *notes(config, installed, on_gpu=on_gpu)),
        shared_prefix=found.shared_prefix and not on_gpu,
        memory=memory_facts(config, installed, found.memory, on_gpu=on_gpu),
    )


def memory_facts(
    config: UnslothConfig, installed: Mapping[str, str], plain: MemoryFacts, *, on_gpu: bool
) -> MemoryFacts:
    """How Unsloth holds the model: 4-bit blocks, and vLLM on the same weights in its share.

    With standby Unsloth chooses the share from the size of the GPU, and only the weights stay while
    the update runs.
    """
    vllm = config.fast_inference or samples(config, installed, on_gpu=on_gpu)
    share = None if config.standby else config.gpu_memory_utilization
    engine = SamplerMemory(share=share, same_weights=True, sleeps=config.standby)
    return replace(
        plain,
        packed=PACKED_4BIT if config.load_in_4bit else None,
        offloads=on_gpu and config.checkpointing == "unsloth",
        sampler=engine if vllm else None,
    )


def samples(config: UnslothConfig, installed: Mapping[str, str], *, on_gpu: bool) -> bool:
    """Whether vLLM samples."""
    return on_gpu and "vllm" in installed and config.fast_inference is not False


def problem(
    level: Literal["error", "warning"], code: str, key: str, fact: str, remedy: str
) -> Problem:
    return Problem(level=level, code=code, key=key, fact=fact, remedy=remedy)


def missing(installed: Mapping[str, str], *, on_gpu: bool) -> list[Problem]:
    gone = [name for name in ALWAYS if name not in installed or find_spec(name) is None]
    if not gone:
        return []
    fact = f"the unsloth backend needs packages that are not installed: {', '.join(gone)}"
    return [problem("error", "US001", "backend.use", fact, FOR_GPU if on_gpu else FOR_CPU)]


def cpu_problems(config: UnslothConfig) -> list[Problem]:
    """What a machine without a GPU cannot do, and that it is used."""
    found = []
    if config.load_in_4bit:
        found.append(
            problem(
                "error",
                "US003",
                "backend.with.load_in_4bit",
                "4-bit weights need a GPU, and this run is on a CPU",
                "leave it out (`--set backend.with.load_in_4bit=false`), or run on a GPU",
            )
        )
    if config.fast_inference:
        found.append(
            problem(
                "error",
                "US004",
                "backend.with.fast_inference",
                "fast_inference (vLLM on shared weights) needs a GPU, and this run is on a CPU",
                "leave it out: the model itself samples here; or run on a GPU",
            )
        )
    why = "device is cpu" if gpu_names() else "there is no GPU"
    fact = (
        f"{why}: Unsloth's CPU path is used, which is plain transformers and PEFT, without its "
        "kernels, vLLM or 4-bit weights"
    )
    remedy = "run on a GPU; on a CPU the backend `hf` computes the same"
    return [*found, problem("warning", "US002", "backend.use", fact, remedy)]


def gpu_problems(
    recipe: Recipe, config: UnslothConfig, installed: Mapping[str, str]
) -> list[Problem]:
    found = []
    if recipe.model.lora is None:
        found.append(
            problem(
                "error",
                "US005",
                "model.lora",
                "on a GPU this backend trains adapters only, and model.lora is null",
                "set model.lora, or take `backend.use: hf`",
            )
        )
    if "vllm" not in installed and config.fast_inference is not False:
        found.append(
            problem(
                "error" if config.fast_inference else "warning",
                "US004",
                "backend.with.fast_inference",
                "vLLM is not installed, so the model's own generation samples: much slower",
                "run `pip install 'grpokit-unsloth[vllm]'`, or set "
                "`backend.with.fast_inference: false`",
            )
        )
    return found


def standby_problems(config: UnslothConfig) -> list[Problem]:
    """Standby stands in the environment before Unsloth is imported; here is the last place to say so."""
    if not config.standby:
        return []
    if config.fast_inference is False:
        fact, remedy = "standby is vLLM's, and fast_inference is false", "leave one of them out"
        return [problem("error", "US006", "backend.with.standby", fact, remedy)]
    if "unsloth" in sys.modules:
        fact = "Unsloth is imported already, and standby must be chosen before"
        remedy = "start the run in a process of its own (`grpokit train`)"
        return [problem("warning", "US006", "backend.with.standby", fact, remedy)]
    return []


def notes(config: UnslothConfig, installed: Mapping[str, str], *, on_gpu: bool) -> tuple[str, ...]:
    """How the model is held and who samples, for the plan."""
    bits = "4" if config.load_in_4bit else "16"
    vllm = samples(config, installed, on_gpu=on_gpu)
    who = "vLLM on the same weights" if vllm else "the model itself"
    held = f"weights in {bits} bits, " if on_gpu else ""
    return (f"unsloth: {held}completions from {who}",)
