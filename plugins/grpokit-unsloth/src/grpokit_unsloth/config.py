"""What a recipe may set under ``backend.with`` for ``unsloth``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from grpokit.api import Config
from grpokit_hf.config import HfConfig

__all__ = ["UnslothConfig"]


class UnslothConfig(Config):
    """Settings of the `unsloth` backend."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model lives; `auto` takes a CUDA device if there is one, else Unsloth's CPU path."""
    load_in_4bit: bool = False
    """Keep the frozen weights in 4 bits (QLoRA). Needs a GPU and an adapter; sampler and trainer then both compute with the rounded weights."""
    fast_inference: bool | None = None
    """Sample with vLLM on the same weights in the same GPU memory. Left out: on a GPU with vLLM installed; else the model's own generation samples, which is much slower."""
    gpu_memory_utilization: float = Field(default=0.5, gt=0, lt=1)
    """Share of the GPU's memory that vLLM may use, the shared weights included."""
    standby: bool = False
    """Give vLLM's cache memory back while the update runs (UNSLOTH_VLLM_STANDBY). Unsloth then chooses the share of the memory itself."""
    max_seq_length: int | None = Field(default=None, ge=16)
    """Prompt and completion together, in tokens. Left out, it follows from the recipe's limits; a longer row is an error, never cut."""
    checkpointing: Literal["unsloth", "plain"] = "unsloth"
    """Kind of gradient checkpointing where `model.gradient_checkpointing` is on: `unsloth` moves activations to the host's memory."""
    enforce_eager: bool = False
    """vLLM without compiled graphs: starts minutes sooner, samples slower."""
    attention: Literal["auto", "sdpa", "eager", "float32"] = "auto"
    """Attention kernel of the CPU path, as in `hf`. On a GPU Unsloth chooses."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads; the number of physical cores by default."""
    generate_rows: int = Field(default=256, ge=1)
    """Completions that are sampled at once."""
    logit_rows: int = Field(default=256, ge=1)
    """Tokens whose logits are held at once when log-probabilities are computed."""

    def as_hf(self) -> HfConfig:
        """The settings that both backends have."""
        return HfConfig(
            device=self.device,
            attention=self.attention,
            threads=self.threads,
            generate_rows=self.generate_rows,
            logit_rows=self.logit_rows,
        )
