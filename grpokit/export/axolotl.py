"""A recipe as axolotl's YAML: TRL's settings under axolotl's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grpokit.export.notes import Notes
    from grpokit.spec.recipe import Recipe

__all__ = ["config", "lacking"]

UNDER_TRL = (
    "beta", "num_generations", "generation_batch_size", "max_completion_length", "temperature",
    "top_p", "top_k", "min_p", "num_iterations", "epsilon", "epsilon_high", "loss_type",
    "scale_rewards", "importance_sampling_level", "mask_truncated_completions", "entropy_coef",
    "use_adaptive_entropy", "entropy_target", "entropy_coef_delta", "entropy_coef_min",
    "entropy_coef_max", "multi_objective_aggregation", "use_bias_correction_kl",
    "off_policy_mask_threshold", "vllm_importance_sampling_correction",
    "vllm_importance_sampling_mode", "vllm_importance_sampling_clip_max",
    "vllm_importance_sampling_clip_min",
)  # fmt: skip
"""Settings of GRPOConfig that axolotl 0.19 has under ``trl``."""
AT_TOP = {
    "per_device_train_batch_size": "micro_batch_size",
    "lr_scheduler_type": "lr_scheduler",
} | {
    name: name
    for name in (
        "seed", "max_steps", "gradient_accumulation_steps", "learning_rate", "warmup_steps",
        "max_grad_norm", "adam_beta1", "adam_beta2", "adam_epsilon", "weight_decay",
        "gradient_checkpointing", "save_steps", "save_total_limit", "logging_steps", "bf16",
    )
}  # fmt: skip
"""Setting of GRPOConfig -> its name at the top of axolotl's file."""
LACKING = {
    "delta": (
        "algorithm.with.delta",
        "axolotl passes no delta to TRL: nothing bounds the ratio of negative advantages",
    ),
    "top_entropy_quantile": (
        "algorithm.parts.clip.with.share",
        "axolotl passes no top_entropy_quantile to TRL",
    ),
    "sapo_temperature_pos": (
        "algorithm.with.temperature_pos",
        "axolotl passes no temperatures to TRL",
    ),
    "sapo_temperature_neg": (
        "algorithm.with.temperature_neg",
        "axolotl passes no temperatures to TRL",
    ),
    "vespo_k_pos": ("algorithm.with.k_pos", "axolotl passes no settings of vespo to TRL"),
    "vespo_lambda_pos": ("algorithm.with.lambda_pos", "axolotl passes no settings of vespo to TRL"),
    "vespo_k_neg": ("algorithm.with.k_neg", "axolotl passes no settings of vespo to TRL"),
    "vespo_lambda_neg": ("algorithm.with.lambda_neg", "axolotl passes no settings of vespo to TRL"),
}
"""Setting of GRPOConfig that axolotl cannot set -> the recipe's key, and what is said of it."""
TRLS = {
    "delta": None,
    "top_entropy_quantile": 1.0,
    "sapo_temperature_pos": 1.0,
    "sapo_temperature_neg": 1.05,
    "vespo_k_pos": 2.0,
    "vespo_lambda_pos": 3.0,
    "vespo_k_neg": 3.0,
    "vespo_lambda_neg": 2.0,
}
"""What TRL takes where nobody says otherwise."""


def lacking(settings: dict[str, Any], notes: Notes) -> None:
    """Names what axolotl cannot pass on to TRL."""
    for name, (key, told) in LACKING.items():
        if settings.get(name, TRLS[name]) != TRLS[name]:
            notes.missing(key, told)


def config(
    recipe: Recipe,
    settings: dict[str, Any],
    notes: Notes,
    *,
    model: str,
    rewards: list[str],
    weights: list[float],
) -> dict[str, Any]:
    """The file's content, from the settings of ``grpokit.export.trl``."""
    if settings["bf16"] and recipe.model.lora is None:
        notes.differs("model.dtype", "axolotl trains weights of bfloat16; here they are float32")
    if not recipe.rollout.shuffle:
        notes.differs(
            "rollout.shuffle", "TRL shuffles under axolotl; the order of the file is not kept"
        )
    top = {there: settings[here] for here, there in AT_TOP.items()}
    under = {name: settings[name] for name in UNDER_TRL if settings.get(name) is not None}
    return {
        "base_model": model,
        **({"revision_of_model": recipe.model.revision} if recipe.model.revision else {}),
        "rl": "grpo",
        "trl": {**under, "reward_funcs": rewards, "reward_weights": weights},
        "datasets": [
            {
                "path": "train.jsonl",
                "ds_type": "json",
                "split": "train",
                "type": "grpokit_rewards.transform",
            }
        ],
        "skip_prepare_dataset": True,
        "dataset_prepared_path": "prepared",
        "val_set_size": 0.0,
        "sequence_len": (recipe.rollout.max_prompt_tokens or 1024) + recipe.rollout.max_tokens,
        **_adapter(recipe, notes),
        "optimizer": "adamw_torch",
        **top,
        "output_dir": "out",
    }


def _adapter(recipe: Recipe, notes: Notes) -> dict[str, Any]:
    lora = recipe.model.lora
    if lora is None:
        return {}
    alpha = max(1, round(lora.alpha))
    if lora.alpha != alpha:
        notes.differs("model.lora.alpha", f"axolotl takes a whole number; it is {alpha}")
    targets: dict[str, Any] = (
        {"lora_target_linear": True}
        if lora.targets == "all-linear"
        else {"lora_target_modules": list(lora.targets)}
    )
    return {
        "adapter": "lora",
        "lora_r": lora.rank,
        "lora_alpha": alpha,
        "lora_dropout": lora.dropout,
        **targets,
    }
