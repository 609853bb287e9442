"""What a recipe may set under ``backend.with`` for ``hf``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from grpokit.api import Config
from grpokit_hf.vllm.config import VllmConfig

__all__ = ["HfConfig"]


class HfConfig(Config):
    """Settings of the `hf` backend. They change speed and memory; what is learned, only by rounding."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model lives; `auto` takes a CUDA device if there is one."""
    attention: Literal["auto", "sdpa", "flex", "eager", "float32"] = "auto"
    """Attention kernel. `float32` computes attention in float32 whatever the weights' type, which is faster than bfloat16 attention on CPUs; `auto` takes it there. `flex` is for GPUs: packed rows by torch's flex attention, which Triton compiles as the run begins, and what is not packed by `sdpa`. `auto` takes `flex` on a GPU where Triton and a C compiler are there, a trial before the run gives what `sdpa` gives, and weights are not divided (`parallel: fsdp`); else `sdpa`."""
    packing: bool = True
    """Rows that train stand in one sequence without padding, each prompt once for its group, and rows that are sampled read their prompt's keys in one place. `false` computes whole padded rows, with the same gradients; so it is for models that are not full attention in every layer, and wherever `attention` is neither `float32` nor `flex`, or heads are narrower than the 16 that `flex` takes on a GPU."""
    tree: bool = True
    """Where rows are packed, what completions of a group begin with in common is computed once, in training and in sampling, and equal completions once altogether. `false` computes each completion by itself; the result differs by rounding."""
    fused: bool = True
    """On a CPU, each new token of a completion is computed by grpokit's own pass over layers of a known kind (Llama, Mistral, Qwen2, Qwen3) with frozen weights or few, in fewer and larger products. `false`, and every other model, takes transformers' own code; the result differs by rounding."""
    native: bool = True
    """On a CPU with a C compiler (`$CC`, `cc`, `gcc` or `clang`), what costs torch many passes over memory is grpokit's own C code, compiled once, in some seconds, for this processor: each new token of up to 64 rows where `fused` applies, attention of packed rows, and norms, rotation and SwiGLU of the same kinds of layers. `false`, and every machine without a compiler, takes torch; the result differs by rounding, so a resumed run needs the same to be bit-exact."""
    products: Literal["auto", "torch", "onednn", "amx", "bf16x3"] = "auto"
    """Who multiplies matrices on a CPU. `amx`: grpokit's C code (`native`) with the tiles that Intel's processors have since Sapphire Rapids, bfloat16 as it is and a float32 number as the sum of three bfloat16, at float32's precision. Attention of packed rows as well, if heads are a multiple of 32 wide. `bf16x3`: the same with two, in half the time, right to about 17 bits of a float32's 24. `onednn`: float32 by oneDNN. `auto` takes `amx` where there are tiles, oneDNN on other x86 processors that are not Intel's, where what torch takes holds back, and torch's choice elsewhere."""
    scores: Literal["auto", "tiles", "blocks"] = "auto"
    """How attention of packed rows is computed on a CPU: in `tiles` by torch's own kernel, which keeps scores within the cache, or a block at a time, whose products `onednn` multiplies where it does. `auto` takes C where `native` can, else tiles where torch multiplies."""
    skip: bool = True
    """Rows that cannot move a weight (advantage 0 and no other term of the loss) are never computed. `false` computes them with weight 0, to the same gradients; it is there to be compared with."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads; the number of physical cores by default. A resumed run needs the same number to be bit-exact."""
    generate_rows: int = Field(default=256, ge=1)
    """Completions that are sampled at once. The result does not depend on it, but for rounding."""
    parallel: Literal["auto", "ddp", "fsdp"] = "auto"
    """How several processes (`grpokit train --processes 2`) hold the model: `ddp`, a whole copy each, or `fsdp`, a part of each weight each (FSDP2), for models that do not fit otherwise. `auto` is `ddp`; one process alone reads nothing of it."""
    logit_rows: int = Field(default=256, ge=1)
    """Tokens whose logits are held at once when log-probabilities are computed."""
    rollouts: Literal["transformers", "vllm"] = "transformers"
    """What samples: the trained model itself, or vLLM with its weights (needs the extra `vllm`), which is made for speed and not bit-exact."""
    vllm: VllmConfig = Field(default_factory=VllmConfig)
    """Settings of vLLM, where it samples."""
