"""Axis ``mask``: which tokens count in the loss, judged by structure alone."""

from __future__ import annotations

from torch import Tensor

__all__ = ["completion_mask", "finished_mask"]


def completion_mask(mask_NT: Tensor, truncated_N: Tensor) -> Tensor:
    """Every token of the completion, with the end of sequence, without padding."""
    del truncated_N
    return mask_NT


def finished_mask(mask_NT: Tensor, truncated_N: Tensor) -> Tensor:
    """No token of a completion that ran into the length limit (DAPO overlong filtering).

    arXiv 2503.14476; ``mask_truncated_completions`` in TRL. Its total still counts in the group's
    statistics, and the row in the denominator of row means; its tokens count in no denominator.
    """
    return mask_NT * (~truncated_N.bool()).unsqueeze(-1).to(mask_NT.dtype)
