"""A recipe's algorithm as one part an axis, named and replaced parts alike.

Named algorithms have their parts' settings under longer names (``kl_limit`` is ``limit`` of ``kl``),
and some of their settings choose the part. Exporters ask for parts and for what these are set to; a
setting that nobody asked for is a difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from grpokit.errors import PreflightError

if TYPE_CHECKING:
    from grpokit.compose.load import Loaded
    from grpokit.export.notes import Notes
    from grpokit.registry.catalog import Catalog
    from grpokit.spec.components import AlgorithmSpec

__all__ = ["Axes", "Part", "axes_of"]

_BOUNDS = {"log_max": "log_ratio_max", "log_min": "log_ratio_min"}
_CLIP = {name: name for name in ("epsilon", "epsilon_high", "delta")} | {"dual_clip": "dual_clip"}
_ROUNDS = {n: n for n in ("metric", "tolerance", "factor", "max_rounds", "refill", "on_bound")}
SETTINGS: Mapping[str, Mapping[str, str]] = {
    "kl": {
        "beta": "beta",
        "estimator": "kl_estimator",
        "times_ratio": "kl_times_ratio",
        "limit": "kl_limit",
    },
    "entropy-bonus": {"coefficient": "entropy_coef", "mean": "entropy_mean"},
    "token-ratio": _BOUNDS,
    "sequence-ratio": _BOUNDS,
    "sequence-token-ratio": _BOUNDS,
    "sequence-product": _BOUNDS,
    "clip": _CLIP,
    "group-zscore": {"std_ddof": "std_ddof", "std_eps": "std_eps"},
    "batch-std": {"std_eps": "std_eps"},
    "reinforce-baseline": {n: n for n in ("variance_eps", "count", "dead_groups")},
    "gpg-scale": {"nonzero": "nonzero"},
    "cispo-weight": {"cap": "cap", "floor": "floor"},
    "sapo-gate": {n: n for n in ("temperature_pos", "temperature_neg")},
    "gmpo-clip": {"low": "low", "high": "high"},
    "vespo-weight": {n: n for n in ("k_pos", "lambda_pos", "k_neg", "lambda_neg")},
    "constant-length": {"denominator": "denominator"},
    "dynamic-sampling": _ROUNDS,
    "overlong": {"cache": "overlong_cache", "weight": "overlong_weight"},
}
"""Part -> its setting -> that of a named algorithm."""
_CHOICES = {"like", "aggregation", "mask_truncated", "drop_dead", "ratio", "empty_rows"}
"""Settings of named algorithms that choose parts, or that :func:`axes_of` reads itself."""


@dataclass
class Part:
    """One part on its axis, and where its settings stand in the recipe."""

    axis: str
    name: str
    settings: Mapping[str, Any]
    keys: Mapping[str, str]
    place: str
    asked: set[str] = field(default_factory=set)

    def get(self, setting: str, default: Any = None) -> Any:
        """A setting's value; ``default`` where the part has no such setting."""
        self.asked.add(setting)
        return self.settings.get(setting, default)

    def key(self, setting: str) -> str:
        """Its dotted key in the recipe."""
        return self.keys.get(setting, f"{self.place}.{setting}")


@dataclass
class Axes:
    """All parts of an algorithm by axis. ``regulariser`` may have several."""

    name: str
    parts: dict[str, tuple[Part, ...]]
    empty_rows: str
    rest: dict[str, Any]

    def one(self, axis: str) -> Part:
        """The part of an axis that has one."""
        return self.parts[axis][0]

    def name_of(self, axis: str) -> str:
        """Its name."""
        return self.one(axis).name

    def kind(self, name: str) -> Part | None:
        """The part of that name, where the algorithm has it."""
        return next((p for parts in self.parts.values() for p in parts if p.name == name), None)

    def only(
        self, axis: str, allowed: Mapping[str, Any] | tuple[str, ...], notes: Notes, target: str
    ) -> str:
        """The name of the part; names it as missing where the target has no counterpart."""
        for part in self.parts[axis]:
            if part.name not in allowed:
                notes.missing(part.place, f"{target} has no counterpart of {part.name} ({axis})")
        return self.name_of(axis)

    def leftovers(self, notes: Notes, target: str) -> None:
        """Names every setting that no exporter asked for."""
        for parts in self.parts.values():
            for part in parts:
                for name, value in part.settings.items():
                    if name not in part.asked and value is not None:
                        notes.differs(part.key(name), f"{target} has no place for {value!r}")
        for key, value in self.rest.items():
            notes.differs(key, f"{target} has no place for {value!r}")


def axes_of(loaded: Loaded, catalog: Catalog) -> Axes:
    """The algorithm of a recipe.

    Raises:
        PreflightError: it is not composed of named parts.
    """
    section, settings = loaded.recipe.algorithm, loaded.settings or {}
    spec = cast("AlgorithmSpec", catalog.find("algorithm", section.use).spec)
    if not spec.parts:
        raise PreflightError(
            f"the algorithm {section.use} does not say what it is composed of",
            place="algorithm.use",
            remedy="use an algorithm that `grpokit algorithms show` lists with its parts",
        )
    own = dict(settings.get("algorithm", {}))
    parts: dict[str, tuple[Part, ...]] = {}
    claimed: set[str] = set()
    for axis, names in spec.parts:
        chosen = _chosen(axis, names, own)
        parts[axis] = tuple(_named(axis, name, own) for name in chosen)
        claimed |= {key for name in chosen for key in SETTINGS.get(name, {}).values()}
    for axis, use in section.parts.items():
        place = f"algorithm.parts.{axis}"
        name = catalog.find("algorithm", use.use).id
        parts[axis] = (Part(axis, name, settings.get(place, {}), {}, f"{place}.with"),)
    rest = {
        f"algorithm.with.{key}": value
        for key, value in own.items()
        if key not in claimed | _CHOICES and value is not None
    }
    return Axes(section.use, parts, str(own.get("empty_rows", "count")), rest)


def _chosen(axis: str, names: tuple[str, ...], own: Mapping[str, Any]) -> tuple[str, ...]:
    """The parts of an axis, where a setting of the algorithm decides."""
    if axis == "aggregation" and "aggregation" in own:
        return (str(own["aggregation"]),)
    if axis == "mask" and own.get("mask_truncated"):
        return ("finished-mask",)
    if axis == "select" and own.get("drop_dead"):
        return ("drop-zero",)
    if axis == "ratio" and own.get("ratio") == "sequence-product":
        return ("sequence-product",)
    if axis == "aggregate" and own.get("overlong_cache") is not None:
        return ("overlong",)
    return names


def _named(axis: str, name: str, own: Mapping[str, Any]) -> Part:
    table = SETTINGS.get(name, {})
    settings = {part: own[key] for part, key in table.items() if key in own}
    keys = {part: f"algorithm.with.{key}" for part, key in table.items()}
    return Part(axis, name, settings, keys, "algorithm.use")
