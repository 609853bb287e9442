"""Attention over packed rows against a masked softmax in float64, however it is cut."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from grpokit_hf.native import library
from grpokit_hf.nn import pack, packed_attention, tree
from grpokit_hf.nn.batch import Row
from grpokit_hf.nn.pack import Pack
from grpokit_hf.nn.packed_attention import Layout
from grpokit_hf.nn.products import Linear, onednn, torch_linear
from packed_pairs import CPU, compare, row, scattered, visible

SIZES: dict[str, dict[str, float]] = {
    "as they are": {},
    "cut": {
        "WORTH": 1,
        "BRANCH": 1,
        "SMALL": 50,
        "SCORES": 900,
        "WASTE": 1.1,
        "LOOP": 200,
        "HELD": 500,
        "LONG": 16,
    },
    "together": {"WORTH": 5, "SMALL": 1 << 40, "SCORES": 1 << 40, "LOOP": 1, "HELD": 1 << 40},
}
"""The sizes at which work is cut, small enough for cuts and large enough for padding."""


def set_sizes(patch: pytest.MonkeyPatch, name: str) -> None:
    sizes = SIZES[name]
    for key in sizes.keys() & {"SMALL", "SCORES", "WASTE"}:
        patch.setattr(pack, key, sizes[key])
    for key in sizes.keys() & {"WORTH", "BRANCH"}:
        patch.setattr(tree, key, sizes[key])
    for key, setting in (("LOOP", "LOOP"), ("HELD", "SCORES"), ("LONG", "LONG")):
        if key in sizes:
            patch.setattr(packed_attention, setting, sizes[key])


HEADS = [(3, 3), (6, 2), (4, 1), (1, 1)]


NATIVE = pytest.param(
    "native", marks=pytest.mark.skipif(library() is None, reason="there is no C compiler")
)
WAYS: dict[str, tuple[Linear, dict[str, bool]]] = {
    "native": (torch_linear, {"native": True}),
    "tiles": (torch_linear, {"tiles": True}),
    "torch": (torch_linear, {}),
    "onednn": (onednn, {}),
}


@pytest.mark.parametrize("way", [NATIVE, "tiles", "torch", "onednn"])
@pytest.mark.parametrize("sizes", SIZES)
def test_attention_is_a_masked_softmax(sizes: str, way: str, monkeypatch):
    linear, settings = WAYS[way]
    set_sizes(monkeypatch, sizes)
    padded = cut = 0
    for seed in range(12):
        made = compare(scattered(seed), HEADS[seed % 4], linear, seed, **settings)
        cut = max(cut, len(made.blocks))
        end = len(made.ids_L)
        prefixes = [block.prefix_PK for block in made.blocks if block.prefix_PK is not None]
        padded += sum(bool((prefix == end).any()) for prefix in prefixes)
    assert cut > 10 if sizes == "cut" else cut > 0
    assert padded > 0 if sizes == "together" else padded >= 0


@pytest.mark.parametrize("way", [NATIVE, "tiles", "onednn"])
def test_long_prompts_and_long_rows(way: str):
    """The sizes as they are, crossed: queries that are cut, and large products."""
    linear, settings = WAYS[way]
    rows = [row(0, 0, [1] * 1060, [2] * 90), row(1, 0, [1] * 1060, [3] * 80)]
    compare(rows, (2, 1), linear, **settings)
    rows = [row(0, 0, [1] * 20, [2] * 1050), row(1, 0, [1] * 20, [3] * 5)]
    compare(rows, (2, 1), linear, **settings)


@pytest.mark.parametrize("way", [NATIVE, "tiles", "torch"])
def test_scores_that_would_overflow(way: str):
    """Largest scores of several hundred: their exponential alone is infinite in float32."""
    compare(scattered(4), (4, 2), torch_linear, scale=60.0, **WAYS[way][1])


@pytest.mark.skipif(library() is None, reason="there is no C compiler")
def test_threads_change_gradients_by_rounding_alone():
    """The result not at all: only gradients of keys are sums over threads."""
    rows, before = scattered(5), torch.get_num_threads()
    made, found = Pack.of(rows, CPU), []
    generator = torch.Generator().manual_seed(0)
    shapes = [(len(made.ids_L), n, 48) for n in (6, 2, 2)]
    inputs = [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        out = packed_attention.packed_attention(*inputs, Layout(made, native=True), 0.2)
        found.append((out, *torch.autograd.grad(out.square().sum(), inputs)))
    torch.set_num_threads(before)
    for other in found[1:]:
        assert torch.equal(other[0], found[0][0])
        assert torch.equal(other[1], found[0][1])
        for a, b in zip(other, found[0], strict=True):
            assert (a - b).norm() <= 1e-6 * b.norm()


def test_every_token_stands_in_one_block_once():
    lengths = []
    for seed in range(10):
        rows = scattered(seed)
        made = Pack.of(rows, CPU, tree=False)
        end = len(made.ids_L)
        prompts = {row.prompt: len(row.prompt_ids) for row in rows}
        lengths.append(sum(prompts.values()) + sum(len(row.tokens) - 1 for row in rows) - end)
        places = torch.cat([block.own_PRT.flatten() for block in made.blocks])
        assert sorted(places[places != end].tolist()) == list(range(end))
    assert not any(lengths[::2])
    assert all(saved == 0 or saved >= tree.WORTH for saved in lengths)
    assert any(lengths)


ALIKE: dict[str, list[list[int]]] = {
    "one is the beginning of another": [[1, 2, 3], [1, 2, 3, 4, 5]],
    "the same twice": [[1, 2, 3], [1, 2, 3]],
    "all the same but the last": [[1, 2, 3, 4], [1, 2, 3, 5], [1, 2, 3, 6]],
    "one token": [[1], [1, 2]],
    "the middle one differs": [[5, 1], [5, 9, 3], [5, 1, 2]],
}


@pytest.mark.parametrize("name", ALIKE)
def test_prompts_that_begin_alike(name: str, monkeypatch):
    monkeypatch.setattr(tree, "WORTH", 1)
    prompts = ALIKE[name]
    rows = [
        row(3 * p + g, p, prompts[p], [7] * (g + 1)) for g in range(3) for p in range(len(prompts))
    ]
    made = compare(rows, (2, 1), torch_linear)
    alike = tree.common([tuple(prompt) for prompt in prompts])
    assert alike < min(map(len, prompts))
    whole = sum(map(len, prompts)) + len(prompts) * 3
    assert len(made.ids_L) == whole - alike * (len(prompts) - 1)


@pytest.mark.parametrize("name", ALIKE)
@pytest.mark.parametrize("least", [1, 2, 4])
def test_completions_that_begin_alike(name: str, least: int, monkeypatch):
    """Behind two prompts, the same completions. With ``least`` 1 each state stands once."""
    monkeypatch.setattr(tree, "BRANCH", least)
    ends = [[*tokens, 9] for tokens in ALIKE[name]]
    rows = [row(g + 10 * p, p, [p, 3], tokens) for g, tokens in enumerate(ends) for p in range(2)]
    made = compare(rows, (2, 1), torch_linear)
    states = {tuple(tokens[:length]) for tokens in ends for length in range(1, len(tokens))}
    apart = sum(len(tokens) - 1 for tokens in ends)
    standing = len(made.ids_L) // 2 - 2
    assert standing == len(states) if least == 1 else len(states) <= standing <= apart
    if name == "the same twice":
        assert standing == apart / 2
    alone = compare_apart(rows)
    assert alone == 2 * (2 + apart)


def compare_apart(rows: Sequence[Row]) -> int:
    made = Pack.of(rows, CPU, tree=False)
    assert made.twins is None
    visible(made, rows)
    return len(made.ids_L)


@pytest.mark.parametrize("seed", range(6))
def test_a_tree_holds_each_state_once(seed: int, monkeypatch):
    monkeypatch.setattr(tree, "BRANCH", 1)
    rows = scattered(seed)
    made = Pack.of(rows, CPU)
    states = {
        (item.prompt, item.tokens[:length]) for item in rows for length in range(len(item.tokens))
    }
    ends = {(item.prompt, item.tokens[:0]) for item in rows}
    apart = Pack.of([row(0, item.prompt, item.prompt_ids, [0]) for item in rows], CPU)
    assert len(made.ids_L) - len(apart.ids_L) == len(states) - len(ends)
    kinds = [
        (item.prompt, item.tokens[:length])
        for item in rows
        for length in range(1, len(item.tokens) + 1)
    ]
    if made.twins is None:
        assert len(set(kinds)) == len(kinds)
        return
    first = made.twins.first_U.tolist()
    assert len(first) == len(set(kinds))
    assert [kinds[first[u]] for u in made.twins.back_M.tolist()] == kinds


def test_many_rows_that_end_one_after_another(monkeypatch):
    """A branch at every token: deeper than Python's stack would go."""
    monkeypatch.setattr(tree, "BRANCH", 1)
    rows = [row(n, 0, [1], [2] * (n + 2)) for n in range(1200)]
    assert len(Pack.of(rows, CPU).ids_L) == 1 + 1200


@pytest.mark.parametrize("native", [library() is not None, False])
def test_attention_is_float32_under_autocast_and_in_bfloat16(native: bool):
    rows = scattered(3)
    made = Pack.of(rows, CPU)
    generator = torch.Generator().manual_seed(0)
    shapes = [(len(made.ids_L), heads, 16) for heads in (6, 2, 2)]
    exact = [torch.randn(shape, generator=generator).bfloat16().float() for shape in shapes]

    def run(dtype: torch.dtype, *, autocast: bool) -> list[Tensor]:
        inputs = [x.to(dtype).requires_grad_() for x in exact]
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            layout = Layout(made, native=native)
            out = packed_attention.packed_attention(*inputs, layout, 1.0)
        slope = torch.linspace(-1, 1, out.numel()).view(out.shape).bfloat16().to(dtype)
        return [out, *torch.autograd.grad(out, inputs, slope)]

    right = run(torch.float32, autocast=False)
    assert all(map(torch.equal, right, run(torch.float32, autocast=True)))
    for value, low in zip(right, run(torch.bfloat16, autocast=True), strict=True):
        assert low.dtype == torch.bfloat16
        assert (low.float() - value).norm() < 6e-3 * value.norm()
