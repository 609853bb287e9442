"""Products by AMX tiles against float64, and against torch's own in the same type."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from grpokit_hf.nn import amx
from grpokit_hf.nn.amx import TileLinear, amx_works

pytestmark = pytest.mark.skipif(not amx_works(), reason="no AMX tiles, or no C compiler")

SHAPES = [  # rows, terms, columns, rank of what is added
    (33, 32, 16, 0),
    (16, 64, 33, 5),
    (300, 576, 192, 16),
    (100, 37, 50, 16),
    (5, 9, 3, 2),
    (47, 2049, 40, 3),
    (64, 1536, 576, 64),
    (70, 8192, 96, 0),
    (31, 33, 2100, 33),
    (1, 1, 1, 1),
]
HALF, FULL = torch.bfloat16, torch.float32


@pytest.fixture(autouse=True)
def all_sizes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small products too; as many threads as before."""
    monkeypatch.setattr(amx, "SMALL", 1)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def draw(rows: int, columns: int, dtype: torch.dtype, *, turned: bool, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(1000 * rows + columns + seed)
    if turned:
        return torch.randn(columns, rows, generator=generator).to(dtype).T
    return torch.randn(rows, columns, generator=generator).to(dtype)


def gap(found: Tensor, right: Tensor) -> float:
    return float((found.double() - right.double()).norm() / right.double().norm())


Case = tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor] | None]


def case(shape: tuple[int, int, int, int], dtype: torch.dtype, *turned: bool) -> Case:
    rows, terms, columns, rank = shape
    x_MK = draw(rows, terms, dtype, turned=turned[0])
    weight_NK = draw(columns, terms, dtype, turned=turned[1])
    bias_N = draw(1, columns, dtype, turned=False)[0]
    if not rank:
        return x_MK, weight_NK, bias_N, None
    low_MR = draw(rows, rank, dtype, turned=turned[0], seed=1)
    return x_MK, weight_NK, bias_N, (low_MR, draw(columns, rank, dtype, turned=turned[1], seed=2))


def exact(x_MK: Tensor, weight_NK: Tensor, bias_N: Tensor, more: tuple[Tensor, Tensor] | None):
    found = x_MK.double() @ weight_NK.double().T + bias_N.double()
    return found if more is None else found + more[0].double() @ more[1].double().T


TURNED = list(itertools.product([False, True], repeat=2))


@pytest.mark.parametrize("turned", TURNED)
@pytest.mark.parametrize("shape", SHAPES)
def test_float32_is_as_exact_as_torchs(shape, turned):
    """To float32's rounding; each thousand terms of a sum may add a rounding or so."""
    given = case(shape, FULL, *turned)
    x_MK, weight_NK, bias_N, more = given
    right = exact(*given)
    torchs = torch.nn.functional.linear(x_MK, weight_NK, bias_N)
    if more is not None:
        torchs = torchs.addmm(more[0], more[1].T)
    found = TileLinear()(*given)
    assert found.dtype == FULL
    assert gap(found, right) <= max(3 * gap(torchs, right), 2e-7)
    assert gap(found, right) <= 8e-7


@pytest.mark.parametrize("turned", TURNED)
@pytest.mark.parametrize("shape", SHAPES)
def test_bfloat16_is_rounded_once(shape, turned):
    """Sums are float32; only the result is rounded, so it is the nearest bfloat16 or next to it."""
    given = case(shape, HALF, *turned)
    right = exact(*given)
    found = TileLinear()(*given)
    assert found.dtype == HALF
    assert gap(found, right) <= 1.05 * gap(right.to(HALF), right) + 1e-6


@pytest.mark.parametrize("turned", TURNED)
def test_two_parts_have_17_bits(turned):
    given = case((300, 576, 192, 16), FULL, *turned)
    assert 2e-6 < gap(TileLinear(2)(*given), exact(*given)) < 6e-6


@pytest.mark.parametrize("scale", [1e-30, 1e-15, 1e15, 1e30])
@pytest.mark.parametrize("parts", [2, 3])
def test_numbers_of_every_size(scale: float, parts: int):
    x_MK = draw(50, 96, FULL, turned=False) * scale
    weight_NK = draw(60, 96, FULL, turned=False)
    right = x_MK.double() @ weight_NK.double().T
    assert gap(TileLinear(parts)(x_MK, weight_NK), right) <= {2: 6e-6, 3: 4e-7}[parts]


@pytest.mark.parametrize("dtype", [FULL, HALF])
def test_threads_change_no_bit(dtype: torch.dtype):
    given = case((300, 2049, 700, 16), dtype, False, True)
    found = []
    for threads in (1, 2, 3, 4, 7):
        torch.set_num_threads(threads)
        found.append(TileLinear()(*given))
    assert all(torch.equal(found[0], other) for other in found[1:])


@pytest.mark.parametrize("dtype", [FULL, HALF])
def test_rows_do_not_depend_on_each_other(dtype: torch.dtype, monkeypatch):
    x_MK, weight_NK, bias_N, more = case((300, 576, 192, 16), dtype, False, False)
    assert more is not None
    whole = TileLinear()(x_MK, weight_NK, bias_N, more)
    few = TileLinear()(x_MK[100:150], weight_NK, bias_N, (more[0][100:150], more[1]))
    assert torch.equal(whole[100:150], few)
    monkeypatch.setattr(amx, "ROWS", 96)
    assert torch.equal(whole, TileLinear()(x_MK, weight_NK, bias_N, more))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [FULL, HALF])
@pytest.mark.parametrize("turned", TURNED)
def test_what_is_not_finite_stays_where_it_is(bad: float, dtype: torch.dtype, turned):
    x_MK, weight_NK, bias_N, more = case((70, 100, 50, 5), dtype, *turned)
    clean = TileLinear()(x_MK, weight_NK, bias_N, more)
    x_MK[37, 99] = bad
    weight_NK[49, 3] = bad
    found = TileLinear()(x_MK, weight_NK, bias_N, more)
    there = torch.zeros(70, 50, dtype=torch.bool)
    there[37] = there[:, 49] = True
    assert not found[there].isfinite().any()
    assert torch.equal(found[~there], clean[~there])


def test_other_types_and_strides_are_left_to_another():
    asked = []

    def other(*given: object) -> Tensor:
        asked.append(given)
        return torch.zeros(1)

    linear = TileLinear(otherwise=other)
    x_MK, weight_NK, bias_N, _ = case((70, 64, 50, 0), FULL, False, False)
    linear(x_MK.double(), weight_NK.double())
    linear(x_MK.half(), weight_NK.half())
    linear(x_MK[:, ::2], weight_NK[:, ::2])
    linear(x_MK[:, :0], weight_NK[:, :0])
    linear(x_MK, weight_NK, draw(50, 2, FULL, turned=False)[:, 0])
    assert len(asked) == 5
    linear(x_MK, weight_NK, bias_N)
    assert len(asked) == 5


def test_what_is_small_is_left_to_another(monkeypatch):
    monkeypatch.setattr(amx, "SMALL", 48)
    seen = []
    with amx.watched(lambda linear, given: seen.append(given)):
        for rows, columns in ((47, 64), (64, 47), (48, 48)):
            TileLinear()(torch.ones(rows, 32), torch.ones(columns, 32))
    assert [tuple(given[0].shape) for given in seen] == [(48, 32)]
