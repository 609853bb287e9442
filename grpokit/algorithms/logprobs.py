"""Log-probs of given tokens from hidden states, without holding the logits of a batch.

The logits of N tokens over a vocabulary of V are the largest tensor of a step (78 GiB for 16 x 8 x
1024 tokens of a 151936 vocabulary in float32). Here they exist for ``chunk`` tokens at a time, in the
forward and, computed again, in the backward. Suffixes: N tokens, H hidden size, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["chunk_logits", "token_logprobs"]


def token_logprobs(
    hidden_NH: Tensor,
    weight_VH: Tensor,
    targets_N: Tensor,
    *,
    bias_V: Tensor | None = None,
    chunk: int = 256,
    temperature: float = 1.0,
    softcap: float | None = None,
    entropy: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Log-probs of the targets: log softmax(z / temperature), with z = softcap(hidden weight^T + bias).

    Flatten the wanted positions to two dimensions before the call: a product over a slice of a 3-D
    tensor copies the weight for every row. The product runs in the type of the weight, everything
    after it in float32 (float64 stays float64). Autocast does not reach inside.

    Args:
        hidden_NH: last hidden states, times the logit scale of the model if it has one.
        weight_VH: the language-model head.
        targets_N: token ids.
        bias_V: bias of the head.
        chunk: tokens whose logits exist at a time; changes memory and speed, not the result.
        temperature: the sampling temperature, so that the policy is the one that sampled.
        softcap: final logit cap c of models that have one: c * tanh(z / c).
        entropy: compute the entropy of softmax(z / temperature) too.

    Returns:
        logprobs_N and entropy_N (None if not asked for), both with gradients; first order only.
    """
    if chunk < 1 or temperature <= 0:
        raise ValueError(f"chunk is {chunk} and temperature {temperature}; both must be positive")
    logprobs_N, entropy_N = _TokenLogprobs.apply(  # type: ignore[no-untyped-call]
        hidden_NH.to(weight_VH.dtype),
        weight_VH,
        bias_V,
        targets_N,
        chunk,
        1 / temperature,
        softcap,
        entropy,
    )
    return logprobs_N, entropy_N


def chunk_logits(
    hidden_NH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, scale: float, softcap: float | None
) -> tuple[Tensor, Tensor | None]:
    """Logits of a chunk over the temperature, and tanh(z / softcap) if there is a cap."""
    z_NV = (hidden_NH @ weight_VH.T).to(torch.promote_types(hidden_NH.dtype, torch.float32))
    if bias_V is not None:
        z_NV = z_NV.add_(bias_V)
    tanh_NV = None
    if softcap is not None:
        tanh_NV = z_NV.div_(softcap).tanh_()
        z_NV = tanh_NV * softcap
    return (z_NV if scale == 1 else z_NV.mul_(scale)), tanh_NV


class _TokenLogprobs(torch.autograd.Function):
    """Keeps hidden states and one number a token (two with entropy); the logits come again."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor | None,
        targets_N: Tensor,
        chunk: int,
        scale: float,
        softcap: float | None,
        want_entropy: bool,
    ) -> tuple[Tensor, Tensor | None]:
        dtype = torch.promote_types(hidden_NH.dtype, torch.float32)
        count = hidden_NH.shape[0]
        logprobs_N = hidden_NH.new_empty(count, dtype=dtype)
        norm_N = torch.empty_like(logprobs_N)
        entropy_N = torch.empty_like(logprobs_N) if want_entropy else None
        with torch.autocast(hidden_NH.device.type, enabled=False):
            for start in range(0, count, chunk):
                rows = slice(start, start + chunk)
                z_NV, _ = chunk_logits(hidden_NH[rows], weight_VH, bias_V, scale, softcap)
                high_N1 = z_NV.amax(-1, keepdim=True)
                # Clamped, so that a token that is impossible adds 0 * -1e30 to the entropy, not NaN.
                z_NV = z_NV.sub_(high_N1).clamp_(min=-1e30)
                e_NV = z_NV.exp()
                sum_N = e_NV.sum(-1)
                norm_N[rows] = high_N1[:, 0] + sum_N.log()
                logprobs_N[rows] = z_NV.gather(-1, targets_N[rows, None])[:, 0] - sum_N.log()
                if entropy_N is not None:
                    entropy_N[rows] = sum_N.log() - e_NV.mul_(z_NV).sum(-1) / sum_N
        ctx.save_for_backward(hidden_NH, weight_VH, bias_V, targets_N, norm_N, entropy_N)
        ctx.chunk, ctx.scale, ctx.softcap = chunk, scale, softcap
        ctx.set_materialize_grads(False)
        return logprobs_N, entropy_N

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_logprobs_N: Tensor | None, grad_entropy_N: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        hidden_NH, weight_VH, bias_V, targets_N, norm_N, entropy_N = ctx.saved_tensors
        want_hidden, want_weight, want_bias = ctx.needs_input_grad[:3]
        grad_hidden_NH = torch.zeros_like(hidden_NH) if want_hidden else None
        grad_weight_VH = torch.zeros_like(weight_VH, dtype=norm_N.dtype) if want_weight else None
        grad_bias_V = torch.zeros_like(bias_V, dtype=norm_N.dtype) if want_bias else None
        with torch.autocast(hidden_NH.device.type, enabled=False):
            for start in range(0, hidden_NH.shape[0], ctx.chunk):
                rows = slice(start, start + ctx.chunk)
                z_NV, tanh_NV = chunk_logits(
                    hidden_NH[rows], weight_VH, bias_V, ctx.scale, ctx.softcap
                )
                grad_NV = _grad_logits(
                    z_NV.sub_(norm_N[rows, None]),
                    targets_N[rows],
                    None if grad_logprobs_N is None else grad_logprobs_N[rows],
                    None if grad_entropy_N is None else grad_entropy_N[rows],
                    None if entropy_N is None else entropy_N[rows],
                )
                grad_NV.mul_(ctx.scale)
                if tanh_NV is not None:
                    grad_NV.mul_(1 - tanh_NV.square_())
                if grad_bias_V is not None:
                    grad_bias_V += grad_NV.sum(0)
                low_NV = grad_NV.to(weight_VH.dtype)
                if grad_hidden_NH is not None:
                    grad_hidden_NH[rows] = low_NV @ weight_VH
                if grad_weight_VH is not None:
                    grad_weight_VH += low_NV.T @ hidden_NH[rows]
        return (
            grad_hidden_NH,
            None if grad_weight_VH is None else grad_weight_VH.to(weight_VH.dtype),
            None if grad_bias_V is None else grad_bias_V.to(bias_V.dtype),
            *(None,) * 5,
        )


def _grad_logits(
    log_p_NV: Tensor,
    targets_N: Tensor,
    grad_logprobs_N: Tensor | None,
    grad_entropy_N: Tensor | None,
    entropy_N: Tensor | None,
) -> Tensor:
    """d/dz of log p at the target: onehot - p; of the entropy H: -p (log p + H)."""
    p_NV = log_p_NV.exp()
    if grad_entropy_N is None or entropy_N is None:
        factor_NV: Tensor = torch.zeros_like(p_NV[:, :1])
    else:
        factor_NV = log_p_NV.clamp_(min=-1e30).add_(entropy_N[:, None])
        factor_NV = factor_NV.mul_(-grad_entropy_N[:, None])
    if grad_logprobs_N is not None:
        factor_NV = factor_NV - grad_logprobs_N[:, None]
    grad_NV = p_NV.mul_(factor_NV)
    if grad_logprobs_N is not None:
        index = targets_N[:, None]
        grad_NV.scatter_add_(-1, index, grad_logprobs_N[:, None])
    return grad_NV
