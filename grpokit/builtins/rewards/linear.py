"""Regular expressions in linear time: Thompson's construction with a lazily built automaton.

Python's ``re`` backtracks, so a pattern such as ``(a|aa)*b`` takes exponential time on a text that a
model wrote. Here each character is looked at once, whatever the pattern.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from grpokit.builtins.rewards.pattern import Edge, Either, One, Part, Repeat, Row, parse_pattern

__all__ = ["compile_pattern"]

LARGEST = 1000
"""Nodes of one pattern; ``(a{50}){50}`` is refused."""
CACHE = 20_000
"""Transitions kept; then the automaton is built afresh."""

State = frozenset[int]


def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """A function that says whether the pattern matches somewhere in a text.

    Raises:
        ValueError: the pattern is malformed, too large, or uses what cannot be matched in linear time.
    """
    return _Automaton(parse_pattern(pattern)).search


@dataclass
class _Node:
    """Reads a character that passes ``test``; without a test it is passed freely or at an edge."""

    out: list[int] = field(default_factory=list)
    test: Callable[[str], bool] | None = None
    edge: Edge | None = None


class _Automaton:
    """Nodes as Thompson builds them; sets of them as states, with transitions found when needed."""

    def __init__(self, part: Part) -> None:
        self.nodes: list[_Node] = []
        self.match = self._add(_Node())
        begin = self._build(part, self.match)
        self.first = self._reach({begin}, start=True, end=False)
        self.again = self._reach({begin}, start=False, end=False)
        self.moves: dict[tuple[State, str], State] = {}

    def search(self, text: str) -> bool:
        """Whether the pattern matches somewhere."""
        state, moves, match = self.first, self.moves, self.match
        for char in text:
            if match in state:
                return True
            state = moves.get((state, char)) or self._move(state, char)
        return match in self._reach(set(state), start=not text, end=True)

    def _move(self, state: State, char: str) -> State:
        if len(self.moves) >= CACHE:
            self.moves.clear()
        targets: set[int] = set()
        for number in state:
            node = self.nodes[number]
            if node.test is not None and node.test(char):
                targets.update(node.out)
        # A match may begin at every position.
        following = self._reach(targets, start=False, end=False) | self.again
        self.moves[state, char] = following
        return following

    def _reach(self, numbers: set[int], *, start: bool, end: bool) -> State:
        """These nodes and all that can be reached from them without reading a character."""
        seen, todo = set(numbers), list(numbers)
        while todo:
            node = self.nodes[todo.pop()]
            closed = node.edge is not None and not (start if node.edge.at_start else end)
            if node.test is not None or closed:
                continue
            new = [number for number in node.out if number not in seen]
            seen.update(new)
            todo += new
        return frozenset(seen)

    def _build(self, part: Part, then: int) -> int:
        """Adds the nodes of a part that goes on with node ``then``; returns where it begins."""
        match part:
            case One(test):
                return self._add(_Node([then], test=test))
            case Edge():
                return self._add(_Node([then], edge=part))
            case Row(parts):
                for piece in reversed(parts):
                    then = self._build(piece, then)
                return then
            case Either(parts):
                return self._add(_Node([self._build(piece, then) for piece in parts]))
            case Repeat(piece, least, most):
                return self._repeat(piece, least, most, then)

    def _repeat(self, part: Part, least: int, most: int | None, then: int) -> int:
        if most is None:
            loop = self._add(_Node())
            self.nodes[loop].out = [self._build(part, loop), then]
            begin = loop
        else:
            begin = then
            for _ in range(most - least):
                begin = self._add(_Node([self._build(part, begin), then]))
        for _ in range(least):
            begin = self._build(part, begin)
        return begin

    def _add(self, node: _Node) -> int:
        if len(self.nodes) >= LARGEST:
            raise ValueError(f"the pattern needs more than {LARGEST} states; make it smaller")
        self.nodes.append(node)
        return len(self.nodes) - 1
