"""Products by AMX tiles against float64, and against torch's own in the same type."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from grpokit_hf.nn import amx
from grpokit_hf.nn.amx import TileLinear, amx_works

pytestmark = [
    pytest.mark.skipif(not amx_works(), reason="no AMX tiles, or no C compiler"),
    pytest.mark.usefixtures("small_products"),
]

SHAPES = [  # rows, terms, columns, rank of an adapter
    (33, 32, 16, 0),
    (16, 64, 33, 5),
    (300, 576, 192, 16),
    (100, 37, 50, 16),
    (5, 9, 3, 2),
    (47, 2049, 40, 3),
    (64, 1536, 576, 64),
    (70, 8192, 96, 0),
    (16, 1354, 600, 0),
    (31, 33, 2100, 33),
    (1, 1, 1, 1),
]
HALF, FULL = torch.bfloat16, torch.float32


def draw(rows: int, columns: int, dtype: torch.dtype, *, turned: bool, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(1000 * rows + columns + seed)
    if turned:
        return torch.randn(columns, rows, generator=generator).to(dtype).T
    return torch.randn(rows, columns, generator=generator).to(dtype)


def gap(found: Tensor, right: Tensor) -> float:
    return float((found.double() - right.double()).norm() / right.double().norm())


Adapter = tuple[Tensor, Tensor]
Case = tuple[Tensor, Tensor, Tensor, Adapter | None]


def case(shape: tuple[int, int, int, int], dtype: torch.dtype, *turned: bool) -> Case:
    """x_MK, weight_NK, bias_N and, with a rank, down_RK and up_NR, which add about as much."""
    rows, terms, columns, rank = shape
    x_MK = draw(rows, terms, dtype, turned=turned[0])
    weight_NK = draw(columns, terms, dtype, turned=turned[1])
    bias_N = draw(1, columns, dtype, turned=False)[0]
    if not rank:
        return x_MK, weight_NK, bias_N, None
    down_RK = draw(rank, terms, dtype, turned=turned[1], seed=1) * rank**-0.5
    return x_MK, weight_NK, bias_N, (down_RK, draw(columns, rank, dtype, turned=turned[0], seed=2))


def exact(x_MK: Tensor, weight_NK: Tensor, bias_N: Tensor, adapter: Adapter | None) -> Tensor:
    """In float64, the adapter's inner product rounded to the type."""
    found = x_MK.double() @ weight_NK.double().T + bias_N.double()
    if adapter is None:
        return found
    low_MR = (x_MK.double() @ adapter[0].double().T).to(x_MK.dtype)
    return found + low_MR.double() @ adapter[1].double().T


def multiplied(
    x_MK: Tensor, weight_NK: Tensor, bias_N: Tensor, adapter: Adapter | None, parts: int = 3
) -> Tensor:
    linear = TileLinear(parts)
    if adapter is None:
        return linear(x_MK, weight_NK, bias_N)
    return linear.adapted(x_MK, weight_NK, bias_N, *adapter)[0]


TURNED = list(itertools.product([False, True], repeat=2))


@pytest.mark.parametrize("turned", TURNED)
@pytest.mark.parametrize("shape", SHAPES)
def test_float32_is_as_exact_as_torchs(shape, turned):
    """To float32's rounding; each thousand terms of a sum may add a rounding or so."""
    given = case(shape, FULL, *turned)
    x_MK, weight_NK, bias_N, adapter = given
    right = exact(*given)
    torchs = torch.nn.functional.linear(x_MK, weight_NK, bias_N)
    if adapter is not None:
        torchs = torchs.addmm(x_MK @ adapter[0].T, adapter[1].T)
    found = multiplied(*given)
    assert found.dtype == FULL
    assert gap(found, right) <= max(3 * gap(torchs, right), 2e-7)
    assert gap(found, right) <= 8e-7


@pytest.mark.parametrize("turned", TURNED)
@pytest.mark.parametrize("shape", SHAPES)
def test_bfloat16_is_rounded_once(shape, turned):
    """Sums are float32; only the adapter's inner product and the result are rounded."""
    given = case(shape, HALF, *turned)
    right = exact(*given)
    found = multiplied(*given)
    assert found.dtype == HALF
    # a rounding of the inner product that falls the other way shows a little
    assert gap(found, right) <= 1.05 * gap(right.to(HALF), right) + (3e-4 if given[3] else 1e-6)


@pytest.mark.parametrize(("dtype", "close"), [(FULL, 1e-6), (HALF, 3e-3)])
@pytest.mark.parametrize("rank", [1, 16, 40])
def test_what_an_adapter_reads(dtype: torch.dtype, close: float, rank: int):
    x_MK, weight_NK, bias_N, adapter = case((300, 576, 192, rank), dtype, False, False)
    assert adapter is not None
    _, low_MR = TileLinear().adapted(x_MK, weight_NK, bias_N, *adapter)
    right = x_MK.double() @ adapter[0].double().T
    assert (low_MR.dtype, low_MR.shape) == (dtype, (300, rank))
    assert gap(low_MR, right) <= close


@pytest.mark.parametrize("dtype", [FULL, HALF])
@pytest.mark.parametrize("shape", [(300, 16, 192), (1354, 3, 33), (70, 64, 576), (2500, 16, 64)])
def test_what_tokens_add_up_to(shape: tuple[int, int, int], dtype: torch.dtype):
    """Of bfloat16 in float32; what is more than is multiplied at once is left to torch."""
    rows, rank, columns = shape
    a_MR = draw(rows, rank, dtype, turned=False)
    b_MN = draw(rows, columns, dtype, turned=False)
    found = TileLinear().crossed(a_MR, b_MN)
    assert found.shape == (rank, columns)
    assert found.dtype == (dtype if rows > amx.ROWS else FULL)
    close = 4e-3 if found.dtype == HALF else 1e-6
    assert gap(found, a_MR.double().T @ b_MN.double()) <= close


@pytest.mark.parametrize("turned", TURNED)
def test_two_parts_have_17_bits(turned):
    given = case((300, 576, 192, 16), FULL, *turned)
    assert 2e-6 < gap(multiplied(*given, parts=2), exact(*given)) < 8e-6


@pytest.mark.parametrize("scale", [1e-30, 1e-15, 1e15, 1e30])
@pytest.mark.parametrize("parts", [2, 3])
def test_numbers_of_every_size(scale: float, parts: int):
    x_MK = draw(50, 96, FULL, turned=False) * scale
    weight_NK = draw(60, 96, FULL, turned=False)
    right = x_MK.double() @ weight_NK.double().T
    assert gap(TileLinear(parts)(x_MK, weight_NK), right) <= {2: 6e-6, 3: 4e-7}[parts]


def of_bits(bits: Tensor) -> Tensor:
    return bits.to(torch.int32).view(FULL)


@pytest.mark.parametrize("turned", TURNED)
def test_three_parts_are_the_number(turned):
    """To the last bit, for numbers whose third part is not too small for bfloat16."""
    generator = torch.Generator().manual_seed(0)
    bits = torch.randint(2**31, (70, 96), generator=generator)
    bits = (
        bits.clamp(30 << 23, (254 << 23) + 0x7F7FFF)
        | torch.randint(2, (70, 96), generator=generator) << 31
    )
    bits[0, :4] = torch.tensor([0x3F800000, 0x3F808000, 0x3F818000, 0x3FFFFFFF])
    numbers = of_bits(bits)
    x_MK = numbers.T.contiguous().T if turned[0] else numbers
    one_KK = torch.eye(96).T if turned[1] else torch.eye(96)
    assert torch.equal(TileLinear()(x_MK, one_KK), numbers)
    assert torch.equal(TileLinear()(one_KK, x_MK), numbers.T)


NANS = [
    0x7F800001,
    0x7F808000,
    0x7F80FFFF,
    0x7FBFFFFF,
    0x7FC00000,
    0x7FFF7FFF,
    0x7FFF8000,
    0x7FFFFFFF,
]


@pytest.mark.parametrize("parts", [2, 3])
@pytest.mark.parametrize("turned", TURNED)
def test_every_nan_stays_one(turned, parts: int):
    """Whatever its sign and the rest of its bits."""
    linear = TileLinear(parts)
    for bits in [*NANS, *(bits - 2**31 for bits in NANS)]:
        x_MK, weight_NK, _, _ = case((70, 100, 50, 0), FULL, *turned)
        clean = linear(x_MK, weight_NK)
        x_MK[37, 99] = weight_NK[49, 3] = of_bits(torch.tensor(bits))
        found = linear(x_MK, weight_NK)
        there = torch.zeros(70, 50, dtype=torch.bool)
        there[37] = there[:, 49] = True
        assert found[there].isnan().all()
        assert torch.equal(found[~there], clean[~there])


@pytest.mark.parametrize("parts", [2, 3])
def test_the_largest_and_the_smallest_numbers(parts: int):
    """What rounds to a bfloat16 is right, what is beyond is not finite; the smallest may count as 0."""
    largest = float(of_bits(torch.tensor(0x7F7F7FFF)))
    x_MK, weight_NK = torch.zeros(50, 64), torch.eye(64)
    x_MK[0, :3] = torch.tensor([largest, -largest, largest])
    x_MK[1, 40] = torch.finfo(FULL).max
    x_MK[2] = of_bits(torch.arange(64) * 131071)
    x_MK[3] = -x_MK[2]
    found = TileLinear(parts)(x_MK, weight_NK)
    assert torch.allclose(found[0], x_MK[0], rtol=0 if parts == 3 else 1e-5, atol=0)
    assert not found[1].isfinite()[40]
    assert (found[2:4] - x_MK[2:4]).abs().max() <= 3 * torch.finfo(FULL).tiny


@pytest.mark.parametrize("dtype", [FULL, HALF])
def test_threads_change_no_bit(dtype: torch.dtype):
    given = case((300, 2049, 700, 16), dtype, False, True)
    found = []
    for threads in (1, 2, 3, 4, 7):
        torch.set_num_threads(threads)
        found.append((multiplied(*given), TileLinear().crossed(given[0][:, :20], given[0])))
    assert all(
        torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True)
    )


@pytest.mark.parametrize("dtype", [FULL, HALF])
def test_rows_do_not_depend_on_each_other(dtype: torch.dtype, monkeypatch):
    x_MK, *rest = case((300, 576, 192, 16), dtype, False, False)
    whole = multiplied(x_MK, *rest)
    assert torch.equal(whole[100:150], multiplied(x_MK[100:150], *rest))
    monkeypatch.setattr(amx, "ROWS", 96)
    assert torch.equal(whole, multiplied(x_MK, *rest))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize(("dtype", "parts"), [(FULL, 3), (FULL, 2), (HALF, 3)])
@pytest.mark.parametrize("turned", TURNED)
def test_what_is_not_finite_stays_where_it_is(bad: float, dtype: torch.dtype, parts: int, turned):
    x_MK, weight_NK, bias_N, adapter = case((70, 100, 50, 5), dtype, *turned)
    clean = multiplied(x_MK, weight_NK, bias_N, adapter, parts)
    x_MK[37, 99] = bad
    weight_NK[49, 3] = bad
    found = multiplied(x_MK, weight_NK, bias_N, adapter, parts)
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


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_adapters_of_other_types_are_left_to_another(dtype: torch.dtype):
    x_MK, weight_NK, bias_N, adapter = case((70, 64, 50, 5), FULL, False, False)
    assert adapter is not None
    given = [x.to(dtype) for x in (x_MK, weight_NK, bias_N, *adapter)]
    out_MN, low_MR = TileLinear().adapted(*given)
    right = torch.nn.functional.linear(*given[:3]).addmm(given[0] @ given[3].T, given[4].T)
    assert torch.equal(low_MR, given[0] @ given[3].T)
    assert torch.equal(out_MN, right)
    assert gap(TileLinear().crossed(given[0], given[0]), given[0].T @ given[0]) < 1e-3


def test_what_is_small_is_left_to_another(monkeypatch):
    monkeypatch.setattr(amx, "SMALL", 48)
    seen = []
    with amx.watched(lambda linear, given: seen.append(given)):
        for rows, columns in ((47, 64), (64, 47), (48, 48)):
            TileLinear()(torch.ones(rows, 32), torch.ones(columns, 32))
    assert [tuple(given[1].shape) for given in seen] == [(48, 32)]
