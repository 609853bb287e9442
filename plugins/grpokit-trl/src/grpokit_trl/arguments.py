"""The recipe as TRL's ``GRPOConfig``. What our step decides is set so that TRL's own has no say."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import torch

from grpokit.api import PreflightError, Recipe
from grpokit_trl.config import TrlConfig
from grpokit_trl.load import Loaded

__all__ = ["grpo_config", "refused", "settings"]

NEUTRAL: dict[str, Any] = {
    # TRL's loss is not used; its reference and its scaling would only cost
    "beta": 0.0,
    "loss_type": "grpo",
    "scale_rewards": "none",
    "learning_rate": 1e-6,
    # grpokit records and saves
    "logging_strategy": "no",
    "save_strategy": "no",
    "eval_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
    "log_level": "error",
    "log_level_replica": "error",
    "logging_nan_inf_filter": False,
    "remove_unused_columns": False,
    "push_to_hub": False,
    "ddp_find_unused_parameters": False,
}
"""Where TRL and transformers have nothing to decide, to show or to save."""


def settings(recipe: Recipe, config: TrlConfig, loaded: Loaded, folder: str) -> dict[str, Any]:
    """Keyword arguments of GRPOConfig.

    One "batch" of the trainer is a token for one optimiser step, and there are more than the run can
    take, because the run ends when its feed does.
    """
    rollout, optim = recipe.rollout, recipe.optim
    group = max(2, rollout.group)
    own = dict(config.args)
    if recipe.model.gradient_checkpointing:
        kwargs = own.pop("gradient_checkpointing_kwargs", None)
        own["gradient_checkpointing_kwargs"] = kwargs or {"use_reentrant": False}
    if config.vllm:
        own["generation_kwargs"] = {
            **(own.get("generation_kwargs") or {}),
            "stop_token_ids": sorted(loaded.tokenizer.ends.ids),
        }
    else:
        check_generation(own.get("generation_kwargs") or {})
    return {
        **own,
        "output_dir": folder,
        # steps
        "max_steps": recipe.train.steps * optim.iterations * optim.minibatches + 1,
        "per_device_train_batch_size": group * rollout.prompts,
        "gradient_accumulation_steps": 1,
        "steps_per_generation": 1,
        "num_iterations": 1,
        # sampling
        "num_generations": group,
        "max_completion_length": rollout.max_tokens,
        "temperature": rollout.temperature,
        "top_p": rollout.top_p,
        "top_k": rollout.top_k,
        "min_p": rollout.min_p or None,
        "use_vllm": config.vllm is not None,
        "vllm_mode": config.vllm or "colocate",
        "vllm_importance_sampling_correction": False,
        # the model
        "gradient_checkpointing": recipe.model.gradient_checkpointing,
        "bf16": loaded.autocast,
        "fp16": False,
        "use_cpu": config.device == "cpu" or not torch.cuda.is_available(),
        "seed": recipe.train.seed % 2**31,  # the number of the process is added
        "max_grad_norm": optim.max_grad_norm,
        **NEUTRAL,
    }


def grpo_config(recipe: Recipe, config: TrlConfig, loaded: Loaded, folder: str) -> Any:
    """TRL's settings object.

    Raises:
        PreflightError: TRL, transformers or accelerate refuse a setting.
    """
    from trl import GRPOConfig

    try:
        return GRPOConfig(**settings(recipe, config, loaded, folder))
    except (ValueError, TypeError, ImportError, RuntimeError, OSError) as error:
        raise refused(error) from error


def refused(error: Exception) -> PreflightError:
    """An error of TRL's, transformers' or accelerate's about what the recipe asks for."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return PreflightError(
        f"TRL refuses the settings: {lines[0] if lines else type(error).__name__}",
        place="backend.with",
        remedy="change backend.with.args, or the package that it names",
    )


def check_generation(found: Mapping[str, Any]) -> None:
    """Transformers takes a name that it does not know, and forgets it.

    Raises:
        PreflightError: it names the nearest right ones.
    """
    from transformers import GenerationConfig

    known = [key for key in vars(GenerationConfig()) if not key.startswith("_")]
    for key in found:
        if key not in known:
            near = get_close_matches(key, known, n=3)
            raise PreflightError(
                f"`{key}` is nothing that transformers generates with",
                place="backend.with.args.generation_kwargs",
                remedy=f"did you mean {' or '.join(near)}?" if near else "remove it",
            )
