"""A model folder becomes a policy: Unsloth's FastLanguageModel, and its adapter."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from grpokit.api import CheckpointError, PreflightError, Recipe, derive_seed
from grpokit_hf import state
from grpokit_hf.load import (
    Policy,
    check_head,
    logit_changes,
    misfit,
    pick_device,
    pick_kernel,
    silence_dropout,
)
from grpokit_hf.nn import attention, lora
from grpokit_hf.nn.forward import Forward
from grpokit_hf.text.tokenizer import ChatTokenizer, read_json
from grpokit_unsloth.config import UnslothConfig
from grpokit_unsloth.forward import HiddenStates, check_hidden_states
from grpokit_unsloth.start import first_line, quiet

__all__ = ["Adapter", "UnslothPolicy", "load_policy", "saved_adapter", "use_saved"]

PROMPT_ROOM = 2048
"""Tokens of a prompt that fit where the recipe sets no limit of its own."""


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """The shape of a LoRA adapter."""

    rank: int
    alpha: float
    dropout: float
    targets: str | list[str]


@dataclass(kw_only=True)
class UnslothPolicy(Policy):
    """hf's policy around Unsloth's model.

    Attributes:
        longest: tokens that a row may have; Unsloth would cut what is longer without an error.
        engine: vLLM on the same weights; None where the model samples itself.
        recompute: gradient checkpointing in Unsloth's words: no, plain, or to the host's memory.
    """

    longest: int
    engine: Any = None
    recompute: bool | str = False

    @property
    def patched(self) -> bool:
        """Unsloth's kernels are in the model: so on a GPU, and never on a CPU."""
        return self.device.type != "cpu"

    @property
    def mask_dtype(self) -> torch.dtype:
        return torch.bool if self.patched else super().mask_dtype

    def forward(self, model: Any = None) -> Forward:
        if not self.patched:
            return super().forward(model)
        base = self.base if model is None else model
        softcap, scale = logit_changes(base.config)
        return Forward(
            body=HiddenStates(base, base.config.get_text_config().hidden_size),
            head=base.get_output_embeddings(),
            pad_id=self.tokenizer.pad_id,
            shared=False,
            mask_dtype=self.mask_dtype,
            key_dtype=self.compute,
            autocast=self.autocast,
            logit_rows=self.config.logit_rows,
            device=self.device,
            softcap=softcap,
            logit_scale=scale,
        )

    def ready_to_train(self) -> None:
        """Undoes what Unsloth's ``generate`` leaves: it turns gradient checkpointing off for good."""
        from unsloth import FastLanguageModel

        if self.patched:
            FastLanguageModel.for_training(self.model, use_gradient_checkpointing=self.recompute)
        self.model.eval()

    @contextmanager
    def sampling(self) -> Iterator[None]:
        if not self.patched:
            with super().sampling():
                yield
            return
        self.model.eval()
        yield


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
    kernel = pick_kernel(settings.attention, device) if on_cpu else "unsloth"
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
        add_adapter(policy, recipe, settings, adapter)
    policy.base.config.use_cache = True  # Unsloth turns it off; the setting would be saved
    policy.model.eval()
    return policy


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
        options = engine_options(settings, adapter)
    else:
        attention.register()
        options["attn_implementation"] = attention.KERNELS[kernel]
    try:
        with quiet("load"), steady_random():
            model, _ = FastLanguageModel.from_pretrained(
                str(folder),
                max_seq_length=longest,
                dtype=dtype,
                load_in_4bit=settings.load_in_4bit,
                full_finetuning=recipe.model.lora is None,
                use_gradient_checkpointing=checkpointing(recipe, settings),
                local_files_only=True,
                use_safetensors=True,
                fix_tokenizer=False,  # ours is used; mending theirs may write into the working folder
                trust_remote_code=False,
                **options,
            )
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        RuntimeError,
        ImportError,
        NotImplementedError,
    ) as error:
        raise PreflightError(
            f"Unsloth cannot load the model: {first_line(error)}",
            place=str(folder),
            remedy="take the backend `hf`, or a model that Unsloth knows",
        ) from error
    if settings.load_in_4bit and not getattr(model, "is_loaded_in_4bit", False):
        raise PreflightError(
            "Unsloth loaded the model in 16 bits although 4 were asked for",
            place="backend.with.load_in_4bit",
            remedy="set `backend.with.load_in_4bit: false`, or run on a GPU with bitsandbytes",
        )
    return model


def engine_options(settings: UnslothConfig, adapter: Adapter | None) -> dict[str, Any]:
    """What the GPU's loader takes beside the rest. vLLM holds one adapter of the recipe's rank."""
    if not wants_engine(settings):
        return {"fast_inference": False}
    return {
        "fast_inference": True,
        "gpu_memory_utilization": settings.gpu_memory_utilization,
        "max_lora_rank": adapter.rank if adapter else 16,
        "unsloth_vllm_standby": settings.standby,
        "enforce_eager": settings.enforce_eager,
    }


def wants_engine(settings: UnslothConfig) -> bool:
    """Whether vLLM samples: as set, or where it is installed."""
    from importlib.util import find_spec

    if settings.fast_inference is None:
        return find_spec("vllm") is not None
    return settings.fast_inference


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


def add_adapter(
    policy: UnslothPolicy, recipe: Recipe, settings: UnslothConfig, adapter: Adapter
) -> None:
    """Unsloth's LoRA on the chosen modules; on a CPU the same start as under `hf`, from the run's seed."""
    from unsloth import FastLanguageModel

    named = [adapter.targets] if isinstance(adapter.targets, str) else adapter.targets
    whole = sorted({"lm_head", "embed_tokens"} & set(named))
    if whole:
        raise PreflightError(
            f"lora.targets names {whole[0]}, which Unsloth would train in full and not as an adapter",
            place="model.lora.targets",
            remedy="leave it out",
        )
    seed = derive_seed(recipe.train.seed, "lora")
    try:
        with quiet("adapter"), steady_random():
            policy.model = FastLanguageModel.get_peft_model(
                policy.model,
                r=adapter.rank,
                lora_alpha=adapter.alpha,
                lora_dropout=adapter.dropout,
                target_modules=adapter.targets,
                use_gradient_checkpointing=checkpointing(recipe, settings),
                random_state=seed % 2**32 if policy.patched else seed,
            )
    except ValueError as error:
        raise PreflightError(
            f"no adapter fits lora.targets {adapter.targets}: {first_line(error)}",
            place="model.lora.targets",
            remedy="name linear modules of the model, or `all-linear`",
        ) from error
    policy.adapter = True
    if not policy.patched:
        lora.install(policy.model)


@contextmanager
def steady_random() -> Iterator[None]:
    """Unsloth seeds Python's, numpy's and torch's generators; they go on as if it had not."""
    import numpy as np

    plain, arrays = random.getstate(), np.random.get_state()  # noqa: NPY002 - what Unsloth seeds
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(plain)
            np.random.set_state(arrays)  # noqa: NPY002


def saved_adapter(folder: Path) -> Adapter:
    """The shape of an adapter that ``save_policy`` or PEFT wrote."""
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        return Adapter(
            rank=int(config["r"]),
            alpha=float(config["lora_alpha"]),
            dropout=float(config.get("lora_dropout") or 0.0),
            targets=config["target_modules"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"adapter_config.json cannot be read: {first_line(error)}",
            place=str(folder),
            remedy="give the folder of a checkpoint or of an adapter",
        ) from error


def use_saved(policy: UnslothPolicy, folder: Path) -> None:
    """Puts saved weights into the open adapter, and checks that every one of them arrived.

    An adapter that is left out in silence makes an evaluation measure the base model.
    """
    from peft import get_peft_model_state_dict

    state.load_weights(policy, folder)
    saved = load_file(folder / "adapter_model.safetensors")
    arrived = get_peft_model_state_dict(policy.model, save_embedding_layers=False)
    for name in sorted(saved.keys() | arrived.keys()):
        both = name in saved and name in arrived
        if not both or not torch.equal(arrived[name].float().cpu(), saved[name].float()):
            raise misfit(folder, f"{name} did not arrive")
