"""What is known of a recipe before torch and TRL are imported."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

from grpokit.api import Preflight, PreflightError, Problem, Recipe
from grpokit_hf.machine import gpu_names, versions
from grpokit_hf.preflight import preflight as hf_preflight
from grpokit_trl import compat
from grpokit_trl.config import TrlConfig
from grpokit_trl.launch import kind, sharding
from grpokit_trl.memory import memory_facts

__all__ = ["preflight"]

PACKAGES = ("torch", "transformers", "peft", "accelerate", "trl", "datasets")


def preflight(recipe: Recipe) -> Preflight:
    """Packages, releases, device and model, in well under a second."""
    config = TrlConfig.model_validate(recipe.backend.with_)
    settings = {"device": config.device, "threads": config.threads, "native": False}
    section = recipe.backend.model_copy(update={"use": "hf", "with_": settings})
    found = hf_preflight(recipe.model_copy(update={"backend": section}))
    return replace(
        found,
        problems=(
            *trl_problems(),
            *option_problems(config),
            *recipe_problems(recipe, config),
            *found.problems,
        ),
        versions={**found.versions, **versions(PACKAGES)},
        shared_prefix=False,
        memory=memory_facts(config),
    )


def problem(code: str, key: str, fact: str, remedy: str, level: str = "error") -> Problem:
    return Problem(level=level, code=code, key=key, fact=fact, remedy=remedy)


def trl_problems() -> list[Problem]:
    """TRL is missing, or a release that the plugin was not tested with."""
    found = compat.version()
    if not found or find_spec("trl") is None:
        fact = "the trl backend needs the package trl, which is not installed"
        return [problem("TRL001", "backend.use", fact, f"run `{compat.INSTALL}`")]
    if not compat.in_range(found):
        fact = f"the trl backend knows TRL 1.14 to 1.16, and {found} is installed"
        return [problem("TRL002", "backend.use", fact, f"run `{compat.INSTALL}`")]
    return []


def on_cpu(config: TrlConfig) -> bool:
    return config.device == "cpu" or not gpu_names()


def option_problems(config: TrlConfig) -> list[Problem]:
    """Packages that a setting asks for, and what a setting costs."""
    problems = []
    if config.vllm is not None and find_spec("vllm") is None:
        fact = f"vllm: {config.vllm} needs the package vllm, which is not installed"
        problems.append(
            problem("TRL003", "backend.with.vllm", fact, "run `pip install 'trl[vllm]'`")
        )
    if config.vllm is not None:
        fact = "vLLM draws from a stream of its own: a resumed run does not repeat bit by bit"
        problems.append(problem("TRL004", "backend.with.vllm", fact, "", level="info"))
    batching = config.args.get("use_transformers_continuous_batching")
    if batching:
        fact = "whether a resumed run repeats bit by bit with continuous batching was not measured"
        problems.append(problem("TRL004", "backend.with.args", fact, "", level="info"))
    if batching and on_cpu(config):
        fact = "continuous batching of transformers is made for GPUs; on a CPU it takes minutes to begin"
        remedy = "remove backend.with.args.use_transformers_continuous_batching"
        problems.append(problem("TRL007", "backend.with.args", fact, remedy, level="warning"))
    return [*problems, *package_problems(config), *shard_problems(config)]


def package_problems(config: TrlConfig) -> list[Problem]:
    problems = []
    liger = config.args.get("use_liger_kernel")
    if liger and find_spec("liger_kernel") is None:
        fact = "use_liger_kernel needs the package liger-kernel, which is not installed"
        remedy = "run `pip install 'grpokit-trl[liger]'`"
        problems.append(problem("TRL003", "backend.with.args", fact, remedy))
    if liger and on_cpu(config):
        fact = "Liger's kernels are written in Triton and need a GPU"
        remedy = "remove backend.with.args.use_liger_kernel"
        problems.append(problem("TRL008", "backend.with.args", fact, remedy))
    return problems


def shard_problems(config: TrlConfig) -> list[Problem]:
    """FSDP and DeepSpeed, whether args or an accelerate configuration asks for them."""
    problems = []
    shards = sharding({}, config.args)
    if config.accelerate_config is not None:
        try:
            shards = kind(config.accelerate_config)
        except PreflightError as error:
            key = "backend.with.accelerate_config"
            problems.append(problem("TRL005", key, error.fact, error.remedy))
    if shards == "DeepSpeed" and find_spec("deepspeed") is None:
        fact = "DeepSpeed is asked for, and the package deepspeed is not installed"
        remedy = "run `pip install 'grpokit-trl[deepspeed]'`"
        problems.append(problem("TRL003", "backend.with", fact, remedy))
    if shards and on_cpu(config):
        fact = "accelerate cuts weights into shards on GPUs only, and there is none"
        remedy = "remove it, or take the backend hf, whose FSDP runs on a CPU too"
        problems.append(problem("TRL006", "backend.with", fact, remedy))
    return problems


def recipe_problems(recipe: Recipe, config: TrlConfig) -> list[Problem]:
    """Settings that do not go with the rest of the recipe."""
    problems = []
    model, args = recipe.model, config.args
    if "gradient_checkpointing_kwargs" in args and not model.gradient_checkpointing:
        fact = "gradient_checkpointing_kwargs without model.gradient_checkpointing does nothing"
        remedy = "set model.gradient_checkpointing: true, or remove it"
        problems.append(problem("TRL009", "backend.with.args", fact, remedy))
    batching = args.get("use_transformers_continuous_batching")
    if batching and model.lora is None and model.dtype == "bfloat16":
        fact = "for continuous batching TRL casts the trained float32 weights to bfloat16 for good"
        remedy = "set model.dtype: float32, or train an adapter"
        problems.append(problem("TRL010", "backend.with.args", fact, remedy))
    return problems
