"""TrlBackend: TRL's GRPOTrainer under the recipe's algorithm. It joins the parts and decides nothing."""

from __future__ import annotations

import gc
import hashlib
import logging
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from grpokit.api import (
    Completion,
    Feed,
    GrpokitError,
    Message,
    PreflightError,
    Prompt,
    Recipe,
    Rollout,
    Sampling,
    ShouldStop,
)
from grpokit_hf.groups import grouped
from grpokit_hf.load import use_threads
from grpokit_hf.locate import Located, ensure, locate
from grpokit_hf.machine import versions
from grpokit_hf.state import policy_folder
from grpokit_hf.weights import weights_hash
from grpokit_hf.window import check_window
from grpokit_trl import compat, launch, moments, state
from grpokit_trl.config import TrlConfig
from grpokit_trl.drawing import Drawn, draw
from grpokit_trl.load import Loaded, load, read_adapter
from grpokit_trl.preflight import recipe_problems
from grpokit_trl.reference import Reference

__all__ = ["TrlBackend"]

log = logging.getLogger("grpokit.trl")
PACKAGES = ("torch", "transformers", "peft", "accelerate", "trl", "vllm", "deepspeed")
DRAWING = (
    "generation_kwargs",
    "repetition_penalty",
    "use_transformers_continuous_batching",
    "vllm_structured_outputs_regex",
)
"""Keys of ``args`` that change what is drawn, in an evaluation too."""


class TrlBackend:
    """Implements ``LoopBackend``. Bit-exact on a CPU in one process, with transformers' generation."""

    def __init__(self, config: TrlConfig | None = None) -> None:
        self.config = config or TrlConfig()
        self._trainer: Any = None
        self._loaded: Loaded | None = None
        self._located: Located | None = None
        self._weights: Path | None = None
        self._reference: Reference | None = None
        self._pending: state.Saved | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._adapter_hash = ""
        self._before: dict[str, str | None] = {}

    # ------------------------------------------------------------- opening

    def open(self, recipe: Recipe, *, needs_reference: bool, needs_entropy: bool) -> None:
        """Loads the model for training."""
        for wrong in recipe_problems(recipe, self.config):
            raise PreflightError(wrong.fact, place=wrong.key, remedy=wrong.remedy)
        loaded = self._load(recipe)
        self._reference = Reference(loaded, recipe, self.config.attention, needed=needs_reference)
        trainer = self._make_trainer(recipe, loaded)
        trainer._entropy_bonus_enabled = needs_entropy  # noqa: SLF001  # TRL 1.14: with a gradient
        self._reference.place(trainer)

    def open_checkpoint(self, recipe: Recipe, folder: Path | None) -> None:
        """Loads for sampling: the base model, or the policy that ``save_policy`` wrote."""
        if folder is None:
            loaded = self._load(recipe, train=False)
        else:
            saved = policy_folder(folder)
            if (saved / "adapter_config.json").is_file():
                loaded = self._load(recipe, train=False)
                read_adapter(loaded, saved)
                data = (saved / "adapter_model.safetensors").read_bytes()
                self._adapter_hash = hashlib.sha256(data).hexdigest()[:16]
            else:
                loaded = self._load(recipe, train=False, weights=saved)
        self._make_trainer(recipe, loaded)

    def _load(self, recipe: Recipe, *, train: bool = True, weights: Path | None = None) -> Loaded:
        silence_hub()
        threads = use_threads(self.config.threads)
        self._located = locate(recipe.model.id, recipe.model.revision)
        folder = ensure(self._located, say=progress)
        self._weights = weights
        self._loaded = load(recipe, folder, self.config.attention, weights=weights, train=train)
        for note in self._loaded.tokenizer.notes:
            log.info("%s", note)
        log.info("%s with %d threads", recipe.model.id, threads)
        return self._loaded

    def _make_trainer(self, recipe: Recipe, loaded: Loaded) -> Any:
        if not compat.in_range(compat.version()):
            raise PreflightError(
                f"the trl backend knows TRL 1.14 to 1.16, and {compat.version() or 'none'} is installed",
                place="backend.use",
                remedy=f"run `{compat.INSTALL}`",
            )
        if self.config.device == "cuda" and not torch.cuda.is_available():
            raise PreflightError(
                "torch finds no CUDA device",
                place="backend.with.device",
                remedy="install a CUDA build of torch, or set `backend.with.device: cpu`",
            )
        self._set_environment()
        import trl

        from grpokit_trl.arguments import grpo_config
        from grpokit_trl.driver import Driver
        from grpokit_trl.trainer import make_trainer, quiet

        quiet()
        compat.check(trl.GRPOTrainer, trl.GRPOConfig)
        self._scratch = tempfile.TemporaryDirectory(prefix="grpokit-trl-")
        args = grpo_config(recipe, self.config, loaded, self._scratch.name)
        trainer = make_trainer(recipe, loaded, args)
        reference = self._reference
        trainer.driver = Driver(
            recipe,
            trainer,
            lambda resets: self.reference.reset(resets, trainer),
            reference.active if reference is not None and reference.needed else None,
        )
        self._trainer = trainer
        return trainer

    def _set_environment(self) -> None:
        """What the accelerate configuration asks for, until the backend is closed."""
        name = self.config.accelerate_config
        asked = {} if name is None else launch.apply(name)
        asked["ACCELERATE_MIXED_PRECISION"] = "bf16" if self.loaded.autocast else "no"
        launch.check_shards(asked, self.config.args, gpus=torch.cuda.device_count())
        self._before = {key: os.environ.get(key) for key in asked}
        os.environ.update(asked)

    @property
    def loaded(self) -> Loaded:
        if self._loaded is None:
            raise not_open()
        return self._loaded

    @property
    def trainer(self) -> Any:
        if self._trainer is None:
            raise not_open()
        return self._trainer

    @property
    def reference(self) -> Reference:
        if self._reference is None:
            raise not_open()
        return self._reference

    # ------------------------------------------------------------- sampling

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Token ids of the rendered prompt, the same as those of the backend `hf`."""
        return self.loaded.tokenizer.encode(messages)

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, should_stop: ShouldStop | None = None
    ) -> Rollout:
        """``sampling.group`` completions a prompt, drawn by TRL.

        Log-probs of the sampler come with vLLM alone, and only where top-p, top-k and min-p are off:
        vLLM says them after the cut.
        """
        ids = [self.encode(prompt.messages) for prompt in prompts]
        check_window(self.loaded.base, prompts, ids, sampling)
        drawn = draw(self.trainer, prompts, ids, sampling, self.config.generate_rows, should_stop)
        return grouped(prompts, ids, [self._completion(one) for one in drawn], sampling)

    def _completion(self, drawn: Drawn) -> Completion:
        tokenizer = self.loaded.tokenizer
        return Completion(
            token_ids=drawn.tokens,
            logprobs=drawn.logprobs,
            text=tokenizer.decode(drawn.tokens),
            finish="stop" if drawn.tokens[-1] in tokenizer.ends.ids else "length",
        )

    # ------------------------------------------------------------- training

    def run(self, feed: Feed) -> None:
        """TRL's loop, which asks for each optimiser step, until the feed has no more."""
        from grpokit_trl.trainer import Loop

        trainer = self.trainer
        trainer.driver.feed = feed
        trainer.add_callback(Loop(trainer, self._ready))
        trainer.train()

    def _ready(self) -> None:
        """The optimiser is made and the model is wrapped: what was saved goes into them."""
        if self._pending is not None:
            moments.give(self.trainer, self._pending.moments)
            self._pending = None

    # ------------------------------------------------------------- saving

    def save_policy(self, folder: Path) -> None:
        state.write_policy(self.loaded, self.trainer, folder)

    def save_state(self, folder: Path) -> None:
        pending = self._pending
        found = moments.take(self.trainer) if pending is None else pending.moments
        state.write_state(self.trainer, found, self.reference.saved(), folder)

    def load_state(self, folder: Path) -> None:
        """Before ``run``: AdamW's moments wait until TRL has made the optimiser."""
        state.load_weights(self.loaded, policy_folder(folder))
        self._pending, reference = state.read_state(self.trainer, folder)
        self.trainer.driver.bad_streak = self._pending.streak
        if reference is not None:
            self.reference.set(reference)

    @property
    def identity(self) -> Mapping[str, Any]:
        """What an evaluation's result belongs to; two results with different ones do not compare."""
        loaded, located = self.loaded, self._located
        return {
            "model": located.id if located else "",
            "revision": (located.revision if located else None) or "",
            "weights": weights_hash(self._weights or loaded.folder),
            "adapter": self._adapter_hash,
            "chat_template": loaded.tokenizer.template_hash,
            "tokenizer": loaded.tokenizer.tokenizer_hash,
            "stop_ids": sorted(loaded.tokenizer.ends.ids),
            "dtype": "bfloat16" if loaded.autocast else str(loaded.dtype).removeprefix("torch."),
            "attention": self.config.attention,
            "device": self.trainer.accelerator.device.type,
            "backend": "trl",
            "generation": f"vllm-{self.config.vllm}" if self.config.vllm else "transformers",
            **{key: self.config.args[key] for key in DRAWING if key in self.config.args},
            "versions": versions(PACKAGES),
        }

    def close(self) -> None:
        """Frees the model and, on a GPU, its memory."""
        self._trainer = self._loaded = self._reference = self._pending = None
        for key, value in self._before.items():
            os.environ.pop(key, None)
            if value is not None:
                os.environ[key] = value
        self._before = {}
        if self._scratch is not None:
            self._scratch.cleanup()
        gc.collect()  # trainer, driver and callbacks hold each other
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def not_open() -> GrpokitError:
    return GrpokitError("the backend is not open", remedy="call open or open_checkpoint")


def silence_hub() -> None:
    """No telemetry; set before the hub's client is imported, which reads it once."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def progress(message: str) -> None:
    """A line about a download, on stderr, before anything else is shown."""
    sys.stderr.write(message + "\n")
