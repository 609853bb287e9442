"""Who multiplies matrices: torch's own choice, or oneDNN where that is much faster.

torch hands float32 products on x86 CPUs to MKL. On processors that are not Intel's, MKL uses its AVX2
kernels even where AVX-512 is there; oneDNN, which comes with torch and multiplies bfloat16 in any case,
uses what the processor has: about twice as fast on an AMD EPYC with AVX-512, at the same precision.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Linear", "onednn_linear", "torch_linear"]

SMALL = 1 << 19
"""Multiplications below which asking oneDNN takes longer than multiplying."""


class Linear(Protocol):
    """(x_MK, weight_NK, bias_N) -> x W' + b, two-dimensional, without gradients."""

    def __call__(
        self, x_MK: Tensor, weight_NK: Tensor, bias_N: Tensor | None = None, /
    ) -> Tensor: ...


def torch_linear(x_MK: Tensor, weight_NK: Tensor, bias_N: Tensor | None = None) -> Tensor:
    """What torch does."""
    return functional.linear(x_MK, weight_NK, bias_N)


def onednn_linear(x_MK: Tensor, weight_NK: Tensor, bias_N: Tensor | None = None) -> Tensor:
    """float32 by oneDNN; other types, and the smallest products, as torch does them.

    oneDNN reads a bias without looking at its strides.
    """
    if x_MK.dtype != torch.float32 or x_MK.numel() * len(weight_NK) < SMALL:
        return functional.linear(x_MK, weight_NK, bias_N)
    return onednn(x_MK, weight_NK, bias_N)


def onednn(x_MK: Tensor, weight_NK: Tensor, bias_N: Tensor | None = None) -> Tensor:
    """The product itself, float32."""
    out: Tensor = torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001  there is no public name
        x_MK, weight_NK, None if bias_N is None else bias_N.contiguous(), "none", [], ""
    )
    return out


@functools.cache
def not_intel() -> bool:
    """Whether this is an x86 processor on which MKL holds back."""
    capability = torch.backends.cpu.get_cpu_capability()
    has_mkl = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    if not capability.startswith("AVX") or not has_mkl:
        return False
    return vendor() not in ("GenuineIntel", "")


def vendor(path: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's maker as it names itself; empty where the system does not tell."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")]
    return found[0] if found else ""


@functools.cache
def onednn_works() -> bool:
    """Whether this torch has the product and it is right, for whole and for transposed matrices."""
    generator = torch.Generator().manual_seed(0)
    x_MK = torch.randn(33, 40, generator=generator)
    weight_NK = torch.randn(24, 40, generator=generator)
    grad_MN = torch.randn(33, 24, generator=generator)
    try:
        found = (
            onednn(x_MK, weight_NK, weight_NK[:, 0]),
            onednn(grad_MN, weight_NK.T),
            onednn(grad_MN.T, x_MK.T),
            onednn(x_MK[:, 3:19], weight_NK[:, 3:19]),
        )
    except (AttributeError, RuntimeError):  # a build of torch without oneDNN
        return False
    right = (
        x_MK @ weight_NK.T + weight_NK[:, 0],
        grad_MN @ weight_NK,
        grad_MN.T @ x_MK,
        x_MK[:, 3:19] @ weight_NK[:, 3:19].T,
    )
    return all(torch.allclose(a, b, atol=1e-4) for a, b in zip(found, right, strict=True))
