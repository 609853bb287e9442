"""Matrix products by oneDNN, and the linear layer that uses them, against float64."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from grpokit_hf.nn import amx, multiplier, products
from grpokit_hf.nn.amx import TileLinear, amx_works
from grpokit_hf.nn.linear import apply_linear
from grpokit_hf.nn.multiplier import pick_linear
from grpokit_hf.nn.products import onednn_linear, torch_linear, vendor

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def all_sizes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small products too; what a test found out about the processor is forgotten."""
    monkeypatch.setattr(products, "SMALL", 1)
    monkeypatch.setattr(amx, "SMALL", 1)
    caches = products.not_intel, products.onednn_works
    yield
    for function in caches:
        function.cache_clear()


def draw(*shape: int) -> Tensor:
    """Random numbers that depend on the shape alone."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


TILES = pytest.param(
    TileLinear(), marks=pytest.mark.skipif(not amx_works(), reason="no AMX tiles, or no compiler")
)
LINEARS = [torch_linear, onednn_linear, TILES]
SQUARE = draw(48, 49)
MATRICES: dict[str, tuple[Tensor, Tensor, Tensor | None]] = {
    "whole": (draw(33, 40), draw(48, 40), None),
    "bias": (draw(33, 40), draw(48, 40), draw(48)),
    "column as bias": (draw(33, 40), draw(48, 40), SQUARE[:, 3]),
    "every third as bias": (draw(33, 40), draw(48, 40), draw(144)[::3]),
    "one number as bias": (draw(33, 40), draw(48, 40), draw(1).expand(48)),
    "transposed": (draw(40, 33).T, draw(40, 48).T, draw(48)),
    "slices": (draw(50, 60)[5:38, 7:47], draw(60, 50)[3:51, 9:49], SQUARE[:, 0]),
    "every second": (draw(66, 80)[::2, ::2], draw(96, 40)[::2], None),
    "the same row": (draw(1, 40).expand(33, 40), draw(48, 40), None),
    "the same column": (draw(33, 1).expand(33, 40), draw(48, 1).expand(48, 40), None),
    "odd address": (draw(33 * 40 + 1)[1:].view(33, 40), draw(48, 40), draw(49)[1:]),
    "one row": (draw(1, 40), draw(48, 40), draw(48)),
    "one column": (draw(33, 40), draw(1, 40), draw(1)),
    "one term": (draw(33, 1), draw(48, 1), draw(48)),
    "no rows": (draw(0, 40), draw(48, 40), draw(48)),
    "no columns": (draw(33, 40), draw(0, 40), None),
    "no terms": (draw(33, 0), draw(48, 0), draw(48)),
}


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("linear", LINEARS)
def test_a_product_whatever_the_strides(name: str, linear: Any):
    x_MK, weight_NK, bias_N = MATRICES[name]
    right = x_MK.double() @ weight_NK.double().T
    if bias_N is not None:
        right = right + bias_N.double()
    found = linear(x_MK, weight_NK, bias_N)
    assert found.shape == right.shape
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), right, rtol=1e-5, atol=1e-5)


def test_onednn_takes_a_bias_for_contiguous():
    """Why it is made so: with strides the numbers between them are taken."""
    x_MK, weight_NK, bias_N = MATRICES["column as bias"]
    assert bias_N is not None
    raw = torch.ops.mkldnn._linear_pointwise(x_MK, weight_NK, bias_N, "none", [], "")
    right = torch_linear(x_MK, weight_NK, bias_N)
    assert not torch.allclose(raw, right, atol=1e-2)
    assert torch.allclose(onednn_linear(x_MK, weight_NK, bias_N), right, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_types_are_left_to_torch(dtype: torch.dtype):
    x_MK, weight_NK, bias_N = (draw(*shape).to(dtype) for shape in ((5, 8), (6, 8), (6,)))
    found = onednn_linear(x_MK, weight_NK, bias_N)
    assert found.dtype == dtype
    assert torch.equal(found, torch_linear(x_MK, weight_NK, bias_N))


# ------------------------------------------------------------- who multiplies


@pytest.mark.parametrize("slow", [True, False])
def test_auto_follows_the_processor(slow: bool, monkeypatch):
    monkeypatch.setattr(products, "not_intel", lambda: slow)
    monkeypatch.setattr(multiplier, "amx_works", lambda: False)
    products.onednn_works.cache_clear()
    works = products.onednn_works()
    assert pick_linear("auto", CPU) is (onednn_linear if slow and works else torch_linear)
    assert pick_linear("onednn", CPU) is (onednn_linear if works else torch_linear)
    assert pick_linear("torch", CPU) is torch_linear
    assert pick_linear("onednn", torch.device("meta")) is torch_linear


def test_tiles_are_taken_where_they_are(monkeypatch, caplog):
    multiplier.tell_once.cache_clear()
    monkeypatch.setattr(multiplier, "amx_works", lambda: True)
    assert pick_linear("auto", CPU) == pick_linear("amx", CPU) == TileLinear(3)
    assert pick_linear("bf16x3", CPU) == TileLinear(2)
    assert pick_linear("torch", CPU) is torch_linear
    assert pick_linear("onednn", CPU) in (onednn_linear, torch_linear)
    assert pick_linear("amx", torch.device("meta")) is torch_linear
    assert not isinstance(pick_linear("auto", CPU, native=False), TileLinear)
    assert not caplog.records
    for _ in range(2):
        assert not isinstance(pick_linear("bf16x3", CPU, native=False), TileLinear)
    (told,) = caplog.records
    assert "bf16x3" in told.getMessage()


@pytest.mark.parametrize("fault", ["missing", "broken", "wrong"])
def test_without_a_right_onednn_torch_multiplies(fault: str, monkeypatch):
    def product(x_MK: Tensor, weight_NK: Tensor, bias_N: Tensor | None = None) -> Tensor:
        if fault == "missing":
            return torch.ops.mkldnn.no_such_product(x_MK)  # type: ignore[no-any-return]
        if fault == "broken":
            raise RuntimeError("mkldnn is not available")
        return torch_linear(x_MK, weight_NK.contiguous(), bias_N) * 1.01

    products.onednn_works.cache_clear()
    monkeypatch.setattr(products, "onednn", product)
    monkeypatch.setattr(multiplier, "amx_works", lambda: False)
    assert not products.onednn_works()
    assert pick_linear("onednn", CPU) is torch_linear
    assert pick_linear("auto", CPU) is torch_linear


CPUINFO = {
    "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 26\n\nvendor_id\t: other\n": "AuthenticAMD",
    "vendor_id : GenuineIntel\n": "GenuineIntel",
    "processor\t: 0\nBogoMIPS\t: 48.00\nCPU implementer\t: 0x41\n": "",
    "": "",
}


@pytest.mark.parametrize(("text", "name"), CPUINFO.items())
def test_vendor(text: str, name: str, tmp_path: Path):
    (tmp_path / "cpuinfo").write_text(text)
    assert vendor(tmp_path / "cpuinfo") == name
    assert vendor(tmp_path / "nothing") == ""


@pytest.mark.parametrize(
    ("name", "capability", "slow"),
    [
        ("AuthenticAMD", "AVX2", True),
        ("AuthenticAMD", "AVX512", True),
        ("GenuineIntel", "AVX512", False),
        ("", "AVX2", False),
        ("AuthenticAMD", "DEFAULT", False),
        ("0x41", "SVE256", False),
    ],
)
def test_mkl_holds_back_on_x86_that_is_not_intels(name, capability, slow, monkeypatch):
    monkeypatch.setattr(products, "vendor", lambda: name)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    products.not_intel.cache_clear()
    assert products.not_intel() is slow


# ------------------------------------------------------------- the linear layer


def layer(*, adapter: bool, bias: bool) -> dict[str, Tensor]:
    values = {"x": draw(2, 7, 12), "weight": draw(10, 12)}
    if bias:
        values["bias"] = draw(10)
    if adapter:
        values |= {"down": draw(3, 12), "up": draw(10, 3)}
    return values


def naive(values: dict[str, Tensor], scale: float) -> Tensor:
    out = values["x"] @ values["weight"].T
    if "bias" in values:
        out = out + values["bias"]
    if "down" in values:
        out = out + scale * (values["x"] @ values["down"].T) @ values["up"].T
    return out


def fast(values: dict[str, Tensor], scale: float, linear: Any) -> Tensor:
    adapter = (values["down"], values["up"], scale) if "down" in values else None
    return apply_linear(values["x"], values["weight"], values.get("bias"), adapter, linear)


def leaves(values: dict[str, Tensor], trained: set[str], dtype: torch.dtype) -> dict[str, Tensor]:
    """Copies that train where told; what an adapter has stays in float32."""
    wide = {"down", "up"} if dtype == torch.bfloat16 else set()
    return {
        name: value.to(torch.float32 if name in wide else dtype).requires_grad_(name in trained)
        for name, value in ((name, value.clone()) for name, value in values.items())
    }


TRAINED = [
    {"x", "weight", "bias", "down", "up"},
    {"x", "down", "up"},
    {"down", "up"},
    {"weight"},
    {"x"},
    {"bias"},
]


@pytest.mark.parametrize("trained", TRAINED, ids=lambda names: "+".join(sorted(names)))
@pytest.mark.parametrize("adapter", [True, False])
@pytest.mark.parametrize("linear", LINEARS)
@pytest.mark.parametrize(
    ("dtype", "close"), [(torch.float32, 2e-6), (torch.bfloat16, 1e-2), (torch.float64, 1e-12)]
)
def test_linear_layer(trained: set[str], adapter: bool, linear: Any, dtype, close: float):
    for bias in (True, False):
        values = layer(adapter=adapter, bias=bias)
        trains = trained & values.keys()
        if not trains:
            continue
        if dtype == torch.bfloat16:  # the reference has the same rounded numbers
            values = {name: value.bfloat16().float() for name, value in values.items()}
        ours, theirs = leaves(values, trains, dtype), leaves(values, trains, torch.float64)
        slope = draw(2, 7, 10).bfloat16()
        found, right = fast(ours, 1.7, linear), naive(theirs, 1.7)
        assert found.dtype == dtype
        found.backward(slope.to(dtype))  # type: ignore[no-untyped-call]
        right.backward(slope.double())  # type: ignore[no-untyped-call]
        assert (found - right).norm() <= close * right.norm()
        for name in values:
            a, b = ours[name].grad, theirs[name].grad
            assert (a is None) == (b is None) == (name not in trains)
            if a is not None and b is not None:
                assert a.dtype == ours[name].dtype
                assert (a - b).norm() <= close * b.norm(), name


def test_linear_layer_with_odd_strides_and_no_rows():
    weight_OI = draw(12, 10).T.requires_grad_()
    x = draw(12, 2, 7).permute(1, 2, 0).requires_grad_()
    out = apply_linear(x, weight_OI, None, None, onednn_linear)
    right = x.double() @ weight_OI.double().T
    slope = draw(10, 7, 2).permute(2, 1, 0)
    ours = torch.autograd.grad(out, (x, weight_OI), slope)
    theirs = torch.autograd.grad(right, (x, weight_OI), slope.double())
    for a, b in zip((out, *ours), (right, *theirs), strict=True):
        assert torch.allclose(a.double(), b.double(), rtol=1e-5, atol=1e-5)
    nothing = draw(0, 12).requires_grad_()
    empty = apply_linear(nothing, weight_OI, None, None, onednn_linear)
    (grad,) = torch.autograd.grad(empty.sum(), nothing)
    assert (empty.shape, grad.shape) == ((0, 10), (0, 12))
