"""What a recipe may set under ``backend.with.vllm``. No torch, no vLLM."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from grpokit.api import Config

__all__ = ["VllmConfig"]


class VllmConfig(Config):
    """Settings of vLLM where it samples for a backend."""

    mode: Literal["engine", "server"] = "engine"
    """`engine` starts vLLM in a process of this run; `server` uses a running `vllm serve`."""
    url: str = "http://127.0.0.1:8000"
    """Where the server listens."""
    memory: float = Field(default=0.3, gt=0, le=1)
    """Share of a GPU's memory that vLLM may take, weights and cache together. Not used on a CPU."""
    cpu_cache: int = Field(default=2, ge=1)
    """GiB of main memory for keys and values where vLLM runs on a CPU, unless the variable VLLM_CPU_KVCACHE_SPACE is set."""
    max_len: int | None = Field(default=None, ge=2)
    """Longest prompt and completion together. By default 4096, more where `rollout` asks for more, and never more than the model reads."""
    sync: Literal["auto", "adapter", "reload"] = "auto"
    """How trained weights reach vLLM: `adapter` hands the LoRA adapter over, `reload` writes all weights to a folder that vLLM reads. `auto` takes `adapter` where the recipe trains one, but on a CPU, where an adapter costs vLLM more than the model itself."""
    sleep: bool = False
    """Gives the GPU memory of vLLM back while the update runs: weights go to main memory, the cache is dropped. Not used on a CPU."""
    prefix_caching: bool = True
    """Computes a prompt once for its group and its next epoch. Emptied when the weights change."""
    eager: bool | None = None
    """Runs vLLM without compiled graphs. By default on a CPU yes, where compiling takes longer than it saves, and on a GPU no."""
    tolerance: float | None = Field(default=0.3, gt=0)
    """Mean difference of log-probabilities between vLLM and the trainer, in nats a token, at which the run stops. `null` turns the check off, and with it the one that new weights arrived."""
    restarts: int = Field(default=1, ge=0)
    """How often a dead engine is started again in a run."""
    patience: float = Field(default=600.0, gt=0)
    """Seconds in which vLLM must have started, or a server must be back."""
    folder: str | None = None
    """Where adapters and weights are written for vLLM; a server must see it under the same path. By default a temporary folder, in memory where there is room."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of `vllm.LLM`, such as `tensor_parallel_size`."""
