"""What may go to the prover: numbers only, and no power or factorial that is too large."""

from __future__ import annotations

from contextlib import suppress

from grpokit_math.verify.node import Node
from grpokit_math.verify.ring import Undecided, form
from grpokit_math.verify.verdict import Gate, Unreadable

__all__ = ["check"]

TALLEST = 3
NUMBERS = frozenset(
    (
        "num",
        "sym",
        "const",
        "add",
        "mul",
        "neg",
        "div",
        "pow",
        "root",
        "deg",
        "pct",
        "fact",
        "fn",
        "matrix",
    )
)


def check(node: Node) -> None:
    """Looks at every part of an expression.

    Raises:
        Gate: a part costs too much.
        Unreadable: a part is no number, such as a set within a product.
    """
    kind = node[0]
    if kind not in NUMBERS or node == ("const", "infty"):
        raise Unreadable(f"a {kind} is no number")
    if kind == "pow" and _tower(node) > TALLEST:
        raise Gate(f"a tower of more than {TALLEST} powers")
    if kind in ("pow", "fact") or node[:2] == ("fn", "binom"):
        with suppress(Undecided, Unreadable):
            form(node)
    for part in _parts(node):
        check(part)


def _tower(node: Node) -> int:
    """How often an exponent has an exponent."""
    height = 0
    while node[0] == "pow":
        height += 1
        node = node[2]
    return height


def _parts(node: Node) -> tuple[Node, ...]:
    kind = node[0]
    if kind in ("num", "sym", "const"):
        return ()
    if kind in ("add", "mul"):
        return tuple(node[1])
    if kind == "fn":
        return tuple(node[2])
    if kind == "matrix":
        return tuple(part for row in node[2] for part in row)
    return tuple(part for part in node[1:] if isinstance(part, tuple))
