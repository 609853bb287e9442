"""A micro-batch as one sequence without padding: each prompt once, then its completions.

Linear layers see exactly the tokens that are there. Attention must know who belongs to whom; it is
computed in pieces, each padded only within itself. A piece is a block of queries with its own keys
(causal) and, for completions, the keys of their prompt, which all rows of a group share.

Suffixes: L tokens of the sequence, P prompts, R rows of a prompt, T tokens of a row, K tokens of a
prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from grpokit_hf.nn.batch import Row

__all__ = ["Block", "Pack"]

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
        wanted_M: places of the hidden states that predict the completions' tokens, row by row.
        blocks: what attention computes.
    """

    ids_L: Tensor
    positions_L: Tensor
    wanted_M: Tensor
    blocks: tuple[Block, ...]

    @classmethod
    def of(cls, rows: Sequence[Row], device: torch.device) -> Pack:
        """Rows of the same prompt stand behind it; the last token of a row predicts nothing and is left out."""
        groups: dict[int, list[int]] = {}
        for number, row in enumerate(rows):
            groups.setdefault(row.prompt, []).append(number)
        ids: list[int] = []
        positions: list[int] = []
        wanted: list[list[int]] = [[] for _ in rows]
        prompts: list[Span] = []
        spans: list[tuple[Span, list[Span]]] = []
        for numbers in groups.values():
            prompt = rows[numbers[0]].prompt_ids
            head = Span(len(ids), len(prompt))
            ids += prompt
            positions += range(len(prompt))
            prompts.append(head)
            tails = []
            for number in numbers:
                fed = rows[number].tokens[:-1]
                tail = Span(len(ids), len(fed))
                wanted[number] = [head.stop - 1, *tail.places]
                ids += fed
                positions += range(len(prompt), len(prompt) + len(fed))
                if fed:
                    tails.append(tail)
            if tails:
                spans.append((head, tails))
        end = len(ids)
        blocks = [*prompt_blocks(prompts, end), *row_blocks(spans, end)]

        def tensor(values: Sequence[int]) -> Tensor:
            return torch.tensor(values, dtype=torch.long, device=device)

        return cls(
            ids_L=tensor(ids),
            positions_L=tensor(positions),
            wanted_M=tensor([place for places in wanted for place in places]),
            blocks=tuple(
                Block(
                    own_PRT=block.own_PRT.to(device),
                    prefix_PK=None if block.prefix_PK is None else block.prefix_PK.to(device),
                )
                for block in blocks
            ),
        )


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


def row_blocks(groups: Sequence[tuple[Span, list[Span]]], end: int) -> Iterator[Block]:
    """Completions with their prompts; groups of like shape go together, large groups are cut."""
    pieces = [piece for head, tails in groups for piece in cut(head, tails)]
    pieces.sort(
        key=lambda piece: (len(piece[1]), piece[1][0].length, piece[0].length), reverse=True
    )
    part: list[tuple[Span, list[Span]]] = []
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


def cut(head: Span, tails: Sequence[Span]) -> Iterator[tuple[Span, list[Span]]]:
    """Rows of a group, longest first, in parts whose scores fit and that waste little."""
    part: list[Span] = []
    real = 0
    for tail in sorted(tails, key=lambda span: span.length, reverse=True):
        own = tail.length * (head.length + tail.length)
        padded = padded_scores([(head, [*part, tail])])
        if part and padded > SMALL and (padded > SCORES or padded > WASTE * (real + own)):
            yield head, part
            part, real = [], 0
        part.append(tail)
        real += own
    if part:
        yield head, part


def padded_scores(part: Sequence[tuple[Span, list[Span]]]) -> int:
    """Scores that a block of these computes for a head."""
    rows = max(len(tails) for _, tails in part)
    longest = max(tail.length for _, tails in part for tail in tails)
    keys = max(head.length for head, _ in part) + longest
    return len(part) * rows * longest * keys


def together(part: Sequence[tuple[Span, list[Span]]], end: int) -> Block:
    return Block(
        own_PRT=table([tails for _, tails in part], end),
        prefix_PK=table([[head] for head, _ in part], end)[:, 0],
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
