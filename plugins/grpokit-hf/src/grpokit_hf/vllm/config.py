"""What a recipe may set under ``backend.with.vllm``. No torch, no vLLM."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from grpokit.api import Config

__all__ = ["ENGINE_ONLY", "VllmConfig"]

ENGINE_ONLY = ("memory", "cpu_cache", "prefix_caching", "eager", "options")
"""Settings that a server has from its own command line."""
OURS = {
    "model": "set model.id",
    "tokenizer": "prompts go to vLLM as token ids",
    "skip_tokenizer_init": "prompts go to vLLM as token ids",
    "max_model_len": "set max_len",
    "logprobs_mode": "it follows from rollout.top_p, top_k and min_p",
    "generation_config": "everything that is drawn with stands in the recipe",
    "override_generation_config": "everything that is drawn with stands in the recipe",
    "enable_lora": "set sync",
    "max_lora_rank": "it follows from model.lora.rank",
    "trust_remote_code": "code of a model's author is never run",
    "worker_cls": "a recipe brings no code",
    "worker_extension_cls": "a recipe brings no code",
    "logits_processors": "a recipe brings no code",
    "disable_log_stats": "vLLM's own output is a log file",
}
"""Arguments of ``vllm.LLM`` on which grpokit depends, or that would run foreign code."""


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
    """Seconds in which vLLM must have started, or a server must be back. Completions may take longer."""
    folder: str | None = None
    """Where adapters and weights are written for vLLM; a server must see it under the same path. By default a temporary folder, in memory where there is room; what a killed run left in such a one goes with the next run."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of `vllm.LLM`, such as `tensor_parallel_size`. Refused are those that the recipe says elsewhere, and those that bring code."""

    @field_validator("url")
    @classmethod
    def _is_address(cls, url: str) -> str:
        parts = urlsplit(url)
        wrong = parts.scheme not in ("http", "https") or not parts.hostname
        try:
            wrong = wrong or parts.port == 0
        except ValueError:
            wrong = True
        if wrong:
            raise ValueError("not an address like http://127.0.0.1:8000")
        if parts.username is not None:
            raise ValueError("a key goes into the variable VLLM_API_KEY, not into the address")
        return url

    @field_validator("options")
    @classmethod
    def _leaves_ours(cls, options: dict[str, Any]) -> dict[str, Any]:
        for name in options:
            if name in OURS:
                raise ValueError(f"{name} cannot be set here: {OURS[name]}")
        return options
