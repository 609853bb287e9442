"""What a recipe may set under ``backend.with`` for ``trl``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from grpokit.api import Config
from grpokit_trl.keys import GENERATION, NEEDS, VLLM_KEYS, refusal, translated

__all__ = ["TrlConfig"]


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
    """Keys of TRL's GRPOConfig that the recipe does not say by itself, such as use_liger_kernel, deepspeed, fsdp, tf32 and vllm_gpu_memory_utilization."""

    @field_validator("args")
    @classmethod
    def _check_keys(cls, args: dict[str, Any]) -> dict[str, Any]:
        wrong = [problem for key in args if (problem := refusal(key))]
        wrong += generation_problems(args.get("generation_kwargs"))
        wrong += number_problems(args)
        if wrong:
            raise ValueError("; ".join(wrong))
        twice = [key for key in args if translated(key) != key and translated(key) in args]
        if twice:
            raise ValueError(f"`{twice[0]}` is the old name of `{translated(twice[0])}`; keep one")
        return {translated(key): value for key, value in args.items()}

    @model_validator(mode="after")
    def _check_pairs(self) -> TrlConfig:
        for key in self.args:
            if key.startswith("vllm_") and self.vllm != VLLM_KEYS.get(key, self.vllm or ""):
                raise ValueError(
                    f"args.{key} needs vllm: {VLLM_KEYS.get(key, 'colocate or server')}"
                )
            if key in NEEDS and not self.args.get(NEEDS[key]):
                raise ValueError(f"args.{key} needs args.{NEEDS[key]}")
        if self.vllm and self.args.get("use_transformers_continuous_batching"):
            raise ValueError("vllm and args.use_transformers_continuous_batching both generate")
        if self.vllm and "cache_implementation" in self.args:
            raise ValueError("args.cache_implementation is about transformers, and vllm generates")
        if self.accelerate_config and ("fsdp" in self.args or "deepspeed" in self.args):
            raise ValueError("accelerate_config and args.fsdp or args.deepspeed say the same")
        shards = self.accelerate_config or self.args.get("deepspeed")
        if "ds3_gather_for_generation" in self.args and not shards:
            raise ValueError("args.ds3_gather_for_generation needs args.deepspeed")
        return self


def generation_problems(found: Any) -> list[str]:
    """What is wrong with ``generation_kwargs``."""
    if found is None:
        return []
    if not isinstance(found, dict):
        return ["`generation_kwargs` must be a mapping, such as {no_repeat_ngram_size: 3}"]
    return [f"`generation_kwargs.{key}` {GENERATION[key]}" for key in found if key in GENERATION]


def number_problems(args: dict[str, Any]) -> list[str]:
    """Numbers that TRL would only stumble over in the first step."""
    wrong = []
    penalty = args.get("repetition_penalty", 1.0)
    if isinstance(penalty, bool) or not isinstance(penalty, int | float) or penalty <= 0:
        wrong.append("`repetition_penalty` must be a number above 0")
    multiple = args.get("pad_to_multiple_of")
    if multiple is not None and (type(multiple) is not int or multiple < 1):
        wrong.append("`pad_to_multiple_of` must be a whole number from 1 on")
    return wrong
