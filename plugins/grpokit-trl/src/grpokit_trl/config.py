"""What a recipe may set under ``backend.with`` for ``trl``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from grpokit.api import Config
from grpokit_trl.keys import refusal, translated, words

__all__ = ["SAMPLING_KEYS", "TrlConfig"]

SAMPLING_KEYS = frozenset(
    words("""
    temperature top_p top_k min_p max_new_tokens max_tokens max_length n num_return_sequences
    do_sample seed logprobs num_beams stop_token_ids
    """)
)
"""Keys of ``args.generation_kwargs`` that the recipe's section rollout says."""


class TrlConfig(Config):
    """Settings of the `trl` backend: where and how fast it trains; what is learned is the recipe's."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model lives; `auto` takes a CUDA device if there is one."""
    attention: Literal[
        "sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention"
    ] = "sdpa"
    """Attention of transformers."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads of a process; the number of physical cores by default. A resumed run needs the same number to be bit-exact."""
    generate_rows: int = Field(default=256, ge=1)
    """Completions that transformers samples at once; vLLM schedules by itself."""
    vllm: Literal["colocate", "server"] | None = None
    """Generate with vLLM: in the training process, or in a server that `trl vllm-serve` has started. Its `vllm_*` settings stand under args."""
    accelerate_config: str | None = None
    """An `accelerate` configuration: a YAML file, or a name that TRL ships (fsdp1, fsdp2, zero1, zero2, zero3, multi_gpu, single_gpu)."""
    args: dict[str, Any] = Field(default_factory=dict)
    """Keys of TRL's GRPOConfig that the recipe does not say by itself, such as use_liger_kernel, deepspeed, fsdp, ddp_timeout and vllm_gpu_memory_utilization."""

    @field_validator("args")
    @classmethod
    def _check_keys(cls, args: dict[str, Any]) -> dict[str, Any]:
        wrong = [problem for key in args if (problem := refusal(key))]
        generation = args.get("generation_kwargs") or {}
        wrong += [
            f"`generation_kwargs.{key}` is said by the recipe: the section rollout"
            for key in generation
            if key in SAMPLING_KEYS
        ]
        if wrong:
            raise ValueError("; ".join(wrong))
        twice = [key for key in args if translated(key) != key and translated(key) in args]
        if twice:
            raise ValueError(f"`{twice[0]}` is the old name of `{translated(twice[0])}`; keep one")
        return {translated(key): value for key, value in args.items()}

    @model_validator(mode="after")
    def _check_vllm(self) -> TrlConfig:
        named = [key for key in self.args if key.startswith("vllm_")]
        if named and self.vllm is None:
            raise ValueError(f"args.{named[0]} needs vllm: colocate or server")
        if self.vllm and self.args.get("use_transformers_continuous_batching"):
            raise ValueError("vllm and args.use_transformers_continuous_batching both generate")
        if self.accelerate_config and ("fsdp" in self.args or "deepspeed" in self.args):
            raise ValueError("accelerate_config and args.fsdp or args.deepspeed say the same")
        return self
