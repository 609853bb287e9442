"""UnslothBackend: the `hf` backend's loop around Unsloth's model. Import it after Unsloth (``start``)."""

from __future__ import annotations

import gc
import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from grpokit.api import (
    PreflightError,
    Prompt,
    Recipe,
    Rollout,
    Sampling,
    ShouldStop,
    derive_seed,
)
from grpokit_hf import state
from grpokit_hf.backend import HfBackend, progress
from grpokit_hf.load import use_threads
from grpokit_hf.locate import ensure, locate
from grpokit_hf.machine import versions
from grpokit_hf.nn.decode import Drawn
from grpokit_hf.text.tokenizer import ChatTokenizer
from grpokit_unsloth.adapter import Adapter, adapter_of, saved_adapter, use_saved
from grpokit_unsloth.config import UnslothConfig
from grpokit_unsloth.load import in_four_bits, load_policy
from grpokit_unsloth.policy import UnslothPolicy
from grpokit_unsloth.rollout import by_generate, by_vllm, rest, stop

__all__ = ["UnslothBackend"]

log = logging.getLogger("grpokit.unsloth")

PACKAGES = ("unsloth", "unsloth_zoo", "trl", "bitsandbytes", "vllm")


class UnslothBackend(HfBackend):
    """Implements ``StepBackend``. On a CPU it computes what `hf` computes, bit by bit."""

    def __init__(self, settings: UnslothConfig | None = None) -> None:
        self.settings = settings or UnslothConfig()
        super().__init__(self.settings.as_hf())

    # ------------------------------------------------------------- opening

    def open_checkpoint(self, recipe: Recipe, folder: Path | None) -> None:
        """Loads for sampling: the base model, or the policy that ``save_policy`` wrote."""
        self._adapter_hash = ""
        if folder is None:
            self._load(recipe, train=False)
            return
        saved = state.policy_folder(folder)
        if not (saved / "adapter_config.json").is_file():
            self._load(recipe, train=False, weights=saved)
            return
        use_saved(self._load(recipe, adapter=saved_adapter(saved)), saved)
        data = (saved / "adapter_model.safetensors").read_bytes()
        self._adapter_hash = hashlib.sha256(data).hexdigest()[:16]

    def _load(
        self,
        recipe: Recipe,
        *,
        train: bool = True,
        weights: Path | None = None,
        adapter: Adapter | None = None,
    ) -> UnslothPolicy:
        if self._policy is not None:  # two models, and two engines, do not fit
            self.close()
        threads = use_threads(self.settings.threads)
        section = recipe.model
        self._located = locate(section.id, section.revision)
        folder = ensure(self._located, say=progress)
        tokenizer = ChatTokenizer(folder, eos=section.eos, chat_template=section.chat_template)
        for note in tokenizer.notes:
            log.info("%s", note)
        self._weights, self._recipe = weights, recipe
        if train and adapter is None:
            adapter = adapter_of(recipe)
        policy = load_policy(
            recipe, self.settings, folder, tokenizer, weights=weights, adapter=adapter
        )
        self._policy = policy
        sampler = "vLLM" if policy.engine is not None else "the model itself"
        log.info(
            "%s under Unsloth on %s with %d threads, sampled by %s",
            *(section.id, policy.device, threads, sampler),
        )
        return policy

    @property
    def policy(self) -> UnslothPolicy:
        found = super().policy
        assert isinstance(found, UnslothPolicy)
        return found

    # ------------------------------------------------------------- sampling

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, should_stop: ShouldStop | None = None
    ) -> Rollout:
        """On a CPU as `hf` samples. On a GPU vLLM does, on the same weights, or the model's ``generate``."""
        self._check_rows(prompts, sampling)
        rollout = super().generate(prompts, sampling, should_stop)
        if self.settings.standby and self.policy.engine is not None:
            rest(self.policy)
        return rollout

    def _sample(
        self,
        rows: Sequence[tuple[int, int]],
        prompts: Sequence[Prompt],
        ids: Sequence[tuple[int, ...]],
        sampling: Sampling,
        should_stop: ShouldStop | None,
    ) -> list[Drawn]:
        if not self.policy.patched:
            return super()._sample(rows, prompts, ids, sampling, should_stop)
        seeds = [derive_seed(sampling.seed, sampling.step, prompts[p].id, g) for p, g in rows]
        own = [ids[p] for p, _ in rows]
        if self.policy.engine is None:
            drawn = by_generate(self.policy, own, seeds, sampling, should_stop)
        else:
            if should_stop is not None:
                should_stop()
            drawn = by_vllm(self.policy, own, seeds, sampling)
        endings = self.policy.tokenizer.endings(sampling.until, own)
        return endings.cut(drawn) if endings else drawn

    @property
    def longest(self) -> float:
        return min(super().longest, self.policy.longest)

    def _check_rows(self, prompts: Sequence[Prompt], sampling: Sampling) -> None:
        """Prompt and completion fit into ``max_seq_length``: Unsloth would cut them without an error."""
        for prompt in prompts:
            length = len(self.encode(prompt.messages))
            if length + sampling.max_tokens > self.policy.longest:
                raise PreflightError(
                    f"a prompt of {length} tokens and {sampling.max_tokens} new ones are more "
                    f"than the {self.policy.longest} that the model was opened for",
                    place=f"data set row {prompt.index}",
                    remedy="raise backend.with.max_seq_length, or set rollout.max_prompt_tokens "
                    "with on_long_prompt: drop",
                )

    # ------------------------------------------------------------- the rest

    @property
    def identity(self) -> Mapping[str, Any]:
        """What an evaluation's result belongs to; two results with different ones do not compare."""
        return {
            **super().identity,
            "backend": "unsloth",
            "bits": 4 if in_four_bits(self.policy.model) else 16,
            "sampler": "vllm" if self.policy.engine is not None else "model",
            "versions": {**versions(), **versions(PACKAGES)},
        }

    def close(self) -> None:
        """Frees the model and ends vLLM's engine with it."""
        policy = self._policy
        engine = policy.engine if isinstance(policy, UnslothPolicy) else None
        if engine is not None:
            stop(engine)
        super().close()
        if torch.cuda.is_available():
            gc.collect()
            torch.cuda.empty_cache()
