"""Log-probs of given tokens from hidden states, without holding the logits of a batch.

The logits of N tokens over a vocabulary of V are the largest tensor of a step (78 GiB for 16 x 8 x
1024 tokens of a 151936 vocabulary in float32). Here they exist for ``chunk`` tokens at a time, in the
forward and, computed again, in the backward. Suffixes: N tokens, H hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

__all__ = ["HeadValues", "Linear", "chunk_logits", "token_logprobs"]

Linear = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(x_MK, weight_NK, bias_N or None) -> x W' + b."""


class HeadValues(Protocol):
    """Computes the forward of all tokens at once, as code for one kind of processor can.

    Fills ``logprobs_N``, ``norm_N`` (log-sum-exp of z / temperature) and, unless they are None,
    ``entropy_N`` and ``slope_NH`` (d log p / d hidden); ``scale`` is 1 / temperature. True where it has;
    False, with nothing written, where it leaves this to torch. Without gradients.
    """

    def __call__(
        self,
        hidden_NH: Tensor,
        weight_VH: Tensor,
        targets_N: Tensor,
        *,
        bias_V: Tensor | None,
        scale: float,
        softcap: float | None,
        logprobs_N: Tensor,
        norm_N: Tensor,
        entropy_N: Tensor | None,
        slope_NH: Tensor | None,
    ) -> bool: ...


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
    linear: Linear = functional.linear,
    values: HeadValues | None = None,
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
        linear: who multiplies: (x_MK, weight_NK, bias_N or None) -> x W' + b, without gradients.
        values: who computes the forward, where it takes the case; logits that a backward needs are
            computed here.

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
        linear,
        values,
        torch.is_grad_enabled() and hidden_NH.requires_grad,
    )
    return logprobs_N, entropy_N


def chunk_logits(
    hidden_NH: Tensor,
    weight_VH: Tensor,
    bias_V: Tensor | None,
    scale: float,
    softcap: float | None,
    linear: Linear = functional.linear,
) -> tuple[Tensor, Tensor | None]:
    """Logits of a chunk over the temperature, and tanh(z / softcap) if there is a cap."""
    z_NV = linear(hidden_NH, weight_VH, None).to(
        torch.promote_types(hidden_NH.dtype, torch.float32)
    )
    if bias_V is not None:
        z_NV = z_NV.add_(bias_V)
    tanh_NV = None
    if softcap is not None:
        tanh_NV = z_NV.div_(softcap).tanh_()
        z_NV = tanh_NV * softcap
    return (z_NV if scale == 1 else z_NV.mul_(scale)), tanh_NV


BLOCK = 8192
"""Entries of the vocabulary whose logits exist at a time on a CPU."""


class _TokenLogprobs(torch.autograd.Function):
    """Keeps a few numbers a token and, where hidden states train, d log p / d hidden.

    That direction does not depend on the loss, so it is computed while the logits of a chunk are there.
    The backward scales it. Logits come a second time only for gradients of the entropy or of the head.
    """

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
        linear: Linear,
        values: HeadValues | None,
        trains: bool,
    ) -> tuple[Tensor, Tensor | None]:
        dtype = torch.promote_types(hidden_NH.dtype, torch.float32)
        logprobs_N = hidden_NH.new_empty(hidden_NH.shape[0], dtype=dtype)
        norm_N = torch.empty_like(logprobs_N)
        entropy_N = torch.empty_like(logprobs_N) if want_entropy else None
        early = trains and not weight_VH.requires_grad
        slope_NH = torch.empty_like(hidden_NH) if early else None
        if values is None or not values(
            hidden_NH,
            weight_VH,
            targets_N,
            bias_V=bias_V,
            scale=scale,
            softcap=softcap,
            logprobs_N=logprobs_N,
            norm_N=norm_N,
            entropy_N=entropy_N,
            slope_NH=slope_NH,
        ):
            head = Head(weight_VH, bias_V, scale, softcap, linear)
            with torch.autocast(hidden_NH.device.type, enabled=False):
                for rows in chunks(len(hidden_NH), chunk):
                    head.values(
                        hidden_NH[rows],
                        targets_N[rows],
                        logprobs_N[rows],
                        norm_N[rows],
                        None if entropy_N is None else entropy_N[rows],
                        None if slope_NH is None else slope_NH[rows],
                    )
        ctx.save_for_backward(hidden_NH, weight_VH, bias_V, targets_N, norm_N, entropy_N, slope_NH)
        ctx.chunk, ctx.scale, ctx.softcap, ctx.linear = chunk, scale, softcap, linear
        ctx.set_materialize_grads(False)
        return logprobs_N, entropy_N

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_logprobs_N: Tensor | None, grad_entropy_N: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        hidden_NH, weight_VH, bias_V, targets_N, norm_N, entropy_N, slope_NH = ctx.saved_tensors
        want_hidden, want_weight, want_bias = ctx.needs_input_grad[:3]
        if grad_entropy_N is None and slope_NH is not None and not want_bias:
            grad_hidden_NH = None
            if want_hidden and grad_logprobs_N is not None:
                grad_hidden_NH = (slope_NH * grad_logprobs_N[:, None]).to(slope_NH.dtype)
            return grad_hidden_NH, *(None,) * 10
        grad_hidden_NH = torch.zeros_like(hidden_NH) if want_hidden else None
        grad_weight_VH = torch.zeros_like(weight_VH, dtype=norm_N.dtype) if want_weight else None
        grad_bias_V = torch.zeros_like(bias_V, dtype=norm_N.dtype) if want_bias else None
        with torch.autocast(hidden_NH.device.type, enabled=False):
            for rows in chunks(len(hidden_NH), ctx.chunk):
                z_NV, tanh_NV = chunk_logits(
                    hidden_NH[rows], weight_VH, bias_V, ctx.scale, ctx.softcap, ctx.linear
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
                    grad_hidden_NH[rows] = ctx.linear(low_NV, weight_VH.T, None)
                if grad_weight_VH is not None:
                    grad_weight_VH += low_NV.T @ hidden_NH[rows]
        return (
            grad_hidden_NH,
            None if grad_weight_VH is None else grad_weight_VH.to(weight_VH.dtype),
            None if grad_bias_V is None else grad_bias_V.to(bias_V.dtype),
            *(None,) * 8,
        )


def chunks(count: int, size: int) -> Iterator[slice]:
    """Slices of at most ``size``; the last one is not a sliver, which would waste a pass over the head."""
    parts = max(1, -(-count // size))
    for part in range(parts):
        yield slice(count * part // parts, count * (part + 1) // parts)


@dataclass(frozen=True)
class Head:
    """A language-model head over the temperature."""

    weight_VH: Tensor
    bias_V: Tensor | None
    scale: float
    softcap: float | None
    linear: Linear

    def values(
        self,
        hidden_NH: Tensor,
        targets_N: Tensor,
        logprobs_N: Tensor,
        norm_N: Tensor,
        entropy_N: Tensor | None,
        slope_NH: Tensor | None,
    ) -> None:
        """Fills in what is wanted of a chunk of tokens, one pass over the vocabulary's blocks."""
        sums = Running.empty(hidden_NH, norm_N.dtype, slope=slope_NH is not None)
        size = block_size(self.weight_VH)
        for block in chunks(len(self.weight_VH), size):
            weight_VH = self.weight_VH[block]
            bias_V = None if self.bias_V is None else self.bias_V[block]
            z_NV, tanh_NV = chunk_logits(
                hidden_NH, weight_VH, bias_V, self.scale, self.softcap, self.linear
            )
            sums.take_targets(z_NV, targets_N, block, tanh_NV)
            e_NV = sums.add(z_NV, entropy=entropy_N is not None)
            if sums.slope_NH is not None:
                if tanh_NV is not None:
                    e_NV.mul_(1 - tanh_NV.square_())
                sums.slope_NH += self.linear(e_NV.to(weight_VH.dtype), weight_VH.T, None)
        log_N = sums.total_N.log()
        norm_N.copy_(sums.high_N + log_N)
        logprobs_N.copy_(sums.target_N - norm_N)
        if entropy_N is not None:
            entropy_N.copy_(log_N - sums.first_N / sums.total_N)
        if slope_NH is not None and sums.slope_NH is not None:
            onehot_NH = self.weight_VH[targets_N] * sums.gain_N[:, None]
            slope_NH.copy_((onehot_NH - sums.slope_NH / sums.total_N[:, None]) * self.scale)


def block_size(weight_VH: Tensor) -> int:
    """Entries of the vocabulary at a time: on a CPU a block of the head stays in the cache between its
    two products, on other devices the head is taken whole.
    """
    return BLOCK if weight_VH.device.type == "cpu" else len(weight_VH)


@dataclass
class Running:
    """Sums over the blocks of a vocabulary, relative to the largest logit so far.

    total: sum of e = exp(z - high); first: sum of e (z - high); slope: sum of e dz/d(raw) W.
    """

    high_N: Tensor
    total_N: Tensor
    first_N: Tensor
    target_N: Tensor
    gain_N: Tensor
    slope_NH: Tensor | None
    spare: Tensor | None = None

    @classmethod
    def empty(cls, hidden_NH: Tensor, dtype: torch.dtype, *, slope: bool) -> Running:
        zeros_N = hidden_NH.new_zeros(len(hidden_NH), dtype=dtype)
        return cls(
            high_N=torch.full_like(zeros_N, -torch.inf),
            total_N=zeros_N.clone(),
            first_N=zeros_N.clone(),
            target_N=zeros_N.clone(),
            gain_N=torch.ones_like(zeros_N),
            slope_NH=torch.zeros_like(hidden_NH, dtype=dtype) if slope else None,
        )

    def take_targets(
        self, z_NV: Tensor, targets_N: Tensor, block: slice, tanh_NV: Tensor | None
    ) -> None:
        """The logits of the targets that are in this block."""
        here_N = (targets_N >= block.start) & (targets_N < block.stop)
        place_N1 = (targets_N - block.start).clamp_(0, block.stop - block.start - 1)[:, None]
        self.target_N = torch.where(here_N, z_NV.gather(-1, place_N1)[:, 0], self.target_N)
        if tanh_NV is not None:
            gain_N = 1 - tanh_NV.gather(-1, place_N1)[:, 0].square()
            self.gain_N = torch.where(here_N, gain_N, self.gain_N)

    def add(self, z_NV: Tensor, *, entropy: bool) -> Tensor:
        """Takes a block's logits, which are used up; returns their e_NV."""
        high_N = torch.maximum(self.high_N, z_NV.amax(-1))
        shift_N = (self.high_N - high_N).clamp_(min=-1e30)
        self.high_N = high_N
        # Clamped, so that a token that is impossible adds 0 * -1e30 to the entropy, not NaN.
        z_NV = z_NV.sub_(high_N[:, None]).clamp_(min=-1e30)
        e_NV = self.exp(z_NV) if entropy else z_NV.exp_()
        factor_N = shift_N.exp()
        if entropy:
            self.first_N = (self.first_N + shift_N * self.total_N) * factor_N
            self.first_N += z_NV.mul_(e_NV).sum(-1)
        self.total_N = self.total_N * factor_N + e_NV.sum(-1)
        if self.slope_NH is not None:
            self.slope_NH.mul_(factor_N[:, None])
        return e_NV

    def exp(self, z_NV: Tensor) -> Tensor:
        """The exponentials in memory that all blocks share: fresh memory costs more than the arithmetic."""
        if self.spare is None or self.spare.shape[1] < z_NV.shape[1]:
            self.spare = torch.empty_like(z_NV)
        return torch.exp(z_NV, out=self.spare[:, : z_NV.shape[1]])


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
