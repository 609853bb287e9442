"""What stands where in a packed sequence: prompts, what completions begin with in common, and the rest.

Two rows that begin with the same tokens after the same prompt have the same hidden states there. They
are written once, as a branch that both continue; written depth first, each branch is a stretch of the
sequence and so is all that continues it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from grpokit_hf.nn.batch import Row

__all__ = ["Builder", "Group", "Span"]

WORTH = 64
"""Tokens that a common beginning of all prompts must save."""
BRANCH = 8
"""Tokens that a common beginning of completions must save; more pieces make attention slower."""


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


Group = tuple[tuple[int, ...], list[Span]]
"""Places that are continued, and the rows that continue them."""


class Builder:
    """The sequence as it is written down, from left to right.

    Attributes:
        first: what begins a sequence: the common beginning, or every prompt.
        groups: (places of what they continue, rows or branches that continue it).
        prompts: places of each prompt's tokens, in the order in which rows name them.
        spans: everything that was written, with the number of tokens that it continues.
    """

    def __init__(self, rows: Sequence[Row], *, tree: bool = True) -> None:
        members: dict[int, list[int]] = {}
        for number, row in enumerate(rows):
            members.setdefault(row.prompt, []).append(number)
        texts = [rows[numbers[0]].prompt_ids for numbers in members.values()]
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.wanted: list[Sequence[int]] = [()] * len(rows)
        self.prompts: list[tuple[int, ...]] = []
        self.groups: list[Group] = []
        self.spans: list[tuple[Span, int]] = []
        root = self.write(texts[0][: common(texts)], 0)
        heads = []
        for text, numbers in zip(texts, members.values(), strict=True):
            head = self.write(text[root.length :], root.length)
            heads.append(head)
            self.prompts.append((*root.places, *head.places))
            fed = {number: rows[number].tokens[:-1] for number in numbers}
            for part in [numbers] if tree else [[number] for number in numbers]:
                self.branch(fed, part)
        self.first = heads
        if root.length:
            self.first = [root]
            self.groups.append((tuple(root.places), heads))
        self.groups = [group for group in self.groups if group[1]]

    def write(self, tokens: Sequence[int], position: int) -> Span:
        span = Span(len(self.ids), len(tokens))
        self.ids += tokens
        self.positions += range(position, position + len(tokens))
        if tokens:
            self.spans.append((span, position))
        return span

    def branch(self, fed: Mapping[int, tuple[int, ...]], numbers: Sequence[int]) -> None:
        """Writes these rows behind the last prompt, depth first; what they share once where it pays."""
        prompt = self.prompts[-1]
        if not self.groups or self.groups[-1][0] != prompt:
            self.groups.append((prompt, []))
        left = [Bough(*self.groups[-1], tuple(numbers))]
        while left:
            bough = left.pop()
            done = len(bough.path) - len(prompt)
            rests = {number: fed[number][done:] for number in bough.members}
            length, equal = shared_length(list(rests.values()))
            if not equal and length * (len(rests) - 1) < BRANCH:
                left += bough.split(rests, length)
                continue
            span = self.write(rests[bough.members[0]][:length], len(bough.path))
            path = (*bough.path, *span.places)
            if length:
                bough.tails.append(span)
            for number, rest in rests.items():
                if len(rest) == length:
                    self.wanted[number] = path[len(prompt) - 1 :]
            if not equal:
                self.groups.append((path, []))
                more = tuple(number for number, rest in rests.items() if len(rest) > length)
                left.append(Bough(*self.groups[-1], more))

    def last(self) -> list[int]:
        """One behind the last token that sees each token: the end of its branch."""
        ends = [len(self.ids)] * len(self.ids)
        open_spans: list[tuple[Span, int]] = []
        for span, before in self.spans:
            while open_spans and open_spans[-1][1] >= before:
                closed, _ = open_spans.pop()
                ends[closed.start : closed.stop] = [span.start] * closed.length
            open_spans.append((span, before))
        return ends


@dataclass(frozen=True)
class Bough:
    """Rows that go on from the end of ``path``; what is written behind it is noted in ``tails``."""

    path: tuple[int, ...]
    tails: list[Span]
    members: tuple[int, ...]

    def split(self, rests: Mapping[int, Sequence[int]], length: int) -> Iterator[Bough]:
        """One for each token behind the first ``length``, and one for those that end there; last first."""
        parts: dict[int | None, list[int]] = {}
        for number, rest in rests.items():
            parts.setdefault(rest[length] if len(rest) > length else None, []).append(number)
        for part in reversed(parts.values()):
            yield Bough(self.path, self.tails, tuple(part))


def shared_length(texts: Sequence[tuple[int, ...]]) -> tuple[int, bool]:
    """Tokens that all texts begin with, and whether that is all of each."""
    least, most = min(texts), max(texts)  # what these two share, all between them share
    pairs = zip(least, most, strict=False)
    length = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(least), len(most)))
    return length, length == len(least) == len(most)


def common(texts: Sequence[tuple[int, ...]]) -> int:
    """Tokens that all texts begin with; 0 where writing them once saves little. Each keeps one of its own."""
    length = min(shared_length(texts)[0], min(map(len, texts)) - 1)
    return length if length * (len(texts) - 1) >= WORTH else 0
