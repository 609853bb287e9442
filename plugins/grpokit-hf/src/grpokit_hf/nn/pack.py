"""A micro-batch as one sequence without padding: each prompt once, then its completions.

Linear layers see exactly the tokens that are there. Attention must know who belongs to whom; it is
computed in blocks, each padded only within itself: queries with their own keys (causal) and, for
completions, the keys of their prompt, which all rows of a group share. Prompts share what they all begin
with in the same way.

Suffixes: L tokens of the sequence, P prompts, R rows of a prompt, T tokens of a row, K tokens of a
prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from grpokit.api import GrpokitError
from grpokit_hf.nn.batch import Row

__all__ = ["Block", "Pack", "check_used"]

SCORES = 1 << 20
"""Scores of a head that are held at once: with four bytes each they stay within a CPU's cache."""
SMALL = 1 << 14
"""Padded scores up to which groups go together whatever the padding costs."""
WASTE = 1.25
"""Padded scores over real ones up to which groups go together."""
WORTH = 64
"""Tokens that a common beginning of all prompts must save."""


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
        wanted_M: places of the hidden states that predict the completions' tokens, row by row.
        prompts: places of each prompt's tokens, in the order in which rows name them.
        blocks: what attention computes.
    """

    ids_L: Tensor
    positions_L: Tensor
    wanted_M: Tensor
    prompts: tuple[tuple[int, ...], ...]
    blocks: tuple[Block, ...]

    @classmethod
    def of(cls, rows: Sequence[Row], device: torch.device) -> Pack:
        """Rows of the same prompt stand behind it; the last token of a row predicts nothing and is left out.

        What all prompts begin with (a system prompt, examples) stands once before them.
        """
        made = Builder(rows)
        end = len(made.ids)
        blocks = [*prompt_blocks(made.first, end), *row_blocks(made.groups, end)]

        def tensor(values: Sequence[int]) -> Tensor:
            return torch.tensor(values, dtype=torch.long, device=device)

        return cls(
            ids_L=tensor(made.ids),
            positions_L=tensor(made.positions),
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


class Builder:
    """The sequence as it is written down, from left to right.

    Attributes:
        first: what begins a sequence: the common beginning, or every prompt.
        groups: (places of what they continue, rows that continue it).
        prompts: places of each prompt's tokens, in the order in which rows name them.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        members: dict[int, list[int]] = {}
        for number, row in enumerate(rows):
            members.setdefault(row.prompt, []).append(number)
        texts = [rows[numbers[0]].prompt_ids for numbers in members.values()]
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.wanted: list[list[int]] = [[] for _ in rows]
        self.prompts: list[tuple[int, ...]] = []
        self.groups: list[tuple[tuple[int, ...], list[Span]]] = []
        root = self.write(texts[0][: common(texts)], 0)
        heads = []
        for text, numbers in zip(texts, members.values(), strict=True):
            head = self.write(text[root.length :], root.length)
            heads.append(head)
            self.prompts.append((*root.places, *head.places))
            tails = []
            for number in numbers:
                tail = self.write(rows[number].tokens[:-1], len(text))
                self.wanted[number] = [head.stop - 1, *tail.places]
                if tail.length:
                    tails.append(tail)
            if tails:
                self.groups.append((self.prompts[-1], tails))
        self.first = heads
        if root.length:
            self.first = [root]
            self.groups.append((tuple(root.places), heads))

    def write(self, tokens: Sequence[int], position: int) -> Span:
        span = Span(len(self.ids), len(tokens))
        self.ids += tokens
        self.positions += range(position, position + len(tokens))
        return span


def common(texts: Sequence[tuple[int, ...]]) -> int:
    """Tokens that all texts begin with; 0 where writing them once saves little. Each keeps one of its own."""
    least, most = min(texts), max(texts)  # what these two share, all between them share
    length = min(map(len, texts)) - 1
    for place in range(length):
        if least[place] != most[place]:
            length = place
            break
    return length if length * (len(texts) - 1) >= WORTH else 0


@dataclass(frozen=True)
class Span:
    """Tokens that stand together."""

    start: int
    length: int

    @property
    def stop(self) -> int:
        return self.start + self.length

    @property
    def places(self) -> range:
        return range(self.start, self.stop)


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


Group = tuple[tuple[int, ...], list[Span]]
"""Places that are continued, and the rows that continue them."""


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
