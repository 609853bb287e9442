"""A model folder becomes a policy: weights on their device, an adapter, and grpokit's own layers.

Nothing is fetched and no code of the model's author runs.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from grpokit.api import CheckpointError, OutOfMemoryError, PreflightError, Recipe
from grpokit_hf.adapter import with_adapter
from grpokit_hf.config import HfConfig
from grpokit_hf.kernels import pick_kernel, settle
from grpokit_hf.machine import keep_memory, physical_cores
from grpokit_hf.nn import attention, lora, pointwise
from grpokit_hf.nn.head import Head
from grpokit_hf.parallel import Copies, Team, several
from grpokit_hf.policy import Policy
from grpokit_hf.shards import Shards
from grpokit_hf.text.tokenizer import ChatTokenizer

__all__ = ["load_policy", "pick_device", "pick_team", "use_threads"]


def pick_device(wanted: str) -> torch.device:
    """The device that the settings ask for; an error if a GPU is asked for and there is none."""
    found = torch.cuda.is_available()
    if wanted == "cuda" and not found:
        raise PreflightError(
            "torch finds no CUDA device",
            place="backend.with.device",
            remedy="install a CUDA build of torch, or set `backend.with.device: cpu`",
        )
    return local_device() if found and wanted != "cpu" else torch.device("cpu")


def local_device() -> torch.device:
    """This process's GPU among those of its machine.

    Raises:
        PreflightError: there are fewer GPUs than processes; NCCL would refuse two on one.
    """
    if not several():
        return torch.device("cuda")
    wanted, there = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if wanted > there:
        raise PreflightError(
            f"{wanted} processes need a GPU each, and torch sees {there}",
            place="train.processes",
            remedy=f"set train.processes: {there}, or backend.with.device: cpu",
        )
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def use_threads(wanted: int | None) -> int:
    """One thread a physical core, unless told otherwise: products gain nothing from the second.

    The processes on a machine share its cores.
    """
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if several() else 1
    count = wanted or physical_cores(local)
    torch.set_num_threads(count)
    if not torch.cuda.is_available():
        keep_memory()
    return count


def load_policy(
    recipe: Recipe,
    config: HfConfig,
    folder: Path,
    tokenizer: ChatTokenizer,
    *,
    weights: Path | None = None,
    train: bool = True,
    team: Team | None = None,
) -> Policy:
    """Loads the model of ``folder``, or of ``weights`` (a fully trained copy), and adds the adapter.

    No collectives: processes that share it meet before and after.
    """
    section = recipe.model
    full, device = section.lora is None, pick_device(config.device)
    named = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    asked = named.get(section.dtype, torch.float32 if full else torch.bfloat16)
    dtype = torch.float32 if full else asked
    team = team or Team()
    kernel = pick_kernel(config.attention, device.type, train=train, sharded=team.sharded)
    where = torch.device("cpu") if team.sharded else device  # a layer at a time goes to the device
    model = read_model(weights or folder, dtype, kernel, where)
    silence_dropout(model)
    policy = Policy(
        model=model,
        folder=folder,
        tokenizer=tokenizer,
        device=device,
        dtype=dtype,
        adapter=False,
        autocast=torch.bfloat16 if full and asked == torch.bfloat16 else None,
        kernel=kernel,
        config=config,
        checkpointing=section.gradient_checkpointing,
        dropout=0.0 if full else section.lora.dropout,  # type: ignore[union-attr]
        team=team,
    )
    check_head(policy)
    if kernel == "flex" and train:
        policy.kernel = settle(config.attention, model.config, policy.compute, device)
    install(policy, recipe, train=train)
    return policy


def install(policy: Policy, recipe: Recipe, *, train: bool) -> None:
    """The adapter, grpokit's own layers and gradient checkpointing, into a model that was read."""
    if policy.config.native and not policy.team.sharded:
        pointwise.install(policy.model)
    if train:
        add_adapter(policy, recipe)
    lora.install(policy.model, policy.linear)
    if recipe.model.gradient_checkpointing and train:
        policy.base.gradient_checkpointing_enable(
            gradient_checkpointing_kwargs={"use_reentrant": False}
        )
    policy.model.eval()
    if not train:
        policy.model.requires_grad_(requires_grad=False)


def pick_team(wanted: str) -> Team:
    """How the processes share the model; whole copies unless told otherwise."""
    if not several():
        return Team()
    return Shards() if wanted == "fsdp" else Copies()


def read_model(folder: Path, dtype: torch.dtype, kernel: str, device: torch.device) -> Any:
    """The causal model from safetensors, offline, without remote code, without progress bars."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    attention.register()
    transformers_logging.disable_progress_bar()
    options: dict[str, Any] = {"device_map": {"": device}} if device.type == "cuda" else {}
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            attn_implementation=attention.KERNELS[kernel],
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            **options,
        )
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError(
            "the model does not fit in memory",
            place=str(folder),
            remedy="take a smaller model, or model.dtype: bfloat16 with an adapter (model.lora)",
        ) from error
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise PreflightError(
            f"transformers cannot load the model: {lines[0] if lines else type(error).__name__}",
            place=str(folder),
            remedy="bring the model again, or upgrade transformers if the architecture is newer",
        ) from error
    model.config.use_cache = True
    return model


def silence_dropout(model: nn.Module) -> None:
    """No dropout in the policy: sampler and trainer must be the same function of the weights."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0  # type: ignore[assignment]


def check_head(policy: Policy) -> None:
    """The head applied to the body's hidden states must give the model's own logits."""
    ids = torch.tensor([[policy.tokenizer.ends.main, *policy.tokenizer.encode_text("2 + 3")]])
    ids = ids.to(policy.model.device)
    model = policy.model.eval()
    with torch.no_grad(), policy.forward().precision():
        own_V = model(input_ids=ids, use_cache=False).logits[0, -1].float()
        hidden_H = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state[0, -1:]
        ours_V = Head(model)(hidden_H)[0].float()
    if not torch.allclose(own_V, ours_V, rtol=2e-2, atol=2e-2):
        raise PreflightError(
            f"the architecture {model.config.model_type!r} changes its logits in a way that the "
            "hf backend does not know",
            place=str(policy.folder),
            remedy="take another model, or another backend (`grpokit plugins list`)",
        )


def add_adapter(policy: Policy, recipe: Recipe) -> None:
    """LoRA on the chosen modules, float32, started from the run's seed; nothing without ``model.lora``."""
    section = recipe.model.lora
    if section is None:
        return
    if isinstance(section.targets, list) and "lm_head" in section.targets:
        raise PreflightError(
            "lora.targets names lm_head, which the hf backend reads without an adapter",
            place="model.lora.targets",
            remedy="leave lm_head out",
        )
    policy.model = with_adapter(policy.model, recipe, policy.device)
    policy.adapter = True


def load_adapter(policy: Policy, folder: Path) -> None:
    """Puts a saved adapter on the base model, and checks that every weight of it arrived.

    An adapter that is left out in silence makes an evaluation measure the base model.
    """
    from peft import PeftModel, get_peft_model_state_dict

    try:
        saved = load_file(folder / "adapter_model.safetensors")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # missing keys are looked for below
            policy.model = PeftModel.from_pretrained(policy.model, folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise misfit(folder, str(error).strip().partition("\n")[0]) from error
    policy.adapter = True
    lora.install(policy.model, policy.linear)
    policy.model.eval()
    arrived = get_peft_model_state_dict(policy.model, save_embedding_layers=False)
    for name in sorted(saved.keys() | arrived.keys()):
        both = name in saved and name in arrived
        if not both or not torch.equal(arrived[name].cpu(), saved[name]):
            raise misfit(folder, f"{name} did not arrive")


def misfit(folder: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"the adapter does not fit the model: {reason}",
        place=str(folder),
        remedy="give the model.id that it was trained on",
    )
