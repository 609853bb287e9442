"""Finding recipes: a file, a name of core's (`quickstart`), or one in a plugin (`plugin/name`).

What ends in ``.yaml`` or ``.yml``, or begins with ``.``, ``/`` or ``~``, is a file; anything else
is a name. So a file never hides a recipe of the library, nor the other way round.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING

from grpokit.compose.diagnostics import Report, clip, did_you_mean
from grpokit.compose.files import display
from grpokit.compose.nodes import Mark
from grpokit.registry.builtin import CORE

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog

__all__ = ["Found", "Library", "looks_like_file"]

_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, kw_only=True)
class Found:
    """One recipe file.

    Attributes:
        name: short name: the stem of a file, or the name in the library.
        file: how positions call it.
        source: where to read it.
        plugin: the plugin it comes from; empty for a file.
        folder: where it lies in a package; None for a file.
    """

    name: str
    file: str
    source: Traversable
    plugin: str = ""
    folder: Traversable | None = None

    @property
    def path(self) -> Path | None:
        return self.source if isinstance(self.source, Path) else None

    def beside(self, name: str) -> Traversable | None:
        """A file in the same folder, whether it is there or not."""
        if self.path is not None:
            return self.path.with_name(name)
        return None if self.folder is None else self.folder.joinpath(name)


def looks_like_file(name: str) -> bool:
    """Whether a name means a file rather than a recipe of the library."""
    return name.endswith(_SUFFIXES) or name.startswith((".", "/", "~"))


class Library:
    """The recipes of core and of the loaded plugins, and files relative to ``cwd``."""

    def __init__(self, catalog: Catalog, cwd: Path) -> None:
        self._catalog = catalog
        self.cwd = cwd
        self._named: dict[str, Found] | None = None

    @property
    def named(self) -> dict[str, Found]:
        """Every recipe that has a name: core's first, then by plugin."""
        if self._named is None:
            self._named = {found.name: found for found in self._scan()}
        return self._named

    def _scan(self) -> Iterator[Found]:
        for plugin, folder in self._catalog.recipe_folders():
            prefix = "" if plugin == CORE else f"{plugin}/"
            try:
                files = sorted(folder.iterdir(), key=lambda file: file.name)
            except OSError:  # the plugin was removed since it was loaded
                continue
            for file in files:
                if file.name.endswith(_SUFFIXES) and not file.name.startswith("."):
                    name = prefix + file.name.rpartition(".")[0]
                    shown = display(file, self.cwd) if isinstance(file, Path) else name
                    yield Found(name=name, file=shown, source=file, plugin=plugin, folder=folder)

    def find(
        self, name: str, report: Report, mark: Mark | None = None, *, beside: Path | None = None
    ) -> Found | None:
        """The recipe meant by ``name``; a name that does not exist is reported.

        Args:
            name: file or name.
            report: takes the problem.
            mark: place of the ``extends`` that names it; None for the command line.
            beside: folder that relative files are relative to; the working directory by default.
        """
        code = "F101" if mark is None else "X302"
        where = mark or Mark(clip(name, 300), 1, 1)
        if looks_like_file(name):
            path = Path(name).expanduser() if name.startswith("~") else Path(name)
            full = (beside or self.cwd) / path
            if mark is not None and not full.exists():
                report.add(
                    code,
                    where,
                    f"there is no file `{display(full, self.cwd)}`",
                    allowed="a file is relative to the recipe that extends it",
                    remedy="correct the path",
                )
                return None
            return Found(name=path.stem, file=display(full, self.cwd), source=full)
        if name in self.named:
            return self.named[name]
        report.add(
            code,
            where,
            f"there is no recipe named `{clip(name)}`",
            allowed="`grpokit recipes list` shows the names; a file ends in .yaml",
            remedy=self._remedy(name, beside),
        )
        return None

    def _remedy(self, name: str, beside: Path | None) -> str:
        for candidate in (name, name + ".yaml", name + ".yml"):
            if ((beside or self.cwd) / candidate).is_file():
                return f"for the file write `./{candidate}`"
        plugin = name.rpartition("/")[0]
        for record in self._catalog.plugins:
            if record.name == plugin and not record.loaded:
                return f"the plugin {plugin!r} is {record.state}: {clip(record.reason, 300)}"
        return did_you_mean(name, self.named) or "check the spelling"
