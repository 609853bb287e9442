"""Attention over packed rows in bfloat16: no further from a softmax in float64 than rounding explains.

Where the processor has AMX, products are of bfloat16, weights among them; elsewhere, and for heads that are
no multiple of 32 wide, all inside is float32.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from grpokit_hf.native import library
from grpokit_hf.nn.batch import Row
from packed_case import SHAPES, Case, apart, check_nan, places_of
from packed_pairs import row, scattered, visible

pytestmark = pytest.mark.skipif(library() is None, reason="there is no C compiler")

FAR = 4e-3
"""Of result and gradients, as norms: a number is rounded by 1.7e-3 on average, and here twice. Found: 2.9e-3."""
ROUGH = 1e-2
"""The same where gradients are small differences of rounded numbers."""
WIDTHS = [32, 48, 64, 96, 128]


def close(case: Case, rows: Sequence[Row], far: float = FAR) -> None:
    allowed_LL = visible(case.made, rows)
    for ours, right, reference in zip(
        case.run(), case.right(allowed_LL), case.rounded(allowed_LL), strict=True
    ):
        assert ours.dtype == torch.bfloat16
        assert apart(ours, right) <= 1.2 * apart(reference, right)
        assert apart(ours, right) < far


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("width", WIDTHS)
def test_it_is_as_near_as_rounding_allows(width: int, seed: int):
    """Rows of unequal lengths, of one to five prompts, in any order."""
    rows = scattered(seed)
    heads = [(3, 3), (6, 2), (4, 1), (9, 3)][seed % 4]
    close(Case.of(rows, heads, width), rows)


@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize(("sharp", "far"), [(0.1, FAR), (8.0, ROUGH)])
def test_flat_and_sharp_scores(sharp: float, far: float, width: int):
    rows = scattered(4)
    close(Case.of(rows, (6, 2), width, sharp=sharp), rows, far)


@pytest.mark.parametrize("heads", [(1, 1), (6, 2)])
@pytest.mark.parametrize("name", SHAPES)
def test_lengths(name: str, heads: tuple[int, int]):
    """Below and above the 64 queries and 32 keys that are computed at once."""
    prompt, tokens = SHAPES[name]
    rows = [row(n, 0, [1] * prompt, [n + 2] * count) for n, count in enumerate(tokens)]
    close(Case.of(rows, heads, 64), rows, ROUGH if prompt == 2 else FAR)


def test_one_token_sees_itself():
    rows = [row(0, 0, [5], [6])]
    case = Case.of(rows, (6, 2), 64)
    out, dq, dk, _ = case.run()
    assert torch.equal(out, case.inputs[2].repeat_interleave(3, 1))
    assert max(float(dq.abs().max()), float(dk.abs().max())) < 1e-2


def amx() -> bool:
    """Whether the processor has the tiles, and Linux gives them."""
    if platform.machine() != "x86_64" or not Path("/proc/cpuinfo").exists():
        return False
    flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    if not {"amx_bf16", "avx512_bf16", "avx512dq", "avx512bw"} <= flags:
        return False
    return ctypes.CDLL(None).syscall(158, 0x1023, 18) == 0


@pytest.mark.skipif(not amx(), reason="this processor has no AMX")
def test_tiles_are_used_and_round_as_flash_attention_does():
    rows = scattered(2)
    for width, weights in ((64, True), (48, False)):
        case = Case.of(rows, (6, 2), width)
        allowed_LL = visible(case.made, rows)
        likely, other = (case.rounded(allowed_LL, weights=way) for way in (weights, not weights))
        for ours, same, unlike in zip(case.run(), likely, other, strict=True):
            assert apart(ours, same) < 0.7 * apart(ours, unlike)


def test_threads_change_gradients_by_rounding_alone():
    """The result not at all: only gradients of keys are sums over threads."""
    rows = scattered(5)
    case = Case.of(rows, (6, 2), 64)
    once, twice = case.run(threads=1), case.run(threads=2)
    assert torch.equal(once[0], twice[0])
    assert torch.equal(once[1], twice[1])
    for a, b in zip(once, twice, strict=True):
        assert apart(a, b) < 5e-4  # a sum on the edge is rounded to the neighbour


@pytest.mark.parametrize("width", [48, 64])
def test_a_row_does_not_depend_on_the_others(width: int):
    """Bit for bit, forward and for its queries."""
    rows = [row(n, n // 2, [n // 2] * 41, [n + 9] * (77 - 9 * n)) for n in range(6)]
    whole = Case.of(rows, (6, 2), width, tree=False)
    found = whole.run()
    alone = Case.of(rows[2:4], (6, 2), width, tree=False)
    places = places_of(whole.made, rows)
    picked = torch.tensor(list(dict.fromkeys([*places[2], *places[3]])))
    assert len(picked) == len(alone.made.ids_L)
    inputs = tuple(x[picked] for x in whole.inputs)
    again = Case(alone.made, inputs, whole.slope[picked], whole.scale).run()  # type: ignore[arg-type]
    assert torch.equal(again[0], found[0][picked])
    assert torch.equal(again[1], found[1][picked])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["query", "key", "value", "gradient"])
@pytest.mark.parametrize("width", [48, 64])
def test_what_is_not_a_number_stays_in_its_row(width: int, name: str, threads: int):
    """Rows of other lengths come before and after it, and read less of what it leaves behind."""
    lengths = [75, 60, 3, 40, 66, 20]
    rows = [row(n, n // 3, [n // 3] * (39 - n // 3), [n + 9] * lengths[n]) for n in range(6)]
    case = Case.of(rows, (6, 2), width, tree=False)
    check_nan(case, rows, name, torch.tensor(torch.nan), threads)
