"""The contestants `unsloth` and `unsloth-trl` of `grpokit bench step`. Unsloth is imported first."""

from __future__ import annotations

from typing import Any

from grpokit.api import StepWatch, StepWork
from grpokit_unsloth.config import UnslothConfig
from grpokit_unsloth.start import make_backend, quiet, start, steady_random

__all__ = ["run", "run_trl"]

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def run(work: StepWork, watch: StepWatch) -> None:
    """Unsloth's model under grpokit's loop."""
    settings = {"device": work.device, "threads": work.threads}
    backend = make_backend(UnslothConfig.model_validate(settings))
    from grpokit_hf.bench.step import measure, recipe_of

    measure(work, watch, backend, recipe_of(work, "unsloth", settings))


def run_trl(work: StepWork, watch: StepWatch) -> None:
    """Unsloth's model under TRL's trainer, as Unsloth's user has it; without recomputation, like the others."""
    config = UnslothConfig(device="cpu" if work.device == "cpu" else "auto")
    start(config)
    from grpokit_trl.bench import check_device, threads, train

    threads(work)
    check_device(work)
    train(work, watch, load(work))


def load(work: StepWork) -> Any:
    """The model with its adapter, by ``FastLanguageModel``."""
    import torch
    from unsloth import FastLanguageModel

    longest = max(map(len, work.prompts)) + work.max_tokens
    with quiet("load"), steady_random():
        model, _ = FastLanguageModel.from_pretrained(
            work.folder,
            max_seq_length=longest,
            dtype=getattr(torch, work.dtype),
            load_in_4bit=False,
            fast_inference=False,
            use_exact_model_name=True,
            local_files_only=True,
            fix_tokenizer=False,
        )
        return FastLanguageModel.get_peft_model(
            model,
            r=work.rank,
            lora_alpha=2 * work.rank,
            lora_dropout=0.0,
            target_modules=list(LINEAR),
            use_gradient_checkpointing=False,
            random_state=work.seed,
        )
