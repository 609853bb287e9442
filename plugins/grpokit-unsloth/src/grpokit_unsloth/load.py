"""A model folder becomes a policy: Unsloth's FastLanguageModel."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from grpokit.api import GrpokitError, OutOfMemoryError, PreflightError, Recipe
from grpokit_hf.kernels import pick_kernel
from grpokit_hf.load import check_head, pick_device, silence_dropout
from grpokit_hf.nn import attention, lora
from grpokit_hf.text.tokenizer import ChatTokenizer, read_json
from grpokit_unsloth.adapter import Adapter, add_adapter
from grpokit_unsloth.config import UnslothConfig
from grpokit_unsloth.forward import check_hidden_states
from grpokit_unsloth.policy import UnslothPolicy
from grpokit_unsloth.start import first_line, quiet, steady_random

__all__ = ["in_four_bits", "load_policy"]

log = logging.getLogger("grpokit.unsloth")

PROMPT_ROOM = 2048
"""Tokens of a prompt that fit where the recipe sets no limit of its own."""


def load_policy(
    recipe: Recipe,
    settings: UnslothConfig,
    folder: Path,
    tokenizer: ChatTokenizer,
    *,
    weights: Path | None = None,
    adapter: Adapter | None = None,
) -> UnslothPolicy:
    """Loads the model of ``folder``, or of ``weights`` (a fully trained copy), with an adapter or none."""
    section = recipe.model
    device = pick_device(settings.device)
    on_cpu = device.type == "cpu"
    named = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    full = section.lora is None
    asked = named.get(section.dtype, torch.float32 if full else torch.bfloat16)
    dtype = torch.float32 if full else asked
    if not on_cpu:
        check_gpu(asked, full=full)
    kernel = pick_kernel(settings.attention, device.type) if on_cpu else "unsloth"
    longest = row_limit(recipe, settings, folder)
    model = read_model(recipe, settings, weights or folder, dtype, kernel, longest, adapter)
    silence_dropout(model)
    half = torch.bfloat16 if asked == torch.bfloat16 and (full or not on_cpu) else None
    policy = UnslothPolicy(
        model=model,
        folder=folder,
        tokenizer=tokenizer,
        device=device,
        dtype=dtype,
        adapter=False,
        autocast=half,
        kernel=kernel,
        config=settings.as_hf(),
        checkpointing=section.gradient_checkpointing,
        dropout=adapter.dropout if adapter else 0.0,
        longest=longest,
        engine=getattr(model, "vllm_engine", None),
        recompute=checkpointing(recipe, settings),
    )
    check(policy)
    if adapter is not None:
        add_adapter(policy, recipe, adapter)
    if not policy.patched:  # sampled and trained by the same products, as under `hf`
        lora.install(policy.model, policy.linear)
    policy.base.config.use_cache = True  # Unsloth turns it off; the setting would be saved
    policy.model.eval()
    return policy


def check_gpu(asked: torch.dtype, *, full: bool) -> None:
    """What a plan cannot see without torch, or does not ask in an evaluation."""
    if full:
        raise PreflightError(
            "on a GPU the unsloth backend has adapters only, and model.lora is null",
            place="model.lora",
            remedy="set model.lora, or take `backend.use: hf`",
        )
    if asked == torch.bfloat16 and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise PreflightError(
            "this GPU has no bfloat16; Unsloth would go over to float16, which needs scaled gradients",
            place="model.dtype",
            remedy="set model.dtype: float32, with which the model itself samples and not vLLM, or "
            "take a GPU of the Ampere generation or newer",
        )


def row_limit(recipe: Recipe, settings: UnslothConfig, folder: Path) -> int:
    """Tokens of the longest row: as set, or what the recipe's limits need and the model has."""
    window = read_json(folder / "config.json").get("max_position_embeddings")
    rollout = recipe.rollout
    new = max(rollout.max_tokens, recipe.eval.max_tokens or 0)
    longest = settings.max_seq_length or (rollout.max_prompt_tokens or PROMPT_ROOM) + new
    return min(longest, window) if isinstance(window, int) else longest


def read_model(
    recipe: Recipe,
    settings: UnslothConfig,
    folder: Path,
    dtype: torch.dtype,
    kernel: str,
    longest: int,
    adapter: Adapter | None,
) -> Any:
    """Unsloth's model from a local folder: offline, without remote code, without its lines."""
    from transformers.utils import logging as transformers_logging
    from unsloth import FastLanguageModel

    transformers_logging.disable_progress_bar()
    options: dict[str, Any] = {}
    if kernel == "unsloth":
        options = engine_options(settings, dtype, adapter)
    else:
        attention.register()
        options["attn_implementation"] = attention.KERNELS[kernel]
    # The border to foreign code: a load may raise anything.
    try:
        with quiet("load"), steady_random():
            model, _ = FastLanguageModel.from_pretrained(
                str(folder),
                max_seq_length=longest,
                dtype=dtype,
                load_in_4bit=settings.load_in_4bit,
                full_finetuning=recipe.model.lora is None,
                use_gradient_checkpointing=checkpointing(recipe, settings),
                use_exact_model_name=True,  # else a folder named like a model becomes another one
                local_files_only=True,
                use_safetensors=True,
                fix_tokenizer=False,  # ours is used; mending theirs may write into the working folder
                trust_remote_code=False,
                **options,
            )
    except Exception as error:
        raise cannot_load(error, folder) from error
    if kernel == "unsloth":
        check_engine(model, settings, longest, wanted=options["fast_inference"])
        check_bits(model, settings)
    return model


def cannot_load(error: Exception, folder: Path) -> GrpokitError:
    """Memory that ran out, or a model that Unsloth or vLLM does not take."""
    words = str(error).lower()
    full = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    if full or "out of memory" in words or "gpu_memory_utilization" in words:
        return OutOfMemoryError(
            f"the model does not fit into the GPU's memory: {first_line(error)}",
            place=str(folder),
            remedy="set backend.with.load_in_4bit: true, take a smaller model, or change "
            "backend.with.gpu_memory_utilization (more where vLLM has no room, less where the rest has none)",
        )
    return PreflightError(
        f"Unsloth cannot load the model: {first_line(error)}",
        place=str(folder),
        remedy="set `backend.with.fast_inference: false` if it is vLLM that refuses; else take the "
        "backend `hf`, or a model that Unsloth knows",
    )


def engine_options(
    settings: UnslothConfig, dtype: torch.dtype, adapter: Adapter | None
) -> dict[str, Any]:
    """What the GPU's loader takes beside the rest. vLLM holds one adapter of the recipe's rank."""
    if not wants_engine(settings, dtype):
        return {"fast_inference": False}
    return {
        "fast_inference": True,
        "gpu_memory_utilization": settings.gpu_memory_utilization,
        "max_lora_rank": adapter.rank if adapter else 16,
        "unsloth_vllm_standby": settings.standby,
        "enforce_eager": settings.enforce_eager,
    }


def wants_engine(settings: UnslothConfig, dtype: torch.dtype) -> bool:
    """Whether vLLM samples: as set, or where it is installed and has the type of the numbers."""
    if settings.fast_inference is None:
        return find_spec("vllm") is not None and dtype == torch.bfloat16
    return settings.fast_inference


def check_engine(model: Any, settings: UnslothConfig, longest: int, *, wanted: bool) -> None:
    """The engine is there if it was asked for, with the settings that were asked for.

    Unsloth goes on without it where the GPU or the model does not fit, and it shortens vLLM's rows
    and drops standby where it thinks fit; it only prints so.
    """
    engine = getattr(model, "vllm_engine", None)
    if engine is None:
        if settings.fast_inference or settings.standby:
            raise PreflightError(
                "Unsloth loaded the model without vLLM, for which this GPU or this model does not fit",
                place="backend.with.fast_inference",
                remedy="set `backend.with.fast_inference: false` and leave standby out",
            )
        if wanted:
            log.warning(
                "Unsloth loaded the model without vLLM, for which this GPU or this model does not "
                "fit; the model itself samples, much slower"
            )
        return
    config = engine.llm_engine.vllm_config.model_config
    if config.max_model_len < longest:
        raise OutOfMemoryError(
            f"vLLM has room for rows of {config.max_model_len} tokens, and the recipe needs {longest}",
            place="backend.with.gpu_memory_utilization",
            remedy="raise it, set load_in_4bit: true, or lower rollout.max_tokens, "
            "rollout.max_prompt_tokens or backend.with.max_seq_length",
        )
    if settings.standby and not config.enable_sleep_mode:
        raise PreflightError(
            "Unsloth has no standby for this model",
            place="backend.with.standby",
            remedy="leave it out",
        )


def check_bits(model: Any, settings: UnslothConfig) -> None:
    if settings.load_in_4bit and not in_four_bits(model):
        raise PreflightError(
            "Unsloth loaded the model in 16 bits although 4 were asked for",
            place="backend.with.load_in_4bit",
            remedy="set `backend.with.load_in_4bit: false`, or run on a GPU with bitsandbytes",
        )


def in_four_bits(model: Any) -> bool:
    """Whether a layer holds its weights in bitsandbytes' 4 bits.

    The flag that transformers sets is not set where the weights come from vLLM.
    """
    return any(type(module).__name__ == "Linear4bit" for module in model.modules())


def checkpointing(recipe: Recipe, settings: UnslothConfig) -> bool | str:
    if not recipe.model.gradient_checkpointing:
        return False
    return "unsloth" if settings.checkpointing == "unsloth" else True


def check(policy: UnslothPolicy) -> None:
    """Hidden states and head must give the model's own logits."""
    if not policy.patched:
        check_head(policy)
        return
    ids = torch.tensor([[policy.tokenizer.ends.main, *policy.tokenizer.encode_text("2 + 3")]])
    forward = policy.forward()
    model = policy.model.eval()
    with forward.precision():
        check_hidden_states(model, forward.body, ids.to(policy.device))  # type: ignore[arg-type]
