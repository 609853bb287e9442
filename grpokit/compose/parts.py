"""Parts of an algorithm that make no sense together, by what their specs say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from grpokit.compose.components import Named
from grpokit.compose.diagnostics import Report
from grpokit.compose.nodes import Mark
from grpokit.spec.components import AlgorithmSpec

__all__ = ["check_parts"]

PENALTIES = {"kl": "reference", "entropy-bonus": "entropy"}
"""Penalties that stand in a composition with weight 0 too, and what they need once they act."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A part that would run: the recipe's (with its place), or the algorithm's own."""

    axis: str
    name: str
    spec: AlgorithmSpec | None
    mark: Mark | None


def check_parts(named: Mapping[str, Named], report: Report) -> None:
    """Reports each pair once, at the part that the recipe names."""
    chosen = _chosen(named)
    for part in chosen:
        for other, reason in part.spec.excludes if part.spec else ():
            for found in chosen:
                mark = part.mark or found.mark
                if found.name == other and mark is not None:
                    report.add(
                        "R621",
                        mark,
                        f"`{part.name}` and `{other}` make no sense together: {reason}",
                        allowed=f"either one of them, on the axes {part.axis} and {found.axis}",
                        remedy="replace one of the two under algorithm.parts",
                    )


def _chosen(named: Mapping[str, Named]) -> list[Chosen]:
    base = named.get("algorithm")
    spec = base.entry.spec if base else None
    own = dict(spec.parts) if isinstance(spec, AlgorithmSpec) else {}
    needs: frozenset[str] = getattr(base.config, "needs", frozenset)() if base else frozenset()
    found = []
    for axis, names in own.items():
        if f"algorithm.parts.{axis}" not in named:
            found += [
                Chosen(axis=axis, name=name, spec=None, mark=None)
                for name in names
                if name not in PENALTIES or PENALTIES[name] in needs
            ]
    for key, component in named.items():
        part = component.entry.spec
        if key.startswith("algorithm.parts.") and isinstance(part, AlgorithmSpec):
            found.append(
                Chosen(axis=part.axis, name=component.entry.id, spec=part, mark=component.mark)
            )
    return found
