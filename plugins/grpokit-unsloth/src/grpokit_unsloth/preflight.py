"""What can be known about a recipe on Unsloth before torch is imported."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, Literal

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
    settings = config.as_hf().model_dump(mode="json", exclude_unset=True)
    section = recipe.backend.model_copy(update={"with_": settings})
    found = hf.preflight(recipe.model_copy(update={"backend": section}))
    installed = {**found.versions, **versions(PACKAGES)}
    on_gpu = found.device.startswith("cuda")
    problems = [
        *found.problems,
        *missing(installed, on_gpu=on_gpu),
        *(gpu_problems(recipe, config, installed) if on_gpu else cpu_problems(config)),
        *standby_problems(config, sampler=samples(recipe, installed, on_gpu=on_gpu)),
        *packed_problems(found.dimensions),
    ]
    return replace(
        found,
        problems=tuple(problems),
        versions=installed,
        notes=(*found.notes, *notes(recipe, installed, on_gpu=on_gpu)),
        shared_prefix=found.shared_prefix and not on_gpu,
        memory=memory_facts(recipe, installed, found.memory, on_gpu=on_gpu),
    )


def memory_facts(
    recipe: Recipe, installed: Mapping[str, str], plain: MemoryFacts, *, on_gpu: bool
) -> MemoryFacts:
    """How Unsloth holds the model: 4-bit blocks, and vLLM on the same weights in its share.

    With standby Unsloth chooses the share from the size of the GPU, and only the weights stay while
    the update runs.
    """
    config = UnslothConfig.model_validate(recipe.backend.with_)
    vllm = config.fast_inference or samples(recipe, installed, on_gpu=on_gpu)
    share = None if config.standby else config.gpu_memory_utilization
    engine = SamplerMemory(share=share, same_weights=True, sleeps=config.standby)
    return replace(
        plain,
        packed=PACKED_4BIT if config.load_in_4bit else None,
        offloads=on_gpu and config.checkpointing == "unsloth",
        sampler=engine if vllm else None,
    )


def samples(recipe: Recipe, installed: Mapping[str, str], *, on_gpu: bool) -> bool:
    """Whether vLLM samples. It computes in 16 bits only."""
    config = UnslothConfig.model_validate(recipe.backend.with_)
    wanted = config.fast_inference is not False
    return on_gpu and "vllm" in installed and wanted and recipe.model.dtype != "float32"


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
    if config.attention != "auto":
        fact = "attention is for the CPU path; on a GPU Unsloth chooses"
        found.append(problem("warning", "US006", "backend.with.attention", fact, "leave it out"))
    return [*found, *engine_problems(recipe, config, installed)]


def engine_problems(
    recipe: Recipe, config: UnslothConfig, installed: Mapping[str, str]
) -> list[Problem]:
    """Why vLLM cannot sample: an error where it was asked for, else it is done without."""
    if config.fast_inference is False:
        return []
    key = "backend.with.fast_inference"
    level: Literal["error", "warning"] = "error" if config.fast_inference else "warning"
    slow = "the model's own generation samples: much slower"
    if "vllm" not in installed:
        fact = f"vLLM is not installed, so {slow}"
        remedy = (
            "run `pip install 'grpokit-unsloth[vllm]'`, or set `backend.with.fast_inference: false`"
        )
        return [problem(level, "US004", key, fact, remedy)]
    if recipe.model.dtype == "float32":
        fact = f"vLLM on shared weights computes in 16 bits and model.dtype is float32, so {slow}"
        remedy = "set model.dtype: bfloat16, or `backend.with.fast_inference: false`"
        return [problem(level, "US004", key, fact, remedy)]
    if config.load_in_4bit and release(installed["vllm"]) >= (0, 28) and no_plugin():
        fact = f"vLLM {installed['vllm']} reads 4-bit weights with a package that is not installed"
        remedy = "run `pip install vllm-bnb-plugin`, or set `backend.with.fast_inference: false`"
        return [problem("error", "US004", key, fact, remedy)]
    return []


def release(version: str) -> tuple[int, ...]:
    """The first two numbers of a version."""
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def no_plugin() -> bool:
    return find_spec("vllm_bnb_plugin") is None


def packed_problems(dimensions: Mapping[str, Any]) -> list[Problem]:
    """A model that was quantised before: an adapter on it has no full weights to be merged with."""
    packed = dimensions.get("quantization_config")
    if not packed:
        return []
    kind = packed.get("quant_method", "?") if isinstance(packed, Mapping) else "?"
    fact = (
        f"the model's files are quantised ({kind}): a run on them can be evaluated, and exported as an "
        "adapter, but never merged or as GGUF"
    )
    remedy = "take the model's 16-bit original with `backend.with.load_in_4bit: true`"
    return [problem("warning", "US007", "model.id", fact, remedy)]


def standby_problems(config: UnslothConfig, *, sampler: bool) -> list[Problem]:
    """Standby stands in the environment before Unsloth is imported; here is the last place to say so."""
    if not config.standby:
        return []
    if not sampler:
        fact, remedy = "standby is vLLM's, and vLLM does not sample", "leave it out"
        return [problem("error", "US006", "backend.with.standby", fact, remedy)]
    if "unsloth" in sys.modules:
        fact = "Unsloth is imported already, and standby must be chosen before"
        remedy = "start the run in a process of its own (`grpokit train`)"
        return [problem("warning", "US006", "backend.with.standby", fact, remedy)]
    return []


def notes(recipe: Recipe, installed: Mapping[str, str], *, on_gpu: bool) -> tuple[str, ...]:
    """How the model is held and who samples, for the plan."""
    config = UnslothConfig.model_validate(recipe.backend.with_)
    bits = "4" if config.load_in_4bit else "16"
    if recipe.model.dtype == "float32" and not config.load_in_4bit:
        bits = "32"
    vllm = samples(recipe, installed, on_gpu=on_gpu)
    who = "vLLM on the same weights" if vllm else "the model itself"
    held = f"weights in {bits} bits, " if on_gpu else ""
    return (f"unsloth: {held}completions from {who}",)
