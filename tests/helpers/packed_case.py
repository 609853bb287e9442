"""One case of attention over a pack in C, in any type, and what it should be."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from grpokit_hf.nn import packed_attention
from grpokit_hf.nn.batch import Row
from grpokit_hf.nn.pack import Pack
from grpokit_hf.nn.packed_attention import Layout
from grpokit_hf.nn.products import Linear, torch_linear
from packed_pairs import CPU, naive

__all__ = ["SHAPES", "Case", "apart", "check_nan", "places_of"]

SHAPES: dict[str, tuple[int, list[int]]] = {
    "a query alone": (2, [1, 1]),
    "as many keys as a step has": (32, [33]),
    "one key more": (33, [34, 2]),
    "more keys than a backward holds": (700, [60, 3]),
    "a long row": (5, [1100, 40]),
}
"""Tokens of a prompt and of its completions: around the 64 queries and 32 keys that are computed at once."""


@dataclass(frozen=True)
class Case:
    """Rows with queries, keys, values and a gradient: of bfloat16, or of float32 for a ``linear``."""

    made: Pack
    inputs: tuple[Tensor, Tensor, Tensor]
    slope: Tensor
    scale: float
    linear: Linear = torch_linear

    @classmethod
    def of(
        cls,
        rows: Sequence[Row],
        heads: tuple[int, int],
        width: int,
        *,
        tree: bool = True,
        sharp: float = 1.0,
        linear: Linear = torch_linear,
        dtype: torch.dtype = torch.bfloat16,
    ) -> Case:
        made = Pack.of(rows, CPU, tree=tree)
        generator = torch.Generator().manual_seed(len(made.ids_L))
        count, shared = heads
        q, k, v, slope = (
            torch.randn((len(made.ids_L), n, width), generator=generator).to(dtype)
            for n in (count, shared, shared, count)
        )
        return cls(made, (q, k, v), slope, sharp * width**-0.5, linear)

    def run(self, threads: int = 2) -> tuple[Tensor, ...]:
        """Result and gradients."""
        inputs = [x.clone().requires_grad_() for x in self.inputs]
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            layout = Layout(self.made, self.linear, native=True)
            out = packed_attention.packed_attention(*inputs, layout, self.scale)
            assert layout.plans
            return (out.detach(), *torch.autograd.grad(out, inputs, self.slope))
        finally:
            torch.set_num_threads(before)

    def right(self, allowed_LL: Tensor) -> tuple[Tensor, ...]:
        inputs = [x.double().requires_grad_() for x in self.inputs]
        out = naive(*inputs, allowed_LL, self.scale)
        return (out.detach(), *torch.autograd.grad(out, inputs, self.slope.double()))

    def rounded(self, allowed_LL: Tensor, *, weights: bool = True) -> tuple[Tensor, ...]:
        """In float32 with the roundings of FlashAttention; without ``weights``, of the results alone."""
        group = self.inputs[0].shape[1] // self.inputs[1].shape[1]
        q, k, v, grad = (x.float().transpose(0, 1) for x in (*self.inputs, self.slope))
        k, v = (x.repeat_interleave(group, 0) for x in (k, v))

        def low(x: Tensor) -> Tensor:
            return x.bfloat16().float() if weights else x

        scores = (q @ k.mT * self.scale).masked_fill(~allowed_LL, -torch.inf)
        raised = (scores - scores.amax(-1, keepdim=True)).exp()
        out = (low(raised) @ v / raised.sum(-1, keepdim=True)).bfloat16()
        p = scores.softmax(-1)
        ds = p * (grad @ v.mT - (grad * out).sum(-1, keepdim=True))
        dk, dv = low(ds).mT @ q * self.scale, low(p).mT @ grad
        dk, dv = (x.unflatten(0, (-1, group)).sum(1) for x in (dk, dv))
        return tuple(x.bfloat16().transpose(0, 1) for x in (out, low(ds) @ k * self.scale, dk, dv))


def apart(found: Tensor, wanted: Tensor) -> float:
    return float((found.double() - wanted.double()).norm() / wanted.double().norm())


def places_of(made: Pack, rows: Sequence[Row]) -> list[list[int]]:
    """Of each row's tokens, its prompt's first; the last token is not read."""
    wanted = iter(made.wanted_M.tolist())
    found = []
    for item in rows:
        places = [next(wanted) for _ in item.tokens]
        found.append([*made.prompts[item.prompt], *places[1:]])
    return found


def check_nan(case: Case, rows: Sequence[Row], name: str, nan: Tensor, threads: int = 2) -> None:
    """One in the second row, of six: it stays in what sees it, and in gradients of what that sees."""
    clean = case.run(threads=threads)
    places = places_of(case.made, rows)
    prompt = len(rows[1].prompt_ids)
    sick = places[1][prompt + 50 :]  # seen by the last queries, whose keys are padded
    tensors = dict(zip(("query", "key", "value"), case.inputs, strict=True))
    tensors.get(name, case.slope)[sick[0]] = nan
    out, *grads = case.run(threads=threads)
    later = sick if name in {"key", "value"} else sick[:1] if name == "query" else []
    assert bool(out[later].isnan().all())
    others = sorted(set(itertools.chain(*places)) - set(places[1][prompt:]))
    assert torch.equal(out[others], clean[0][others])
    assert torch.equal(grads[0][others], clean[1][others])
    assert bool(grads[0][sick[0]].isnan().any()) or name == "value"
    # what the row's queries see has gradients of them; no more
    unseen = sorted(set(others) - set(places[1]))
    for grad in grads[1:]:
        assert bool(grad[unseen].isfinite().all())
    assert bool(grads[1][places[1][0]].isnan().all())
