"""TRL's GRPOTrainer with the recipe's step in place of its own.

TRL generates, places the model, wraps it for several processes, runs the loop and applies the
gradients. What is overridden are the few methods that stayed the same from 1.14 to 1.16 (see
``compat``): the rewards are zeros, because they come from the recipe; a batch of the loop is nothing
but the word to take one optimiser step; and the step is the driver's.
"""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from trl import GRPOTrainer

from grpokit.api import PreflightError, Recipe, Sampling, derive_seed
from grpokit_hf.nn.batch import Row
from grpokit_hf.optim import make_optimizer
from grpokit_trl.agree import apart
from grpokit_trl.arguments import refused
from grpokit_trl.compat import plain_logps
from grpokit_trl.drawing import Drawn
from grpokit_trl.driver import Driver
from grpokit_trl.handover import hand_over_merged
from grpokit_trl.load import Loaded
from grpokit_trl.rows import pack

__all__ = ["StepTrainer", "make_trainer", "quiet"]


def quiet() -> None:
    """Their logs would tear the live view; what matters comes as an error."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    for name in ("trl", "accelerate"):
        logging.getLogger(name).setLevel(logging.ERROR)


def nothing(completions: Sequence[Any], **_: Any) -> list[float]:
    """TRL wants a reward function; this one is never called."""
    return [0.0] * len(completions)


def make_trainer(recipe: Recipe, loaded: Loaded, args: Any) -> StepTrainer:
    """The trainer, ready to draw; the data set is a placeholder that is never read."""
    try:
        trainer = StepTrainer(
            model=loaded.model,
            reward_funcs=nothing,
            args=args,
            train_dataset=Dataset.from_dict({"prompt": ["-"]}),
            processing_class=loaded.clothed,
        )
    except (
        ValueError,
        TypeError,
        ImportError,
        RuntimeError,
        NotImplementedError,
        OSError,
    ) as error:
        raise refused(error) from error
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    trainer.recipe = recipe
    trainer.loaded = loaded
    trainer.plain = plain_logps(trainer.accelerator.device.type)
    if args.use_vllm and loaded.adapter and not trainer.sharded():
        hand_over_merged(trainer.vllm_generation)
    wanted = int(os.environ.get("WORLD_SIZE", "1"))
    if trainer.accelerator.num_processes != wanted:
        raise PreflightError(
            f"the run has {wanted} processes, and accelerate joined "
            f"{trainer.accelerator.num_processes} of them",
            place="backend.with.accelerate_config",
            remedy="leave the number of processes to `grpokit train --processes`",
        )
    return trainer


class Loop(TrainerCallback):  # type: ignore[misc]  # untyped here
    """Ends and begins the run's steps between two optimiser steps of the trainer's loop."""

    def __init__(self, trainer: StepTrainer, ready: Any) -> None:
        self.trainer = trainer
        self.ready = ready

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.ready()
        control.should_training_stop = not self.trainer.driver.advance()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_training_stop = not self.trainer.driver.advance()


class StepTrainer(GRPOTrainer):  # type: ignore[misc]  # TRL is untyped here
    """One ``training_step`` is one optimiser step of the recipe."""

    optimizer: Any
    lr_scheduler: Any
    recipe: Recipe
    loaded: Loaded
    driver: Driver
    plain: bool
    rendered: Sequence[tuple[int, ...]] = ()

    # ------------------------------------------------------------- what TRL asks

    def _send_telemetry(self) -> None:
        """Nothing is sent to anyone."""

    def _calculate_rewards(
        self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any
    ) -> Tensor:
        """Zeros for all processes: the recipe's rewards score what is drawn here."""
        count = len(prompts) * self.accelerator.num_processes
        return torch.zeros(count, len(self.reward_funcs), device=self.accelerator.device)

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        """A prompt is its number among those that grpokit has rendered."""
        return [list(self.rendered[int(name)]) for name in prompts], None, {}

    def get_train_dataloader(self) -> Any:
        """A word for each optimiser step, as long as there is one to take."""
        return Words(self)

    def create_optimizer(self, model: Any = None) -> Any:
        """AdamW as the recipe has it."""
        if self.optimizer is None:
            named = (self.model if model is None else model).named_parameters()
            weights = {name: weight for name, weight in named if weight.requires_grad}
            self.optimizer = make_optimizer(weights, self.recipe)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """One that changes nothing; the rate is set before each step."""
        if self.lr_scheduler is None:
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer or self.optimizer, lambda _: 1.0
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        return self.driver.optimizer_step(model)

    def _clip_grad_norm(self, model: Any) -> None:
        """Done with the step."""

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> float:
        return 0.0

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """The records are kept elsewhere."""

    # ------------------------------------------------------------- what the step asks

    @property
    def pad_id(self) -> int:
        return self.loaded.tokenizer.pad_id

    def sharded(self) -> bool:
        """Each process holds only a part of the weights."""
        return bool(self.is_fsdp_enabled or self.is_deepspeed_enabled)

    def causal(self) -> Any:
        """The causal model inside all wrappers."""
        model = self.accelerator.unwrap_model(self.model)
        return model.get_base_model() if self.loaded.adapter else model

    def complete(self, ids: Sequence[tuple[int, ...]], sampling: Sampling) -> list[Drawn]:
        """``sampling.group`` completions of each prompt, by TRL's own generation."""
        self.rendered = ids
        self.model.eval()
        inputs = [
            {"prompt": str(place)} for place in range(len(ids)) for _ in range(sampling.group)
        ]
        made = self.drawn(inputs)
        self.model.eval()
        for table in self._metrics.values():
            table.clear()
        counts = made["completion_mask"].sum(dim=1).tolist()
        known = made.get("sampling_per_token_logps")
        cut = sampling.top_p < 1 or sampling.top_k > 0 or sampling.min_p > 0
        if cut or self.repetition_penalty != 1:
            known = None  # vLLM says them after the cut, training computes them before it
        found = []
        for row, count in enumerate(counts):
            said = None if known is None else known[row, :count]
            if said is not None and said.isnan().any():
                said = None  # vLLM could not say one
            tokens = tuple(made["completion_ids"][row, :count].tolist())
            found.append(Drawn(tokens, None if said is None else tuple(said.tolist())))
        return found

    def drawn(self, inputs: list[dict[str, str]]) -> Any:
        """In the type of the run, also where nothing trains and accelerate has not wrapped the model."""
        try:
            with torch.no_grad(), self.accelerator.autocast():
                return self._generate_and_score_completions(inputs)
        except (ValueError, TypeError) as error:
            if not self.args.generation_kwargs:
                raise
            raise refused(error) from error

    def row_logps(
        self, model: Any, rows: Sequence[Row], temperature: float, *, with_entropy: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Log p of the completion tokens, rows one after another, and their entropy.

        ``model`` None is the policy as TRL scores with it.
        """
        packed = pack(rows, self.pad_id, self.accelerator.device, self.pad_to_multiple_of or 1)
        foreign = model is not None and self.accelerator.unwrap_model(model) is not (
            self.accelerator.unwrap_model(self.model)
        )
        fused_at = self.args.temperature
        with self.accelerator.autocast():
            if self.plain or foreign or temperature != fused_at:
                values_NK, entropy_NK = self.plain_row_logps(
                    model, packed, temperature, with_entropy=with_entropy
                )
            else:
                values_NK, entropy_NK, _ = self._get_per_token_logps_and_entropies(
                    model=self.model if model is None else model,
                    input_ids=packed.ids_NL,
                    attention_mask=packed.mask_NL,
                    logits_to_keep=packed.keep,
                    compute_entropy=with_entropy,
                )
        entropy_M = None if entropy_NK is None else entropy_NK[packed.wanted_NK]
        return values_NK[packed.wanted_NK], entropy_M

    def plain_row_logps(
        self, model: Any, packed: Any, temperature: float, *, with_entropy: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The same from the model's logits, for models and temperatures that TRL's kernel is not made for."""
        model = self.model if model is None else model
        known = inspect.signature(type(self.causal()).forward).parameters
        options = {"logits_to_keep": packed.keep + 1} if "logits_to_keep" in known else {}
        out = model(
            input_ids=packed.ids_NL, attention_mask=packed.mask_NL, use_cache=False, **options
        )
        logits_NKV = out.logits[:, -packed.keep - 1 : -1].float() / temperature
        chosen_NK1 = packed.ids_NL[:, -packed.keep :, None]
        if not with_entropy:  # a table of all tokens less
            chosen_NK = logits_NKV.gather(2, chosen_NK1)[:, :, 0]
            return chosen_NK - logits_NKV.logsumexp(-1), None
        logprobs_NKV = logits_NKV.log_softmax(-1)
        entropy_NK = -(logprobs_NKV.exp() * logprobs_NKV).sum(-1)
        return logprobs_NKV.gather(2, chosen_NK1)[:, :, 0], entropy_NK

    def set_training(self) -> None:
        """Dropout and recomputation are at work in training mode only."""
        lora = self.recipe.model.lora
        dropout = lora.dropout if lora else 0.0
        self.model.train(self.recipe.model.gradient_checkpointing or dropout > 0)

    @contextmanager
    def together(self, model: Any, *, last: bool) -> Iterator[None]:
        """With shards gradients are put together in the last micro-batch; else later, by us."""
        state = self.accelerator.gradient_state
        skip = apart(self) or (not last and self.is_fsdp_enabled)
        state._set_sync_gradients(last)  # noqa: SLF001  # as transformers' own loop does
        try:
            with self.accelerator.no_sync(model) if skip else nullcontext():
                yield
        finally:
            state._set_sync_gradients(True)  # noqa: SLF001

    @contextmanager
    def dropout_seed(self, *parts: int) -> Iterator[None]:
        """Adapter dropout draws from (seed, step, optimiser step, micro-batch)."""
        lora = self.recipe.model.lora
        if lora is None or lora.dropout == 0:
            yield
            return
        device = self.accelerator.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(derive_seed(self.recipe.train.seed, "dropout", *parts))
            yield

    def set_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def clipped_norm(self, model: Any, largest: float) -> float:
        """The norm of the gradients of all processes, before they are scaled down to ``largest``."""
        return float(self.accelerator.clip_grad_norm_(model.parameters(), largest))

    def most_of(self, count: int) -> int:
        """The largest of all processes' counts."""
        own = torch.tensor([count], device=self.accelerator.device)
        return int(self.accelerator.gather(own).max())


class Words:
    """A batch for each optimiser step; it holds nothing, because the driver knows the step."""

    def __init__(self, trainer: StepTrainer) -> None:
        self.trainer = trainer

    def __len__(self) -> int:
        return int(self.trainer.args.max_steps)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while (work := self.trainer.driver.work) is not None and work.parts:
            yield {}
