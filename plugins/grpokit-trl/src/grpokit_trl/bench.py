"""TRL's own trainer takes the steps of a work: the contestant `trl` of `grpokit bench step`.

The trainer is TRL's, configured as its user would for this step: its loss, its sampling, its forward of
whole padded rows. None of grpokit's parts is in it. What is added takes the time, keeps completions from
ending early, and puts the work's tokens in the place of those that were drawn.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from grpokit.api import GrpokitError, PreflightError, StepWatch, StepWork

__all__ = ["run", "train", "trainer_settings"]


def run(work: StepWork, watch: StepWatch) -> None:
    """Loads the model with transformers, adapts it with PEFT, and trains."""
    threads(work)
    check_device(work)
    train(work, watch, load(work))


def check_device(work: StepWork) -> None:
    """TRL would go on without the GPU that was asked for.

    Raises:
        PreflightError: there is none.
    """
    if work.device == "cuda" and not torch.cuda.is_available():
        raise PreflightError(
            "torch finds no CUDA device",
            place="--device cuda",
            remedy="install a CUDA build of torch, or take --device cpu",
        )


def threads(work: StepWork) -> None:
    """As many as the others take: one a physical core."""
    from grpokit_hf.machine import physical_cores

    torch.set_num_threads(work.threads or physical_cores(1))


def load(work: StepWork) -> Any:
    """The model in its PEFT wrapper, with the adapter of all contestants."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        work.folder, dtype=getattr(torch, work.dtype), local_files_only=True
    )
    settings = LoraConfig(
        r=work.rank,
        lora_alpha=2 * work.rank,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, settings)


def train(work: StepWork, watch: StepWatch, model: Any) -> None:
    """The steps, by ``GRPOTrainer.train``."""
    from datasets import Dataset
    from trl import GRPOConfig

    from grpokit_hf.bench.step import timed_backward
    from grpokit_hf.bench.weights import fill_adapter
    from grpokit_trl.bench_trainer import make_class
    from grpokit_trl.trainer import quiet

    quiet()
    fill_adapter(trained(model), work.seed)
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_class(work, watch)(
            model=model,
            reward_funcs=Rewards(work),
            args=GRPOConfig(**trainer_settings(work, folder)),
            train_dataset=Dataset.from_dict({"prompt": [str(p) for p in range(len(work.prompts))]}),
            processing_class=tokenizer(work.folder),
        )
        watch.fact("threads", torch.get_num_threads())
        device = trainer.accelerator.device
        watch.fact("device", device.type)
        if device.type == "cuda":
            watch.fact("gpu", torch.cuda.get_device_name(device))
        watch.ready()
        with timed_backward(watch):
            trainer.train()


def trained(model: Any) -> dict[str, torch.Tensor]:
    """The weights that train, by name."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def tokenizer(folder: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    found = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    if found.pad_token is None:
        found.pad_token = found.eos_token
    return found


def trainer_settings(work: StepWork, folder: str) -> dict[str, Any]:
    """Keyword arguments of ``GRPOConfig``: the step of the work, and nothing shown or saved.

    One forward holds all rows, because that is the fastest; recomputation of activations, which TRL
    switches on, is off unless the contestant asks for it.
    """
    rows = len(work.prompts) * work.group
    cpu = work.device == "cpu" or not torch.cuda.is_available()
    return {
        "output_dir": folder,
        "max_steps": work.steps,
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": 1,
        "num_generations": work.group,
        "max_completion_length": work.max_tokens,
        "generation_kwargs": {"min_new_tokens": work.max_tokens},
        "temperature": 1.0,
        "shuffle_dataset": False,
        "loss_type": "grpo",
        "beta": 0.0,
        "learning_rate": work.lr,
        "lr_scheduler_type": "constant",
        "max_grad_norm": work.max_grad_norm,
        "bf16": work.dtype == "bfloat16",
        "use_cpu": cpu,
        "seed": work.seed,
        "gradient_checkpointing": bool(work.settings.get("gradient_checkpointing", False)),
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        **dict(work.settings.get("args", {})),
    }


class Rewards:
    """The work's rewards, told by a prompt's number and how often it came before."""

    __name__ = "rewards"

    def __init__(self, work: StepWork) -> None:
        self.work = work

    def __call__(self, prompts: Sequence[str], **_: Any) -> list[float]:
        return [self.work.rewards[p][g] for p, g in places(prompts)]


def places(prompts: Sequence[str]) -> list[tuple[int, int]]:
    """(p, g) of rows whose prompts are numbers."""
    seen: Counter[str] = Counter()
    found = []
    for prompt in prompts:
        found.append((int(prompt), seen[prompt]))
        seen[prompt] += 1
    return found


def check_drawn(work: StepWork, drawn: Sequence[Sequence[int]]) -> None:
    """Every row has its full length.

    Raises:
        GrpokitError: one has not.
    """
    short = [len(ids) for ids in drawn if len(ids) < work.max_tokens]
    if short:
        raise GrpokitError(
            f"a completion ended after {short[0]} of {work.max_tokens} tokens",
            place=str(Path(work.folder)),
            remedy="this is a fault of the bench",
        )
