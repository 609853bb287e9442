"""What ``GRPOConfig`` of TRL 1.14 to 1.16 knows, and where a recipe says it. No TRL here.

``PASSED`` go to GRPOConfig as they are. Each other key is said by the recipe, or done by grpokit, or
belongs to an older TRL; the tables tell which. A test compares them with the installed TRL.
"""

from __future__ import annotations

from difflib import get_close_matches

__all__ = [
    "GENERATION",
    "NEEDS",
    "NO_EFFECT",
    "PASSED",
    "RECIPE",
    "RENAMED",
    "VLLM_KEYS",
    "refusal",
    "translated",
    "words",
]


def words(text: str) -> list[str]:
    """The names in a text."""
    return text.split()


PASSED = frozenset(
    words("""
    cache_implementation cast_lm_head_to_fp32 debug deepspeed ds3_gather_for_generation
    fsdp fsdp_config full_determinism generation_kwargs gradient_checkpointing_kwargs
    liger_kernel_config pad_to_multiple_of repetition_penalty
    tf32 transformers_continuous_batching_config use_liger_kernel
    use_transformers_continuous_batching
    vllm_enable_sleep_mode vllm_gpu_memory_utilization vllm_group_port vllm_max_model_length
    vllm_model_impl vllm_server_base_url vllm_server_host vllm_server_port vllm_server_timeout
    vllm_structured_outputs_regex vllm_tensor_parallel_size
    """)
)
"""Keys of GRPOConfig that ``backend.with.args`` may set."""

_ALGORITHM = "algorithm, with its parts and settings (TRL's own default is DAPO's loss)"
_MICRO = "optim.micro_batch or optim.micro_tokens"
_CORRECTION = "algorithm.parts.correction"
_RUN = "the sections train and eval; grpokit saves, evaluates and shows the run itself"
_EXPORT = "`grpokit export` once the run is done"

RECIPE: dict[str, str] = {
    **dict.fromkeys(
        words("""
        beta delta epsilon epsilon_high loss_type importance_sampling_level scale_rewards
        multi_objective_aggregation mask_truncated_completions top_entropy_quantile entropy_coef
        entropy_coef_delta entropy_coef_max entropy_coef_min entropy_target use_adaptive_entropy
        off_policy_mask_threshold use_bias_correction_kl sapo_temperature_neg sapo_temperature_pos
        vespo_k_neg vespo_k_pos vespo_lambda_neg vespo_lambda_pos label_smoothing_factor
        """),
        _ALGORITHM,
    ),
    **dict.fromkeys(
        words("""
        vllm_importance_sampling_cap vllm_importance_sampling_clip_max
        vllm_importance_sampling_clip_min vllm_importance_sampling_correction
        vllm_importance_sampling_mode
        """),
        _CORRECTION,
    ),
    **dict.fromkeys(
        words("sync_ref_model ref_model_mixup_alpha ref_model_sync_steps"), "algorithm.parts.reset"
    ),
    "reward_weights": "the weight of each reward",
    "num_generations": "rollout.group",
    "num_generations_eval": "the section eval",
    "max_completion_length": "rollout.max_tokens",
    "temperature": "rollout.temperature",
    "top_p": "rollout.top_p",
    "top_k": "rollout.top_k",
    "min_p": "rollout.min_p",
    "shuffle_dataset": "rollout.shuffle",
    "num_iterations": "optim.iterations",
    "steps_per_generation": "optim.minibatches",
    "generation_batch_size": "rollout.prompts",
    "per_device_train_batch_size": _MICRO,
    "gradient_accumulation_steps": _MICRO,
    "auto_find_batch_size": _MICRO,
    "learning_rate": "optim.lr",
    "lr_scheduler_type": "optim.schedule",
    "lr_scheduler_kwargs": "optim.schedule",
    "warmup_steps": "optim.warmup",
    "adam_beta1": "optim.betas",
    "adam_beta2": "optim.betas",
    "adam_epsilon": "optim.eps",
    "weight_decay": "optim.weight_decay",
    "max_grad_norm": "optim.max_grad_norm",
    **dict.fromkeys(words("optim optim_args optim_target_modules"), "optim, which is AdamW"),
    **dict.fromkeys(words("seed data_seed"), "train.seed"),
    **dict.fromkeys(words("max_steps num_train_epochs"), "train.steps"),
    **dict.fromkeys(words("save_steps save_strategy"), "train.save_every"),
    "save_total_limit": "train.keep",
    "output_dir": "train.out",
    "resume_from_checkpoint": "`grpokit train --resume RUN`",
    **dict.fromkeys(words("bf16 fp16 bf16_full_eval fp16_full_eval"), "model.dtype"),
    "gradient_checkpointing": "model.gradient_checkpointing",
    "disable_dropout": "model.lora.dropout",
    "chat_template_kwargs": "model.chat_template",
    "model_init_kwargs": "the section model",
    **dict.fromkeys(words("use_vllm vllm_mode"), "backend.with.vllm: colocate or server"),
    "use_cpu": "backend.with.device",
    "parallelism_config": "backend.with.accelerate_config",
    **dict.fromkeys(
        words("""
        eval_accumulation_steps eval_delay eval_do_concat_batches eval_on_start eval_steps
        eval_strategy eval_use_gather_object batch_eval_metrics do_eval do_predict do_train
        per_device_eval_batch_size prediction_loss_only include_for_metrics label_names
        metric_for_best_model greater_is_better load_best_model_at_end
        save_only_model save_on_each_node enable_jit_checkpoint ignore_data_skip
        restore_callback_states_from_checkpoint
        disable_tqdm log_completions log_completions_hub_repo log_level log_level_replica
        log_multimodal log_on_each_node log_unique_prompts logging_first_step logging_nan_inf_filter
        logging_steps logging_strategy num_completions_to_print report_to run_name project
        trackio_bucket_id trackio_space_id trackio_static_space_id skip_memory_metrics
        include_num_input_tokens_seen
        """),
        _RUN,
    ),
    **dict.fromkeys(
        words("""
        push_to_hub hub_always_push hub_model_id hub_private_repo hub_revision hub_strategy hub_token
        """),
        _EXPORT,
    ),
    **dict.fromkeys(
        words("""
        dataloader_drop_last dataloader_in_order dataloader_multiprocessing_context
        dataloader_num_workers dataloader_persistent_workers dataloader_pin_memory
        dataloader_prefetch_factor remove_unused_columns length_column_name train_sampling_strategy
        """),
        "the sections dataset and rollout",
    ),
    # of older versions of TRL and transformers
    "max_prompt_length": "rollout.max_prompt_tokens, with on_long_prompt: drop (TRL cut prompts)",
    "warmup_ratio": "optim.warmup, where a number below 1 is a share",
    "evaluation_strategy": _RUN,
    "wandb_log_unique_prompts": _RUN,
    "vllm_device": "backend.with.vllm: colocate or server",
    "vllm_dtype": "model.dtype",
    "use_peft": "model.lora",
    **dict.fromkeys(words("lora_r lora_alpha lora_dropout lora_target_modules"), "model.lora"),
    "kl_coef": _ALGORITHM,
    "no_cuda": "backend.with.device",
    "per_gpu_train_batch_size": _MICRO,
    "group_by_length": "the sections dataset and rollout",
    "safe_serialization": "nothing: weights are always safetensors",
    "save_safetensors": "nothing: weights are always safetensors",
}
"""Key -> where the recipe says the same."""

NO_EFFECT: dict[str, str] = {
    **dict.fromkeys(
        words("""
        ddp_broadcast_buffers ddp_bucket_cap_mb ddp_find_unused_parameters ddp_static_graph
        """),
        "processes add up their gradients themselves, without DDP's hooks",
    ),
    **dict.fromkeys(
        words("ddp_backend ddp_timeout"), "`grpokit train --processes` joins the processes"
    ),
    **dict.fromkeys(
        words("torch_compile torch_compile_backend torch_compile_mode"),
        "TRL's scoring and generation call the model as it is, not the compiled one",
    ),
    "accelerator_config": "it is about data loaders, and no row comes from one",
    "torch_empty_cache_steps": "it belongs to a training step that is not used; "
    "the variable PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True keeps memory in one piece",
    "trust_remote_code": "code that a model brings along is never run",
    "router_aux_loss_coef": "the recipe's loss has no term for the balance of experts",
    "max_tool_calling_iterations": "rewards score answers; tools are not called",
    "average_tokens_across_devices": "losses are always summed over all processes",
    "neftune_noise_alpha": "noise on the embeddings would train another policy than the one sampled",
    "use_cache": "training never uses a cache, generation always does",
    "local_rank": "the launcher sets it",
    "vllm_guided_decoding_backend": "vLLM chooses it itself",
}
"""Key -> why it cannot be set."""

RENAMED: dict[str, str] = {
    "use_transformers_paged": "use_transformers_continuous_batching",
    "use_liger_loss": "use_liger_kernel",
    "use_liger": "use_liger_kernel",
    "vllm_guided_decoding_regex": "vllm_structured_outputs_regex",
    "vllm_max_model_len": "vllm_max_model_length",
}
"""Key of an older TRL -> its present name; such keys are translated."""

NEEDS: dict[str, str] = {
    "fsdp_config": "fsdp",
    "liger_kernel_config": "use_liger_kernel",
    "transformers_continuous_batching_config": "use_transformers_continuous_batching",
}
"""Key -> the one without which TRL would ignore it."""

VLLM_KEYS: dict[str, str] = {
    **dict.fromkeys(
        words("""
        vllm_enable_sleep_mode vllm_gpu_memory_utilization vllm_max_model_length vllm_model_impl
        vllm_tensor_parallel_size
        """),
        "colocate",
    ),
    **dict.fromkeys(
        words("""
        vllm_group_port vllm_server_base_url vllm_server_host vllm_server_port vllm_server_timeout
        """),
        "server",
    ),
}
"""Key -> the way of running vLLM that reads it."""

GENERATION: dict[str, str] = {
    **dict.fromkeys(
        words("""
        temperature top_p top_k min_p max_new_tokens max_tokens max_length n num_return_sequences
        do_sample seed logprobs num_beams stop_token_ids
        """),
        "is said by the recipe: the section rollout",
    ),
    **dict.fromkeys(
        words("""
        bos_token_id disable_compile eos_token_id output_attentions output_hidden_states
        output_logits output_scores pad_token_id return_dict_in_generate use_cache
        """),
        "is the backend's",
    ),
    **dict.fromkeys(words("cache_implementation repetition_penalty"), "stands under args itself"),
}
"""Key of ``generation_kwargs`` -> why it cannot be set."""


def translated(key: str) -> str:
    """The present name of a key."""
    return RENAMED.get(key, key)


def refusal(key: str) -> str:
    """Why ``args`` must not hold the key; empty if it may."""
    if translated(key) in PASSED:
        return ""
    if key in RECIPE:
        return f"`{key}` is said by the recipe: {RECIPE[key]}"
    if key in NO_EFFECT:
        return f"`{key}` cannot be set: {NO_EFFECT[key]}"
    near = get_close_matches(key, [*PASSED, *RENAMED, *RECIPE], n=3)
    hint = f"; did you mean {' or '.join(f'`{name}`' for name in near)}?" if near else ""
    return f"`{key}` is no key of TRL's GRPOConfig{hint}"
