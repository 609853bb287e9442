"""Attention over packed rows in float32 by AMX tiles: as near to a softmax in float64 as float32 products."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from grpokit_hf.nn.amx import TileLinear, amx_works
from grpokit_hf.nn.batch import Row
from grpokit_hf.nn.products import torch_linear
from packed_case import SHAPES, Case, apart, check_nan, places_of
from packed_pairs import row, scattered, visible

pytestmark = pytest.mark.skipif(not amx_works(), reason="no AMX tiles, or no C compiler")

TILES = TileLinear()
FAR = 4e-7
"""Of result and gradients, as norms. Found: 3.1e-7."""
LONG = 8e-7
"""Where sums are of hundreds of keys. Found: 5.2e-7."""
SMALL = 4e-6
"""Where gradients are small differences of what was summed. Found: 2.4e-6."""


def of(
    rows: Sequence[Row],
    heads: tuple[int, int],
    width: int,
    *,
    tree: bool = True,
    sharp: float = 1.0,
) -> Case:
    """Numbers of float32 that bfloat16 does not have."""
    return Case.of(rows, heads, width, tree=tree, sharp=sharp, linear=TILES, dtype=torch.float32)


def close(case: Case, rows: Sequence[Row], far: float) -> None:
    for ours, right in zip(case.run(), case.right(visible(case.made, rows)), strict=True):
        assert ours.dtype == torch.float32
        assert apart(ours, right) < far


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("width", [32, 64, 96, 128])
def test_it_is_as_near_as_float32_allows(width: int, seed: int):
    """Rows of unequal lengths, of one to five prompts, in any order."""
    rows = scattered(seed)
    heads = [(3, 3), (6, 2), (4, 1), (9, 3)][seed % 4]
    close(of(rows, heads, width), rows, FAR)


@pytest.mark.parametrize("sharp", [0.1, 8.0])
def test_tiles_are_no_further_than_float32_is(sharp: float):
    """Flat and sharp scores: where differences of sums are small, float32 itself is further."""
    rows = scattered(4)
    tiles = of(rows, (6, 2), 64, sharp=sharp)
    plain = Case(tiles.made, tiles.inputs, tiles.slope, tiles.scale, torch_linear)
    right = tiles.right(visible(tiles.made, rows))
    for ours, float32, exact in zip(tiles.run(), plain.run(), right, strict=True):
        assert 0 < apart(ours, exact) < 1.5 * apart(float32, exact)
        assert not torch.equal(ours, float32)  # it was computed in another way


@pytest.mark.parametrize("heads", [(1, 1), (6, 2)])
@pytest.mark.parametrize("name", SHAPES)
def test_lengths(name: str, heads: tuple[int, int]):
    """Below and above the 64 queries and 32 keys that are computed at once."""
    prompt, tokens = SHAPES[name]
    rows = [row(n, 0, [1] * prompt, [n + 2] * count) for n, count in enumerate(tokens)]
    close(of(rows, heads, 64), rows, SMALL if prompt == 2 else LONG)


def test_threads_change_gradients_of_keys_by_rounding_alone():
    case = of(scattered(5), (6, 2), 64)
    once, twice = case.run(threads=1), case.run(threads=2)
    assert torch.equal(once[0], twice[0])
    assert torch.equal(once[1], twice[1])
    for a, b in zip(once, twice, strict=True):
        assert apart(a, b) < 1e-7


def test_a_row_does_not_depend_on_the_others():
    """Bit for bit, forward and for its queries."""
    rows = [row(n, n // 2, [n // 2] * 41, [n + 9] * (77 - 9 * n)) for n in range(6)]
    whole = of(rows, (6, 2), 64, tree=False)
    found = whole.run()
    alone = of(rows[2:4], (6, 2), 64, tree=False)
    places = places_of(whole.made, rows)
    picked = torch.tensor(list(dict.fromkeys([*places[2], *places[3]])))
    q, k, v = (x[picked] for x in whole.inputs)
    again = Case(alone.made, (q, k, v), whole.slope[picked], whole.scale, TILES).run()
    assert torch.equal(again[0], found[0][picked])
    assert torch.equal(again[1], found[1][picked])


@pytest.mark.parametrize("bits", [0x7FC00000, 0xFFC00000, 0x7FFFFFFF, 0xFFFFFFFF])
@pytest.mark.parametrize("name", ["query", "key", "value", "gradient"])
def test_what_is_not_a_number_stays_in_its_row(name: str, bits: int):
    """A NaN of any kind, and rows of other lengths around it, which read less of what it leaves behind."""
    lengths = [75, 60, 3, 40, 66, 20]
    rows = [row(n, n // 3, [n // 3] * (39 - n // 3), [n + 9] * lengths[n]) for n in range(6)]
    case = of(rows, (6, 2), 64, tree=False)
    nan = torch.tensor(bits).to(torch.int32).view(torch.float32)
    check_nan(case, rows, name, nan)
