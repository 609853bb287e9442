"""TRL's real loss code on given log-probs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from loss_draws import MAX_TOKENS, Draw

ARGS = (
    "delta",
    "sapo_temperature_pos",
    "sapo_temperature_neg",
    "use_bias_correction_kl",
    "entropy_target",
    "entropy_coef_delta",
    "entropy_coef_max",
)
"""What the loss reads from the trainer's arguments, and not from the trainer."""


@contextmanager
def loss_trainer(model: Path, folder: Path) -> Iterator[Any]:
    """A real trainer. The tests set the attributes that its loss reads."""
    import huggingface_hub.constants
    import trl
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(trl|transformers|accelerate|datasets|torch)\b")
        patch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
        patch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_TELEMETRY", True)
        made = trl.GRPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(model),
            reward_funcs=lambda completions, **_: [0.0] * len(completions),
            args=trl.GRPOConfig(
                output_dir=str(folder),
                per_device_train_batch_size=2,
                num_generations=2,
                max_completion_length=MAX_TOKENS,
                report_to="none",
                use_cpu=True,
                bf16=False,
                gradient_checkpointing=False,
                disable_tqdm=True,
            ),
            train_dataset=Dataset.from_dict({"prompt": ["x"]}),
            processing_class=PreTrainedTokenizerFast.from_pretrained(model, padding_side="left"),
        )
        made.current_gradient_accumulation_steps = 1
        made.model.train()
        yield made
    torch.set_num_threads(threads)


def their_loss(
    monkeypatch: pytest.MonkeyPatch,
    trainer: Any,
    found: Draw,
    weight_NT: Tensor | None = None,
    function: Callable[..., Tensor] | None = None,
    entropy: Callable[[Tensor], Tensor] = torch.zeros_like,
    **settings: Any,
) -> tuple[Tensor, Tensor]:
    """Loss and gradient of TRL's code on a draw, with these attributes of the trainer."""
    logprobs_NT = found.logprobs_NT.clone().requires_grad_()
    for name, value in settings.items():
        monkeypatch.setattr(trainer.args if name in ARGS else trainer, name, value)
    if weight_NT is not None:
        monkeypatch.setattr(trainer, "use_vllm", True)
        monkeypatch.setattr(trainer, "vllm_importance_sampling_correction", True)
    given = (logprobs_NT, entropy(logprobs_NT), None)
    monkeypatch.setattr(trainer, "_get_per_token_logps_and_entropies", lambda *_, **__: given)
    ids_NT = torch.ones_like(found.mask_NT, dtype=torch.long)
    batch = {
        "prompt_ids": ids_NT,
        "prompt_mask": ids_NT,
        "completion_ids": ids_NT,
        "completion_mask": found.mask_NT,
        "advantages": found.advantages_N,
        "old_per_token_logps": found.old_NT,
        "ref_per_token_logps": found.ref_NT,
        "sampling_per_token_logps": found.sampler_NT,
        "num_items_in_batch": found.mask_NT.sum(),
    }
    if weight_NT is not None:
        batch["importance_sampling_ratio"] = weight_NT
    loss = (function or type(trainer)._compute_loss)(trainer, None, batch)
    (gradient_NT,) = torch.autograd.grad(loss, logprobs_NT)
    return loss.detach(), gradient_NT
