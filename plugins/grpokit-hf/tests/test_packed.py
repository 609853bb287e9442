"""Attention over packed rows against a masked softmax in float64, however it is cut."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from grpokit_hf.nn import pack, packed_attention, tree
from grpokit_hf.nn.batch import Row
from grpokit_hf.nn.pack import Pack
from grpokit_hf.nn.packed_attention import Layout
from grpokit_hf.nn.products import Linear, onednn, torch_linear

CPU = torch.device("cpu")
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


def row(index: int, prompt: int, prompt_ids: Sequence[int], tokens: Sequence[int]) -> Row:
    return Row(
        index=index,
        prompt=prompt,
        prompt_ids=tuple(prompt_ids),
        tokens=tuple(tokens),
        advantage=1.0,
        weight=1.0,
        truncated=False,
        sampler_logprobs=None,
    )


def scattered(seed: int) -> list[Row]:
    """Rows of several groups in any order, with completions of one token among them.

    Every other time the prompts begin alike; of three times, completions are of any tokens, of two, and
    of one alone.
    """
    lot = random.Random(seed)
    rows: list[Row] = []
    words = (99, 2, 1)[seed % 3]
    begin = [lot.randrange(99) for _ in range(lot.randint(0, 80) * (seed % 2))]
    for prompt in range(lot.randint(1, 5)):
        prompt_ids = [*begin, *(lot.randrange(99) for _ in range(lot.randint(1, 60)))]
        for _ in range(lot.randint(1, 6)):
            length = lot.choice([1, 2, lot.randint(1, 70)])
            tokens = [lot.randrange(words) for _ in range(length)]
            rows.append(row(len(rows), prompt, prompt_ids, tokens))
    lot.shuffle(rows)
    return rows


def visible(made: Pack, rows: Sequence[Row]) -> Tensor:
    """Who sees whom (L, L), told by the rows' tokens and places alone."""
    end = len(made.ids_L)
    allowed_LL = torch.eye(end, dtype=torch.bool)
    wanted = iter(made.wanted_M.tolist())
    numbers = list(dict.fromkeys(item.prompt for item in rows))
    for item in rows:
        places = [next(wanted) for _ in item.tokens]
        prompt = made.prompts[numbers.index(item.prompt)]
        assert prompt[-1] == places[0]
        whole = [*prompt, *places[1:]]
        fed = [*item.prompt_ids, *item.tokens[:-1]]
        assert [made.ids_L[place].item() for place in whole] == fed
        assert [made.positions_L[place].item() for place in whole] == list(range(len(fed)))
        for count, place in enumerate(whole):
            allowed_LL[place, whole[: count + 1]] = True
    assert next(wanted, None) is None
    return allowed_LL


def naive(q: Tensor, k: Tensor, v: Tensor, allowed_LL: Tensor, scale: float) -> Tensor:
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    scores = torch.einsum("lhd,mhd->hlm", q, k) * scale
    weights = scores.masked_fill(~allowed_LL, -torch.inf).softmax(-1)
    return torch.einsum("hlm,mhd->lhd", weights, v)


def compare(
    rows: Sequence[Row],
    heads: tuple[int, int],
    linear: Linear,
    seed: int = 0,
    scale: float = 0.3,
    *,
    tiles: bool = False,
) -> Pack:
    """Result and gradients of packed attention are those of the masked softmax."""
    made = Pack.of(rows, CPU)
    generator = torch.Generator().manual_seed(seed)
    count, shared = heads
    shapes = [(len(made.ids_L), n, 8) for n in (count, shared, shared, count)]
    *inputs, slope = (torch.randn(shape, generator=generator) for shape in shapes)
    fast = [x.clone().requires_grad_() for x in inputs]
    slow = [x.double().requires_grad_() for x in inputs]
    out = packed_attention.packed_attention(*fast, Layout(made, linear, tiles=tiles), scale)
    right = naive(*slow, visible(made, rows), scale)
    ours = (out, *torch.autograd.grad(out, fast, slope))
    theirs = (right, *torch.autograd.grad(right, slow, slope.double()))
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).norm() <= max(5e-6, 2e-6 * scale) * b.norm()
    return made


HEADS = [(3, 3), (6, 2), (4, 1), (1, 1)]


WAYS = {"tiles": (torch_linear, True), "torch": (torch_linear, False), "onednn": (onednn, False)}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sizes", SIZES)
def test_attention_is_a_masked_softmax(sizes: str, way: str, monkeypatch):
    linear, tiles = WAYS[way]
    set_sizes(monkeypatch, sizes)
    padded = cut = 0
    for seed in range(12):
        made = compare(scattered(seed), HEADS[seed % 4], linear, seed, tiles=tiles)
        cut = max(cut, len(made.blocks))
        end = len(made.ids_L)
        prefixes = [block.prefix_PK for block in made.blocks if block.prefix_PK is not None]
        padded += sum(bool((prefix == end).any()) for prefix in prefixes)
    assert cut > 10 if sizes == "cut" else cut > 0
    assert padded > 0 if sizes == "together" else padded >= 0


def test_long_prompts_and_long_rows():
    """The sizes as they are, crossed: queries that are cut, and large products."""
    for linear, tiles in ((onednn, False), (torch_linear, True)):
        rows = [row(0, 0, [1] * 1060, [2] * 90), row(1, 0, [1] * 1060, [3] * 80)]
        compare(rows, (2, 1), linear, tiles=tiles)
        rows = [row(0, 0, [1] * 20, [2] * 1050), row(1, 0, [1] * 20, [3] * 5)]
        compare(rows, (2, 1), linear, tiles=tiles)


@pytest.mark.parametrize("tiles", [True, False])
def test_scores_that_would_overflow(tiles: bool):
    """Largest scores of several hundred: their exponential alone is infinite in float32."""
    compare(scattered(4), (4, 2), torch_linear, scale=60.0, tiles=tiles)


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


def test_attention_is_float32_under_autocast_and_in_bfloat16():
    rows = scattered(3)
    made = Pack.of(rows, CPU)
    generator = torch.Generator().manual_seed(0)
    shapes = [(len(made.ids_L), heads, 8) for heads in (6, 2, 2)]
    exact = [torch.randn(shape, generator=generator).bfloat16().float() for shape in shapes]

    def run(dtype: torch.dtype, *, autocast: bool) -> list[Tensor]:
        inputs = [x.to(dtype).requires_grad_() for x in exact]
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            out = packed_attention.packed_attention(*inputs, Layout(made), 1.0)
        slope = torch.linspace(-1, 1, out.numel()).view(out.shape).bfloat16().to(dtype)
        return [out, *torch.autograd.grad(out, inputs, slope)]

    right = run(torch.float32, autocast=False)
    assert all(map(torch.equal, right, run(torch.float32, autocast=True)))
    for value, low in zip(right, run(torch.bfloat16, autocast=True), strict=True):
        assert low.dtype == torch.bfloat16
        assert (low.float() - value).norm() < 4e-3 * value.norm()
