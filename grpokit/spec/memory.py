"""What a backend says about memory that the sizes of a model do not tell: ``Preflight.memory``."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["PACKED_4BIT", "SHARDED", "MemoryFacts", "SamplerMemory"]

PACKED_4BIT = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Bytes of a weight in bitsandbytes' 4 bits with its scales packed too (QLoRA, 2305.14314, section 3).

Half a byte, one byte of scale for 64 weights, four bytes of the scales' scale for 256 of those.
"""
SHARDED = frozenset({"weights", "adapter", "gradients", "optimizer", "reference"})
"""Parts of the estimate that FSDP and ZeRO-3 cut into pieces; ZeRO-2 gradients and optimizer."""


@dataclass(frozen=True, kw_only=True)
class SamplerMemory:
    """An engine that samples in place of the trained model, and keeps memory for itself.

    All left as it is: it runs elsewhere and takes nothing here (a server).

    Attributes:
        share: of the whole memory of a GPU, its weights and its cache together; None: it chooses
            the share by itself.
        cache: bytes of its cache where they are given as such (vLLM on a CPU), beside its weights.
        copies: of the weights, where ``cache`` is given: its own, and one on its way to it.
        same_weights: the weights that train lie in its share, and not a second time beside it.
        sleeps: its memory is free while the update runs, but for weights that are the same.
    """

    share: float | None = 0.0
    cache: int = 0
    copies: int = 1
    same_weights: bool = False
    sleeps: bool = False

    @property
    def elsewhere(self) -> bool:
        return self.share == 0 and not self.cache


@dataclass(frozen=True, kw_only=True)
class MemoryFacts:
    """How a backend holds and feeds the model. The defaults are one process with plain weights.

    Attributes:
        generate_rows: completions sampled at once.
        logit_rows: tokens whose logits are held at once; None: those of the whole micro-batch.
        packed: bytes of a frozen weight in the linear layers of a block (``PACKED_4BIT``); None: as
            wide as the recipe's type. Packed weights are unpacked one matrix at a time.
        cache_width: bytes of a number in the key-value cache; None: as wide as the recipe's type.
        divided: names of parts that the run's processes divide among each other (``SHARDED``).
        gradient_copies: further copies of the gradients (one in the buckets of DDP).
        offloads: inputs of recomputed layers wait in main memory instead of on the GPU.
        sampler: an engine that samples; None: the trained model itself does.
    """

    generate_rows: int = 256
    logit_rows: int | None = 256
    packed: float | None = None
    cache_width: int | None = None
    divided: frozenset[str] = field(default_factory=frozenset)
    gradient_copies: int = 0
    offloads: bool = False
    sampler: SamplerMemory | None = None
