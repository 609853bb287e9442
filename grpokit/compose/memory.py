"""How much memory a run needs, by part, from the sizes of the model alone.

Exact up to small tensors: weights, adapter, gradients, optimiser, reference, logits, and the KV cache
at the type of the weights (attention in float32 keeps it in float32).
Approximate (within about a factor of 1.5): activations, which depend on what the kernels keep.
Not counted: the Python process with its libraries (about 1 GiB) and the allocator's slack.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from grpokit.compose.dimensions import Dimensions, lora_parameters, parameters, read_dimensions
from grpokit.spec.plan import MemoryEstimate
from grpokit.spec.recipe import Recipe

__all__ = [
    "GENERATE_ROWS",
    "LOGIT_ROWS",
    "activation_bytes",
    "estimate",
    "format_bytes",
    "kv_cache_bytes",
    "logits_bytes",
    "model_dtype",
    "trainable",
    "training_shape",
]

WIDTH = {"float32": 4, "bfloat16": 2}
GENERATE_ROWS = 256
"""Completions sampled at once, where the backend's settings do not say it."""
LOGIT_ROWS = 256
"""Tokens whose logits are held at once, where the backend's settings do not say it."""
PROMPT_TOKENS = 256
"""Length of a prompt where nothing is known about it."""


def logits_bytes(*, rows: int, tokens: int, vocab: int, width: int, copies: int) -> int:
    """Logits held at once: copies * width * rows * tokens * vocab.

    The usual loss holds the logits of a whole batch in two copies: 8 rows of 20480 tokens over
    128256 words at 2 bytes are 78.28 GiB. Computed in pieces, only the tokens of a piece count.
    """
    return copies * width * rows * tokens * vocab


def kv_cache_bytes(*, layers: int, kv_width: int, tokens: int, rows: int, width: int) -> int:
    """Keys and values of every layer: 2 * width * layers * kv_width * tokens * rows.

    One sequence of 20480 tokens in Llama-3.1-8B (32 layers, width 1024, 2 bytes) is 2.50 GiB.
    """
    return 2 * width * layers * kv_width * tokens * rows


def activation_bytes(
    dims: Dimensions, *, tokens: int, width: int, checkpointing: bool, adapter: bool
) -> int:
    """What one micro-batch keeps for the backward pass; approximate.

    A token keeps, in each layer, 6 vectors of the hidden size (residuals, norms), 2 of the query
    and 2 of the key width, and 4 of the feed-forward width. Adapters keep a float32 copy of the
    input of each layer they adapt. With checkpointing a layer keeps its input, and one layer at a
    time is recomputed. Attention scores are not kept: the kernels recompute them.
    """
    layer = 6 * dims.hidden + 2 * dims.q_width + 2 * dims.kv_width + 4 * dims.intermediate
    one = tokens * layer * width
    if adapter:
        one += tokens * 4 * sum(inputs for inputs, _ in dims.shapes().values())
    if checkpointing:
        return one + dims.layers * tokens * dims.hidden * width
    return dims.layers * one


def model_dtype(recipe: Recipe) -> str:
    """Type of the frozen weights: ``auto`` is bfloat16 with adapters and float32 without."""
    if recipe.model.dtype != "auto":
        return recipe.model.dtype
    return "bfloat16" if recipe.model.lora else "float32"


def trainable(recipe: Recipe, dims: Dimensions) -> int:
    """Number of weights that train."""
    lora = recipe.model.lora
    return lora_parameters(dims, lora.rank, lora.targets) if lora else parameters(dims)


def training_shape(recipe: Recipe, prompt_tokens: int, *, shared: bool = False) -> tuple[int, int]:
    """(rows, positions computed) of the largest micro-batch, padding included.

    With ``shared`` a prompt is computed once for the rows of its group, else once a row.
    """
    rollout, optim = recipe.rollout, recipe.optim
    new, group = rollout.max_tokens, rollout.group
    rows = math.ceil(rollout.prompts * group / optim.minibatches)

    def positions(count: int) -> int:
        whole = optim.minibatches == 1  # else rows are drawn by lot, and each may bring a prompt
        prompts = math.ceil(count / group) if whole else min(count, rollout.prompts)
        return (prompts if shared else count) * prompt_tokens + count * new

    if optim.micro_batch is not None:
        rows = min(rows, optim.micro_batch)
    else:
        while rows > 1 and positions(rows) > optim.micro_tokens:
            rows -= 1
    return rows, positions(rows)


def estimate(
    recipe: Recipe,
    config: Mapping[str, Any],
    *,
    prompt_tokens: int | None = None,
    needs_reference: bool = False,
    shared_prefix: bool = False,
) -> MemoryEstimate | None:
    """Bytes by part; None if ``config`` (names of a ``config.json``) lacks the model's sizes.

    Generation and training take turns, so the peak is the lasting parts plus the larger of the
    two; ``MemoryEstimate.peak`` computes it.
    """
    dims = read_dimensions(config)
    if dims is None:
        return None
    width = WIDTH[model_dtype(recipe)]
    weights, train = parameters(dims), trainable(recipe, dims)
    known = prompt_tokens or recipe.rollout.max_prompt_tokens or PROMPT_TOKENS
    rows, positions = training_shape(recipe, known, shared=shared_prefix)
    length = known + recipe.rollout.max_tokens
    settings = recipe.backend.with_
    together = min(
        recipe.rollout.prompts * recipe.rollout.group,
        int(settings.get("generate_rows", GENERATE_ROWS)),
    )
    piece = min(int(settings.get("logit_rows", LOGIT_ROWS)), rows * recipe.rollout.max_tokens)
    lora = recipe.model.lora is not None
    parts = {
        "weights": weights * (width if lora else 4),  # trained weights are kept in float32
        "adapter": train * 4 if lora else 0,
        "gradients": train * 4,
        "optimizer": 2 * train * 4,
        "reference": weights * 4 if needs_reference and not lora else 0,
        "activations": activation_bytes(
            dims,
            tokens=positions,
            width=width,
            checkpointing=recipe.model.gradient_checkpointing,
            adapter=lora,
        ),
        "logits": logits_bytes(rows=1, tokens=piece, vocab=dims.vocab, width=4, copies=2),
        "kv_cache": kv_cache_bytes(
            layers=dims.layers, kv_width=dims.kv_width, tokens=length, rows=together, width=width
        ),
    }
    whole = logits_bytes(rows=rows, tokens=length, vocab=dims.vocab, width=width, copies=2)
    notes = (
        f"micro-batch of {rows} rows, {positions:,} positions; {together} completions sampled at once",
        (
            f"log-probabilities are computed {piece} tokens at a time; all at once the logits would "
            f"take {format_bytes(whole)}"
        ),
        (
            "activations are approximate; gradients, activations and logits are not held while "
            "completions are sampled"
        ),
        *(() if prompt_tokens else (f"prompt length unknown: {known} tokens assumed",)),
        *(("mixture of experts: only one expert is counted",) if _experts(config) else ()),
    )
    return MemoryEstimate(parts=parts, notes=notes)


def _experts(config: Mapping[str, Any]) -> bool:
    return any(key in config for key in ("num_experts", "num_local_experts", "n_routed_experts"))


def format_bytes(count: float) -> str:
    """``1.50 GiB``; three digits are enough for a forecast."""
    for unit in ("B", "KiB", "MiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"
