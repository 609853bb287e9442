"""Axis ``mask``: single tokens of a completion, by their place or by what stands before them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from grpokit.algorithms import axes
from grpokit.algorithms.token_config import SelectiveConfig
from grpokit.spec.flow import LossInputs

__all__ = ["Selective", "after_marker", "is_last", "last_token", "only_last", "selective"]


def is_last(mask_NT: Tensor) -> Tensor:
    """1 at the last token that counts of each row, else 0."""
    after_NT = mask_NT.flip(-1).cumsum(-1).flip(-1)
    return mask_NT * (after_NT == 1)


def only_last(mask_NT: Tensor, truncated_N: Tensor) -> Tensor:
    """Nothing but a completion's last token: the decision to stop, or the final token of the answer.

    The others leave the length of their row, but not the tokens that the step's means divide by.
    """
    del truncated_N
    return is_last(mask_NT)


def after_marker(
    tokens_NT: Tensor, marker: Sequence[int], *, offset: int = 1, prefilled: bool = False
) -> Tensor:
    """True ``offset`` tokens after the end of each place where ``marker`` stands in the row.

    ``prefilled``: the prompt ends in the marker too, so it stands just before the first token.
    """
    width, size = tokens_NT.shape[-1], len(marker)
    found_NT = torch.zeros_like(tokens_NT, dtype=torch.bool)
    if prefilled and offset <= width:
        found_NT[:, offset - 1] = True
    if width - offset >= size:
        pieces_NTM = tokens_NT.unfold(-1, size, 1)
        stands_NT = (pieces_NTM == tokens_NT.new_tensor(marker)).all(-1)
        found_NT[:, size - 1 + offset :] |= stands_NT[:, : width - size + 1 - offset]
    return found_NT


@dataclass
class Selective:
    """Without the token that a marker leads to, such as the one after ``<think>`` (AdaCoT, arXiv 2505.11896).

    Weight 0 ``offset`` tokens after the marker. It keeps a stage whose data nearly always decides one
    way from undoing what was learnt about when to reason. The reward of the completion stays; lengths of
    rows shrink by what is masked, the step's count of tokens does not. A row that would have no token
    left keeps them all.
    """

    marker: tuple[int, ...]
    offset: int = 1
    prefilled: bool = False
    needs_inputs: bool = True

    def __call__(self, mask_NT: Tensor, inputs: LossInputs, /) -> Tensor:
        if inputs.tokens_NT is None:
            raise ValueError("the selective mask was given no token ids")
        found_NT = after_marker(
            inputs.tokens_NT, self.marker, offset=self.offset, prefilled=self.prefilled
        )
        kept_NT = mask_NT * ~found_NT
        return torch.where((kept_NT != 0).any(-1, keepdim=True), kept_NT, mask_NT)


def last_token() -> axes.Mask:
    return only_last


def selective(config: SelectiveConfig) -> axes.InputsMask:
    return Selective(tuple(config.marker), config.offset, config.prefilled)
