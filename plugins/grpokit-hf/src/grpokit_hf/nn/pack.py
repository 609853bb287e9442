"""A micro-batch as one sequence without padding: each prompt once, then its completions.

Linear layers see exactly the tokens that are there. Attention must know who belongs to whom; it is
computed in blocks, each padded only within itself: queries with their own keys (causal) and, for
completions, the keys of their prompt, which all rows of a group share. Prompts share what they all begin
with in the same way, and so do completions: what several of a group begin with stands once, as a branch
that they continue, and equal ones stand once altogether. The sequence is a tree, written depth first.

Suffixes: L tokens of the sequence, P prompts, R rows of a prompt, T tokens of a row, K tokens of a
prompt, M completion tokens of all rows, U those that differ in what is before them or in themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from grpokit.api import GrpokitError
from grpokit_hf.nn.batch import Row
from grpokit_hf.nn.tree import Builder, Group, Span

__all__ = ["Block", "Pack", "Twins", "check_used"]

SCORES = 1 << 20
"""Scores of a head that are held at once: with four bytes each they stay within a CPU's cache."""
SMALL = 1 << 14
"""Padded scores up to which groups go together whatever the padding costs."""
WASTE = 1.25
"""Padded scores over real ones up to which groups go together."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """Queries that are computed together.

    Attributes:
        own_PRT: places of the rows' tokens in the sequence; L (one behind the end) is padding.
        prefix_PK: places of their prompts' tokens, or None for rows that begin their sequence.
    """

    own_PRT: Tensor
    prefix_PK: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Pack:
    """Where everything stands.

    Attributes:
        ids_L: token ids.
        positions_L: positions within prompt and completion.
        last_L: one behind the last token that sees this one: those from here to there do, no others.
        wanted_M: places of the hidden states that predict the completions' tokens, row by row.
        twins: which of those predictions are the same; None where none are.
        prompts: places of each prompt's tokens, in the order in which rows name them.
        blocks: what attention computes.
    """

    ids_L: Tensor
    positions_L: Tensor
    last_L: Tensor
    wanted_M: Tensor
    twins: Twins | None
    prompts: tuple[tuple[int, ...], ...]
    blocks: tuple[Block, ...]

    @classmethod
    def of(cls, rows: Sequence[Row], device: torch.device, *, tree: bool = True) -> Pack:
        """Rows of the same prompt stand behind it; the last token of a row predicts nothing and is left out.

        What all prompts begin with (a system prompt, examples) stands once before them. Without
        ``tree`` each completion stands by itself.
        """
        made = Builder(rows, tree=tree)
        end = len(made.ids)
        blocks = [*prompt_blocks(made.first, end), *row_blocks(made.groups, end)]

        def tensor(values: Sequence[int]) -> Tensor:
            return torch.tensor(values, dtype=torch.long, device=device)

        return cls(
            ids_L=tensor(made.ids),
            positions_L=tensor(made.positions),
            last_L=tensor(made.last()),
            twins=Twins.of(rows, made.wanted, device) if tree else None,
            wanted_M=tensor([place for places in made.wanted for place in places]),
            prompts=tuple(made.prompts),
            blocks=tuple(
                Block(
                    own_PRT=block.own_PRT.to(device),
                    prefix_PK=None if block.prefix_PK is None else block.prefix_PK.to(device),
                )
                for block in blocks
            ),
        )


@dataclass(frozen=True)
class Twins:
    """Predictions of the same token after the same tokens: one stands for all.

    Attributes:
        first_U: the first of each kind among the M.
        back_M: the kind of each.
    """

    first_U: Tensor
    back_M: Tensor

    @classmethod
    def of(
        cls, rows: Sequence[Row], wanted: Sequence[Sequence[int]], device: torch.device
    ) -> Twins | None:
        kinds: dict[tuple[int, int], int] = {}
        first: list[int] = []
        back: list[int] = []
        for row, places in zip(rows, wanted, strict=True):
            for pair in zip(places, row.tokens, strict=True):
                if pair not in kinds:
                    kinds[pair] = len(first)
                    first.append(len(back))
                back.append(kinds[pair])
        if len(first) == len(back):
            return None
        return cls(torch.tensor(first, device=device), torch.tensor(back, device=device))


def check_used(layers: int, body: Any) -> None:
    """A model that loses the layout on its way to attention would let every token see every other."""
    if not layers:
        raise GrpokitError(
            f"{type(body).__name__} does not hand the layout of packed rows to attention",
            place="backend.with.packing",
            remedy="set backend.with.packing: false",
        )


def prompt_blocks(prompts: Sequence[Span], end: int) -> Iterator[Block]:
    """Prompts begin their sequences: rows without a prefix. Those of like length go together."""
    ordered = sorted(prompts, key=lambda span: span.length, reverse=True)
    part: list[Span] = []
    real = 0
    for span in ordered:
        padded = (len(part) + 1) * (part[0] if part else span).length ** 2
        real += span.length**2
        if part and padded > SMALL and (padded > SCORES or padded > WASTE * real):
            yield Block(own_PRT=table([[each] for each in part], end), prefix_PK=None)
            part, real = [], span.length**2
        part.append(span)
    if part:
        yield Block(own_PRT=table([[each] for each in part], end), prefix_PK=None)


def row_blocks(groups: Sequence[Group], end: int) -> Iterator[Block]:
    """Rows with what they continue; groups of like shape go together, large groups are cut."""
    pieces = [piece for head, tails in groups for piece in cut(head, tails)]
    pieces.sort(key=lambda piece: (len(piece[1]), piece[1][0].length, len(piece[0])), reverse=True)
    part: list[Group] = []
    for piece in pieces:
        more = [*part, piece]
        if part and padded_scores(more) > SMALL:
            real = sum(padded_scores([each]) for each in more)
            if padded_scores(more) > min(SCORES, WASTE * real):
                yield together(part, end)
                more = [piece]
        part = more
    if part:
        yield together(part, end)


def cut(head: tuple[int, ...], tails: Sequence[Span]) -> Iterator[Group]:
    """Rows of a group, longest first, in parts whose scores fit and that waste little."""
    part: list[Span] = []
    real = 0
    for tail in sorted(tails, key=lambda span: span.length, reverse=True):
        own = tail.length * (len(head) + tail.length)
        padded = padded_scores([(head, [*part, tail])])
        if part and padded > SMALL and (padded > SCORES or padded > WASTE * (real + own)):
            yield head, part
            part, real = [], 0
        part.append(tail)
        real += own
    if part:
        yield head, part


def padded_scores(part: Sequence[Group]) -> int:
    """Scores that a block of these computes for a head."""
    rows = max(len(tails) for _, tails in part)
    longest = max(tail.length for _, tails in part for tail in tails)
    keys = max(len(head) for head, _ in part) + longest
    return len(part) * rows * longest * keys


def together(part: Sequence[Group], end: int) -> Block:
    longest = max(len(head) for head, _ in part)
    places = [[*head, *[end] * (longest - len(head))] for head, _ in part]
    return Block(
        own_PRT=table([tails for _, tails in part], end),
        prefix_PK=torch.tensor(places, dtype=torch.long),
    )


def table(spans: Sequence[Sequence[Span]], end: int) -> Tensor:
    """Places (P, R, T), padded with ``end`` to the most rows and the longest."""
    rows = max(len(row) for row in spans)
    longest = max(span.length for row in spans for span in row)
    places_PRT = torch.full((len(spans), rows, longest), end, dtype=torch.long)
    for p, row in enumerate(spans):
        for r, span in enumerate(row):
            places_PRT[p, r, : span.length] = torch.arange(span.start, span.stop)
    return places_PRT
