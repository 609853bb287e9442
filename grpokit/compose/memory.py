"""The formulas of the memory estimate, one a part; :mod:`grpokit.compose.footprint` adds them up."""

from __future__ import annotations

import math

from grpokit.compose.dimensions import Dimensions, lora_parameters, parameters
from grpokit.spec.recipe import Recipe

__all__ = [
    "activation_bytes",
    "format_bytes",
    "gathered_bytes",
    "kv_cache_bytes",
    "logits_bytes",
    "model_dtype",
    "trainable",
    "training_shape",
    "unpacked_bytes",
    "weight_bytes",
]


def weight_bytes(dims: Dimensions, *, width: int, packed: float | None = None) -> int:
    """The model: width * parameters, or packed * (linear layers of blocks) + width * the rest.

    The rest is embedding, head and norms, which packing leaves alone. Llama-3.1-8B: 16.06 GB at two
    bytes; with 4-bit blocks 6 979 321 856 * 0.5159 + 1 050 939 392 * 2 bytes = 5.70 GB.
    """
    linear = dims.layers * sum(a * b for a, b in dims.shapes().values())
    rest = parameters(dims) - linear
    return math.ceil(linear * (width if packed is None else packed)) + rest * width


def unpacked_bytes(dims: Dimensions, *, width: int) -> int:
    """The largest matrix of a block: packed weights are unpacked one matrix at a time."""
    return width * max(a * b for a, b in dims.shapes().values())


def gathered_bytes(dims: Dimensions, *, width: int, trained: bool) -> int:
    """What a process holds of the others' shards inside a forward or backward of FSDP.

    The root (embedding, head, last norm) stays gathered through a forward; of the blocks one is in
    use and the next is on its way: width * (root + 2 * block). Where all weights train, the float32
    gradients of root and block are whole before they are shared out: 4 * (root + block).
    """
    block = sum(a * b for a, b in dims.shapes().values()) + 2 * dims.hidden
    root = parameters(dims) - dims.layers * block
    return width * (root + 2 * block) + (4 * (root + block) if trained else 0)


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
    dims: Dimensions,
    *,
    tokens: int,
    width: int,
    checkpointing: bool,
    adapter: bool,
    offloads: bool = False,
) -> int:
    """What one micro-batch keeps for the backward pass; approximate.

    A token keeps, in each layer, 6 vectors of the hidden size (residuals, norms), 2 of the query
    and 2 of the key width, and 4 of the feed-forward width. Adapters keep a float32 copy of the
    input of each layer they adapt. With checkpointing a layer keeps its input, and one layer at a
    time is recomputed; with ``offloads`` those inputs wait in main memory, but for the one in use.
    Attention scores are not kept: the kernels recompute them.
    """
    layer = 6 * dims.hidden + 2 * dims.q_width + 2 * dims.kv_width + 4 * dims.intermediate
    one = tokens * layer * width
    if adapter:
        one += tokens * 4 * sum(inputs for inputs, _ in dims.shapes().values())
    if checkpointing:
        return one + (1 if offloads else dims.layers) * tokens * dims.hidden * width
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
    """(rows, positions computed) of the largest micro-batch of a process, padding included.

    With ``shared`` a prompt is computed once for the rows of its group, else once a row. The rows of
    an optimiser step are shared out among the processes.
    """
    rollout, optim = recipe.rollout, recipe.optim
    new, group = rollout.max_tokens, rollout.group
    rows = math.ceil(rollout.prompts * group / optim.minibatches / recipe.train.processes)

    def positions(count: int) -> int:
        # else rows are drawn by lot or shared out one by one, and each may bring a prompt
        whole = optim.minibatches == 1 and recipe.train.processes == 1
        prompts = math.ceil(count / group) if whole else min(count, rollout.prompts)
        return (prompts if shared else count) * prompt_tokens + count * new

    if optim.micro_batch is not None:
        rows = min(rows, optim.micro_batch)
    else:
        while rows > 1 and positions(rows) > optim.micro_tokens:
            rows -= 1
    return rows, positions(rows)


def format_bytes(count: float) -> str:
    """``1.50 GiB``; three digits are enough for a forecast."""
    for unit in ("B", "KiB", "MiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"
