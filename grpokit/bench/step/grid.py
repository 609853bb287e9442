"""What is measured: cells of lengths and sizes, and the contestants that are installed."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

from grpokit.errors import ComponentError, PreflightError

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog
    from grpokit.spec.components import StepBenchSpec

__all__ = ["Cell", "Contestant", "Settings", "cells", "find_contestants", "other_version"]

DRIVING = ("grpokit.bench.step.worker", "grpokit.bench.step.watch")
"""What every measurement depends on."""
MEASURED = ("grpokit.algorithms", "grpokit.spec")
"""What else our own step is made of."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What holds for all cells.

    Attributes:
        shape: of a model with random weights; empty for a real one.
        rounds: measured steps; one more comes before them.
        lengths: ``equal``, or ``varied`` for completions of unequal lengths in the update.
    """

    model: str
    shape: str = ""
    prompts: int = 1
    rank: int = 16
    rounds: int = 3
    lengths: str = "equal"
    threads: int | None = None
    device: str = "auto"
    seed: int = 42


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One point of the grid.

    Attributes:
        prompt: tokens of a prompt.
        completion: new tokens of a completion.
        group: completions a prompt.
        keep: share of them that train.
    """

    dtype: str
    prompt: int
    completion: int
    group: int
    keep: float

    @property
    def name(self) -> str:
        """As the beginning of a file's name."""
        return f"{self.dtype}-p{self.prompt}-c{self.completion}-g{self.group}-k{self.keep:g}"

    @property
    def kept(self) -> int:
        """Completions of a group that train, at least one."""
        return max(1, round(self.group * self.keep))


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One row of a cell's table.

    Attributes:
        label: the name, and the version of what it measures where that is not ours.
        path: a folder that goes first on the module path.
        code: hash of the code that measures and, where it is ours, of what is measured.
    """

    label: str
    spec: StepBenchSpec
    plugin: str
    path: Path | None = None
    code: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        return re.sub(r"[^A-Za-z0-9._-]+", "-", self.label)

    @property
    def own(self) -> bool:
        """It is a way of taking grpokit's own step."""
        return not self.spec.against


def cells(
    dtypes: Sequence[str],
    prompts: Sequence[int],
    completions: Sequence[int],
    groups: Sequence[int],
    keeps: Sequence[float],
) -> tuple[Cell, ...]:
    """The grid, with the type of numbers outermost and selection innermost."""
    return tuple(
        Cell(dtype=d, prompt=p, completion=c, group=g, keep=k)
        for d, p, c, g, k in itertools.product(dtypes, prompts, completions, groups, keeps)
    )


def find_contestants(
    catalog: Catalog, names: Sequence[str] | None, trl: Sequence[Path]
) -> tuple[Contestant, ...]:
    """Those that are asked for, or all whose packages are installed but such that must be named.

    Raises:
        ComponentError: a name is unknown. All of them come at once.
        PreflightError: one that was named lacks a package, nobody is left, or a folder of ``--trl`` has
            no TRL.
    """
    entries = {e.spec.name: e for e in catalog.entries("step-bench")}
    unknown = [name for name in names or () if name not in entries]
    if unknown:
        near = get_close_matches(unknown[0], entries, n=1)
        raise ComponentError(
            f"no such contestant: {', '.join(unknown)}",
            place="--against",
            remedy=(f"did you mean {near[0]}? " if near else "")
            + f"there are {', '.join(sorted(entries)) or 'none: install grpokit-hf'}",
        )
    found: list[Contestant] = []
    for name in names or entries:
        entry = entries[name]
        spec = cast("StepBenchSpec", entry.spec)
        missing = [module for module in spec.requires if find_spec(module) is None]
        if missing and names:
            raise PreflightError(
                f"{name} needs packages that are not installed: {', '.join(missing)}",
                place="--against",
                remedy=f"install them, or leave {name} out",
            )
        if not missing and (names or dict(spec.settings).get("asked", False) is False):
            found += _with_versions(spec, entry.plugin.name, trl)
    if not found:
        raise PreflightError(
            "nobody is there to be measured",
            place="--against",
            remedy="pip install grpokit-hf, and grpokit-trl for TRL's trainer",
        )
    return tuple(sorted(found, key=lambda each: not each.own))


def _with_versions(spec: StepBenchSpec, plugin: str, trl: Sequence[Path]) -> list[Contestant]:
    code = code_hash(spec)
    if not spec.against:
        return [
            Contestant(
                label=spec.title or spec.name,
                spec=spec,
                plugin=plugin,
                code=code,
                versions=_installed(spec),
            )
        ]
    here = _installed(spec)
    found: list[tuple[Path | None, str]] = [(None, here.get(spec.against, ""))]
    if spec.against == "trl" and not dict(spec.settings).get("pinned"):
        found += [(path, other_version(path)) for path in trl]
    return [
        Contestant(
            label=f"{spec.title or spec.name} {version}".strip(),
            spec=spec,
            plugin=plugin,
            path=None if path is None else path.absolute(),
            code=code,
            versions={**here, spec.against: version},
        )
        for path, version in found
    ]


def other_version(folder: Path) -> str:
    """The version of the TRL that a folder holds, as ``pip install --target`` leaves it.

    Raises:
        PreflightError: there is none.
    """
    names = [path.name for path in folder.glob("trl-*.dist-info")]
    if not names or not (folder / "trl" / "__init__.py").is_file():
        raise PreflightError(
            "the folder holds no TRL",
            place=f"--trl {folder}",
            remedy="make one: pip install --no-deps --target FOLDER trl==1.16.0",
        )
    return names[0].removeprefix("trl-").removesuffix(".dist-info")


def _installed(spec: StepBenchSpec) -> dict[str, str]:
    found = {}
    for name in spec.versions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def code_hash(spec: StepBenchSpec) -> str:
    """Of what decides the numbers: the code that is measured where it is ours, and what drives it."""
    top = spec.target.partition(":")[0].partition(".")[0]
    digest = hashlib.sha256()
    for path in _sources(
        [*(spec.sources or (top,)), *DRIVING, *(() if spec.against else MEASURED)]
    ):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _sources(modules: Sequence[str]) -> list[Path]:
    """Python and C files of packages, or the file of a module; nothing is imported but parents."""
    found: set[Path] = set()
    for name in modules:
        spec = find_spec(name)
        if spec is None:
            continue
        for folder in spec.submodule_search_locations or ():
            found |= {path for end in ("py", "c", "h") for path in Path(folder).rglob(f"*.{end}")}
        if spec.origin and not spec.submodule_search_locations:
            found.add(Path(spec.origin))
    return sorted(found)
