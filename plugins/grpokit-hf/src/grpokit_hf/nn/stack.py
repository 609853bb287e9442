"""Linear layers that read the same input, as one product; what their adapters add is a second one.

The weights of the layers become parts of one matrix, in place of what they were: nothing is held twice.
Weights that train are copied for each sampling batch instead, where they are few. Below them stand the adapters' small matrices A, written anew for each sampling batch, so that one product
gives X W' and X A' together. Suffixes: M rows, I inputs, O outputs of all layers, R ranks of all adapters.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn

from grpokit_hf.nn.lora import is_plain
from grpokit_hf.nn.products import Linear

__all__ = ["Stack"]

FEW = 1 << 17
"""Multiplications with an adapter up to which float32 is as fast as any type, and more exact."""
COPIED = 1 << 18
"""Weights of a stack that trains up to which it is copied."""
TURNED = range(8, 33)
"""Rows of bfloat16 for which W X' is faster than X W': oneDNN rearranges its second matrix at each call."""


class Stack:
    """The layers together: (M, I) in, (M, O) out, side by side in their order."""

    def __init__(self, layers: Sequence[Any], linear: Linear) -> None:
        self.layers = list(layers)
        self.bases = [base_of(layer) for layer in self.layers]
        self.linear = linear
        self.trains = any(base.weight.requires_grad for base in self.bases)
        self.width = sum(base.out_features for base in self.bases)
        self.rank = 0
        self.gather()

    @property
    def ranks(self) -> list[int]:
        """Of each layer's adapter."""
        return [rank_of(layer) for layer in self.layers]

    @staticmethod
    def fits(layers: Sequence[Any]) -> bool:
        """Whether these can be one product: plain layers, one plain adapter each at most."""
        plain = all(
            type(base_of(layer)) is nn.Linear
            and (type(layer) is nn.Linear or (type(layer) is LoraLinear and is_plain(layer)))
            for layer in layers
        )
        if not plain:
            return False
        bases = [base_of(layer) for layer in layers]
        one = {(base.in_features, base.weight.dtype, base.bias is None) for base in bases}
        few = sum(base.weight.numel() for base in bases) <= COPIED
        return len(one) == 1 and (few or not any(base.weight.requires_grad for base in bases))

    @torch.no_grad()
    def gather(self) -> None:
        """Moves the weights into one matrix that has room for the adapters, or copies those that train."""
        self.rank = sum(self.ranks)
        first = self.bases[0]
        empty = first.weight.new_zeros(self.rank, first.in_features)
        self.weight = torch.cat([*(base.weight for base in self.bases), empty])
        self.bias = None
        if first.bias is not None:
            biases = [base.bias for base in self.bases]
            self.bias = torch.cat([*biases, first.bias.new_zeros(self.rank)])
        if self.trains:
            return
        start = 0
        for base in self.bases:
            base.weight.data = self.weight[start : start + base.out_features]
            start += base.out_features

    @torch.no_grad()
    def refresh(self) -> None:
        """Takes the adapters as they are now; the weights too, where something else was put in their place."""
        there = self.weight.data_ptr()
        size = self.weight.element_size() * self.weight.shape[1]
        starts = itertools.accumulate((base.out_features for base in self.bases), initial=0)
        in_place = all(
            base.weight.data_ptr() == there + start * size
            for base, start in zip(self.bases, starts, strict=False)
        )
        if self.trains or not in_place or self.rank != sum(self.ranks):
            self.gather()
        self.up_RO = self.weight.new_zeros(self.rank, self.width)
        row, column = self.width, 0
        for layer, base in zip(self.layers, self.bases, strict=True):
            rank = rank_of(layer)
            if rank:
                name = layer.active_adapters[0]
                self.weight[row : row + rank] = layer.lora_A[name].weight
                up_OR = layer.lora_B[name].weight * layer.scaling[name]
                first = row - self.width
                self.up_RO[first : first + rank, column : column + base.out_features] = up_OR.T
            row, column = row + rank, column + base.out_features
        self.wide_RO = self.up_RO.float()

    def __call__(self, x_MI: Tensor) -> Tensor:
        if self.bias is None and len(x_MI) in TURNED and x_MI.dtype == torch.bfloat16:
            return self.turned(x_MI)
        out = self.linear(x_MI, self.weight, self.bias)
        if not self.rank:
            return out
        result, low = out[:, : self.width], out[:, self.width :]
        if low.numel() * self.width > FEW:
            return result.addmm_(low, self.up_RO)
        return result.add_(low.float() @ self.wide_RO)

    def turned(self, x_MI: Tensor) -> Tensor:
        """The same from W X'; the adapters' part is added in float32."""
        out_OM = self.weight @ x_MI.T
        result = out_OM[: self.width].T.contiguous()
        if not self.rank:
            return result
        low_MR = out_OM[self.width :].T
        return result.float().addmm_(low_MR.float(), self.wide_RO).to(x_MI.dtype)


def base_of(layer: Any) -> Any:
    return getattr(layer, "base_layer", layer)


def rank_of(layer: Any) -> int:
    """Rank of the layer's adapter; 0 without one."""
    if type(layer) is not LoraLinear:
        return 0
    return int(layer.lora_A[layer.active_adapters[0]].weight.shape[0])
