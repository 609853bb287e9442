"""Packs of random rows, and attention over them against a masked softmax in float64."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from grpokit_hf.nn import packed_attention
from grpokit_hf.nn.batch import Row
from grpokit_hf.nn.pack import Pack
from grpokit_hf.nn.packed_attention import Layout
from grpokit_hf.nn.products import Linear

__all__ = ["CPU", "compare", "naive", "row", "scattered", "visible"]

CPU = torch.device("cpu")


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
    native: bool = False,
) -> Pack:
    """Result and gradients of packed attention are those of the masked softmax."""
    made = Pack.of(rows, CPU)
    generator = torch.Generator().manual_seed(seed)
    count, shared = heads
    width = 16 if native else 8
    shapes = [(len(made.ids_L), n, width) for n in (count, shared, shared, count)]
    *inputs, slope = (torch.randn(shape, generator=generator) for shape in shapes)
    fast = [x.clone().requires_grad_() for x in inputs]
    slow = [x.double().requires_grad_() for x in inputs]
    layout = Layout(made, linear, tiles=tiles, native=native)
    out = packed_attention.packed_attention(*fast, layout, scale)
    assert bool(layout.plans) == native
    right = naive(*slow, visible(made, rows), scale)
    ours = (out, *torch.autograd.grad(out, fast, slope))
    theirs = (right, *torch.autograd.grad(right, slow, slope.double()))
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).norm() <= max(5e-6, 2e-6 * scale) * b.norm()
    return made
