"""The policy: a model and what samples and trains it, chosen by the settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from grpokit_hf.config import HfConfig
from grpokit_hf.kernels import wide_enough
from grpokit_hf.nn import lora
from grpokit_hf.nn.decode import Decoder
from grpokit_hf.nn.flex import FlexLayout
from grpokit_hf.nn.forward import Forward, Layouts
from grpokit_hf.nn.head import Head, logit_changes
from grpokit_hf.nn.keys import plain_decoder
from grpokit_hf.nn.multiplier import Linear, pick_linear
from grpokit_hf.nn.packed_attention import Layout
from grpokit_hf.nn.tiles import pick_tiles
from grpokit_hf.nn.token import TokenStep
from grpokit_hf.parallel import Team
from grpokit_hf.text.tokenizer import ChatTokenizer

__all__ = ["Policy"]


@dataclass(kw_only=True)
class Policy:
    """A model that samples and trains.

    Attributes:
        model: the model, in its PEFT wrapper if there is an adapter.
        weights: the trained weights by name, float32.
        autocast: the type of computation where trained float32 weights compute in bfloat16.
        kernel: attention kernel.
        team: the processes that train it.
        step: computes single tokens while sampling, where it can.
    """

    model: Any
    folder: Path
    tokenizer: ChatTokenizer
    device: torch.device
    dtype: torch.dtype
    adapter: bool
    autocast: torch.dtype | None
    kernel: str
    config: HfConfig
    checkpointing: bool
    dropout: float
    team: Team = field(default_factory=Team)
    step: TokenStep | None = None

    @property
    def base(self) -> Any:
        """The causal model without a PEFT wrapper."""
        return self.model.get_base_model() if self.adapter else self.model

    @property
    def weights(self) -> dict[str, Tensor]:
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    @property
    def plain(self) -> bool:
        return plain_decoder(self.base.config)

    @property
    def mask_dtype(self) -> torch.dtype:
        """4-D masks are bool for sdpa, additive float32 for our kernel, additive for eager."""
        return {"float32": torch.float32, "eager": self.compute}.get(self.kernel, torch.bool)

    @property
    def compute(self) -> torch.dtype:
        return self.autocast or self.dtype

    @property
    def linear(self) -> Linear:
        """Who multiplies matrices."""
        return pick_linear(self.config.products, self.device, native=self.config.native)

    @property
    def tiles(self) -> bool:
        """Whether attention of packed rows goes over its scores in tiles."""
        return pick_tiles(self.config.scores, self.linear, self.device)

    @property
    def packs(self) -> bool:
        """Whether rows that train stand in one sequence, each prompt once."""
        return self.config.packing and self.plain and self.kernel == "float32"

    @property
    def fuses(self) -> bool:
        """Whether single tokens may go through grpokit's own pass over the layers."""
        sharded = self.team.sharded
        return self.config.fused and self.packs and not sharded and self.autocast is None

    @property
    def layouts(self) -> Layouts | None:
        """What tells attention who sees whom in a packed sequence; None for whole padded rows."""
        if self.packs:
            native = self.config.native and self.config.scores == "auto"
            return partial(Layout, linear=self.linear, tiles=self.tiles, native=native)
        flex = self.kernel == "flex" and wide_enough(self.base.config, self.device.type)
        return FlexLayout if flex and self.config.packing and self.plain else None

    @property
    def key_dtype(self) -> torch.dtype:
        """Keys and values are kept in the type that attention computes in."""
        return torch.float32 if self.kernel == "float32" else self.compute

    def decoder(self) -> Decoder:
        return Decoder(
            body=self.base.get_decoder(),
            head=Head(self.base),
            end_ids=self.tokenizer.ends.ids,
            pad_id=self.tokenizer.pad_id,
            plain=self.plain,
            shared=self.packs,
            mask_dtype=self.mask_dtype,
            key_dtype=self.key_dtype,
            tree=self.config.tree and self.packs,
            device=self.device,
            linear=self.linear,
            tiles=self.tiles,
            step=self.step,
        )

    def forward(self, model: Any = None) -> Forward:
        """Log-probs under this policy, or under another model of the same kind."""
        base = self.base if model is None else model
        softcap, scale = logit_changes(base.config)
        return Forward(
            body=base.get_decoder(),
            head=base.get_output_embeddings(),
            pad_id=self.tokenizer.pad_id,
            layouts=self.layouts,
            tree=self.config.tree,
            autocast=self.autocast,
            logit_rows=self.config.logit_rows,
            device=self.device,
            linear=self.linear,
            softcap=softcap,
            logit_scale=scale,
            outer=self.team.outer(base),
        )

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """Evaluation mode with the adapter's matrices cast once.

        Several processes must enter it equally often; inside, each samples as long as it likes.
        """
        self.model.eval()
        with self.team.whole():
            frozen = (
                lora.frozen_adapters(self.model, self.dtype, self.linear)
                if self.adapter
                else nullcontext()
            )
            if self.fuses:
                native = self.config.native
                self.step = TokenStep.ready(self.base, self.linear, self.step, native=native)
            with frozen, self.forward().precision():
                yield
