"""Norms, rotation and SwiGLU in C against torch's autograd in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from grpokit_hf.native import build
from grpokit_hf.nn.pointwise import fits, gated, normed, rotated

pytestmark = pytest.mark.skipif(build.library() is None, reason="there is no C compiler")
LIMITS = {torch.float32: 2e-6, torch.bfloat16: 1.2e-2}
"""Of the result and of each gradient; bfloat16 is rounded at every step, as torch rounds it."""


def plain_norm(x: Tensor, weight: Tensor) -> Tensor:
    return weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5)


def plain_rotation(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    one, two = x.chunk(2, dim=-1)
    return x * cos[:, None] + torch.cat([-two, one], dim=-1) * sin[:, None]


CASES: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor], list[tuple[int, ...]]]] = {
    "norm": (lambda x, w: normed(x, w, 1e-5), plain_norm, [(7, 48), (48,)]),
    "norm of heads": (lambda x, w: normed(x, w, 1e-5), plain_norm, [(2, 5, 3, 16), (16,)]),
    "gate": (gated, lambda gate, up: functional.silu(gate) * up, [(9, 80), (9, 80)]),
    "rotation": (rotated, plain_rotation, [(11, 3, 64), (11, 64), (11, 64)]),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("name", CASES)
def test_results_and_gradients_are_torchs(name: str, dtype: torch.dtype, threads: int):
    ours, theirs, shapes = CASES[name]
    generator = torch.Generator().manual_seed(1)
    exact = [(3.0 * torch.randn(shape, generator=generator)).to(dtype) for shape in shapes]
    fast = [x.clone().requires_grad_() for x in exact]
    slow = [x.double().requires_grad_() for x in exact]
    trained = 1 if name == "rotation" else len(shapes)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    out, right = ours(*fast), theirs(*slow)
    slope = torch.randn(right.shape, generator=generator).to(dtype)
    found = (out, *torch.autograd.grad(out, fast[:trained], slope))
    torch.set_num_threads(before)
    wanted = (right, *torch.autograd.grad(right, slow[:trained], slope.double()))
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype == dtype
        assert (a.double() - b).norm() <= LIMITS[dtype] * b.norm()


def test_sizes_that_would_overflow():
    """An exponential of 200 is infinite in float32; the result is not."""
    gate = torch.tensor([-200.0, -90.0, 0.0, 90.0, 200.0]).repeat(16).view(5, 16).requires_grad_()
    out = gated(gate, torch.ones(5, 16))
    right = functional.silu(gate)
    assert torch.allclose(out, right, atol=1e-30)
    (slope,) = torch.autograd.grad(out.sum(), gate)
    assert torch.allclose(slope, torch.autograd.grad(right.sum(), gate)[0], atol=1e-6)


def test_what_is_not_finite_stays_so():
    x = torch.ones(2, 16)
    x[1, 3] = torch.nan
    one = torch.ones(16)
    assert normed(x, one, 1e-5).isnan().sum(-1).tolist() == [0, 16]
    assert gated(x, x).isnan().sum(-1).tolist() == [0, 1]
    assert gated(x.bfloat16(), x.bfloat16()).isnan().sum(-1).tolist() == [0, 1]


def test_other_types_and_shapes_are_left_to_torch():
    x = torch.ones(2, 16)
    assert fits(x, x)
    assert not fits(x, x.bfloat16())
    assert not fits(x.double())
    assert not fits(x[:, :15])


def test_a_part_of_a_tensor_is_read_where_it_stands():
    wide = torch.randn(6, 64)
    part = wide[:, 16:48]
    assert torch.equal(gated(part, part), gated(part.contiguous(), part.contiguous()))
