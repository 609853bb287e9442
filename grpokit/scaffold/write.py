"""Writing a new package from its templates: plain text with ``@name@`` in it, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from grpokit import __version__
from grpokit.errors import PreflightError
from grpokit.scaffold.names import Names

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog

__all__ = ["KINDS", "Kind", "Written", "check_free", "git_author", "package_files", "write_package"]

Kind = Literal["reward", "dataset", "algorithm", "backend", "recipe"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_TOKEN = re.compile(r"@(name|words|dist|package|kind|description|dependencies|working|authors)@")
_DESCRIPTIONS: Mapping[Kind, str] = {
    "reward": "A reward for grpokit: @words@.",
    "dataset": "A data set for grpokit: @words@.",
    "algorithm": "An algorithm for grpokit: @words@.",
    "backend": "A backend for grpokit: @words@.",
    "recipe": "Recipes for grpokit: @words@.",
}
_NEEDS: Mapping[Kind, str] = {"algorithm": "[torch]", "backend": "[torch]"}
_WORKING = """\
```bash
pip install hatchling pytest grpokit-hf -e .
grpokit plugins check .                  # after each change
grpokit plugins check . --full --strict  # the tests and a run of two steps as well
```

`.github/workflows/ci.yml` does the last on every push, and sends a release to PyPI by trusted
publishing; its first lines say what to register there once. `pyproject.toml` and `LICENSE` say Apache-2.0:
change both for another licence."""
EDIT: Mapping[Kind, str] = {
    "reward": "src/@package@/rewards.py",
    "dataset": "src/@package@/rows.py",
    "algorithm": "src/@package@/parts.py",
    "backend": "src/@package@/backend.py",
    "recipe": "src/@package@/recipes/@name@.yaml",
}
"""The one file to edit."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written.

    Attributes:
        files: paths in the folder, sorted.
        edit: the one of them to begin with.
    """

    folder: Path
    files: tuple[str, ...]
    edit: str


def package_files(kind: Kind, names: Names, author: str = "") -> dict[str, str]:
    """Path -> text of a new package."""
    values = {
        "name": names.name,
        "words": names.words,
        "dist": names.dist,
        "package": names.package,
        "kind": kind,
        "authors": f"authors = [{{ name = {_toml(author)} }}]\n" if author else "",
        "dependencies": f'"grpokit{_NEEDS.get(kind, "")}>={__version__}"',
    }
    values["description"] = _fill(_DESCRIPTIONS[kind], values)
    values["working"] = _fill(_WORKING, values)
    templates = files("grpokit.scaffold") / "templates"
    found = {
        _fill(path, values): _fill(item.read_text("utf-8"), values)
        for part in ("common", kind)
        for path, item in _walk(templates / part)
    }
    return dict(sorted(found.items()))


def git_author() -> str:
    """The name that git signs commits with; empty without git, or if it knows none."""
    try:
        done = subprocess.run(
            ["git", "config", "user.name"],  # noqa: S607  whichever git its author uses
            capture_output=True,
            stdin=subprocess.DEVNULL,
            encoding="utf-8",
            errors="replace",
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _toml(text: str) -> str:
    """A TOML string, whatever the text is."""
    printable = "".join(char for char in text if char.isprintable())
    return json.dumps(printable, ensure_ascii=False)


def check_free(kind: Kind, names: Names, catalog: Catalog) -> None:
    """Refuses a name that would hide behind something installed, or clash with it."""
    for plugin in catalog.plugins:
        if plugin.name == names.name:
            raise PreflightError(
                f"a plugin of this name is installed ({plugin.distribution} {plugin.version})",
                place=f"the name {names.name!r}",
                remedy=f"take another name, or pip uninstall {plugin.distribution}",
            )
    taken = catalog.matches(kind, names.name)
    if taken:
        raise PreflightError(
            f"there is {_a(kind)} of this name, {taken[0].id} ({taken[0].plugin.distribution})",
            place=f"the name {names.name!r}",
            remedy="take another name: recipes could not tell the two apart",
        )


def write_package(kind: Kind, names: Names, parent: Path, author: str = "") -> Written:
    """Writes the package into a new folder ``parent/grpokit-NAME``. Nothing is ever overwritten.

    Raises:
        PreflightError: the folder is there, or cannot be made.
    """
    folder = parent / names.dist
    if folder.exists() or folder.is_symlink():
        raise PreflightError(
            "it is there already, and nothing is overwritten",
            place=str(folder),
            remedy="take another name, or another folder with --into",
        )
    made = package_files(kind, names, author)
    try:
        folder.mkdir(parents=True)
        _write(folder, made)
    except OSError as error:
        raise PreflightError(
            f"it cannot be written: {error.strerror or error}",
            place=str(folder),
            remedy="take another folder with --into",
        ) from error
    edit = EDIT[kind].replace("@package@", names.package).replace("@name@", names.name)
    return Written(folder=folder, files=tuple(made), edit=edit)


def _write(folder: Path, made: Mapping[str, str]) -> None:
    """All files into a folder that was just made, or none of them and no folder."""
    try:
        for path, text in made.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _fill(text: str, values: Mapping[str, str]) -> str:
    return _TOKEN.sub(lambda match: values[match[1]], text)


def _walk(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    """(path in the new package, template). ``dot-x`` stands for ``.x``, which some tools leave out."""
    for item in folder.iterdir():
        name = item.name.removesuffix(".tmpl")
        if name.startswith("dot-"):
            name = "." + name.removeprefix("dot-")
        if item.is_dir():
            yield from _walk(item, f"{prefix}{name}/")
        elif item.name.endswith(".tmpl"):
            yield prefix + name, item


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
