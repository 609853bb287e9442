"""Unsloth's LoRA: from a recipe, from a seed, from a saved folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

from grpokit.api import CheckpointError, PreflightError, Recipe, derive_seed
from grpokit_hf import state
from grpokit_hf.load import misfit
from grpokit_unsloth.policy import UnslothPolicy
from grpokit_unsloth.start import first_line, quiet, steady_random

__all__ = ["Adapter", "adapter_of", "add_adapter", "saved_adapter", "use_saved"]


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """The shape of a LoRA adapter."""

    rank: int
    alpha: float
    dropout: float
    targets: str | list[str]


def adapter_of(recipe: Recipe) -> Adapter | None:
    """The adapter that a recipe asks for."""
    section = recipe.model.lora
    if section is None:
        return None
    targets = section.targets if isinstance(section.targets, str) else list(section.targets)
    return Adapter(rank=section.rank, alpha=section.alpha, dropout=section.dropout, targets=targets)


def add_adapter(policy: UnslothPolicy, recipe: Recipe, adapter: Adapter) -> None:
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
                use_gradient_checkpointing=policy.recompute,
                random_state=seed % 2**32 if policy.patched else seed,
            )
    except ValueError as error:
        raise PreflightError(
            f"no adapter fits lora.targets {adapter.targets}: {first_line(error)}",
            place="model.lora.targets",
            remedy="name linear modules of the model, or `all-linear`",
        ) from error
    policy.adapter = True
    foreign = [name for name in policy.weights if ".lora_" not in name]
    if foreign:  # they would be trained, and not be in a checkpoint
        raise PreflightError(
            f"beside the adapter Unsloth wants to train {foreign[0]} in full",
            place="model.id",
            remedy="take a model whose tokenizer needs no new tokens, or `backend.use: hf`",
        )


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
