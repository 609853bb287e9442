"""Reading a recipe file: what is no readable UTF-8 text of a sane size is refused, with the reason."""

from __future__ import annotations

import re
import stat
from importlib.resources.abc import Traversable
from pathlib import Path

from grpokit.compose.diagnostics import Report, clip
from grpokit.compose.nodes import Mark, Node
from grpokit.compose.yaml import parse_yaml

__all__ = ["MAX_BYTES", "display", "read_recipe"]

MAX_BYTES = 1_000_000
"""Bytes of a recipe file."""

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ufeff\ufffe\uffff]")
_BOM = "\ufeff"


def display(path: Path, cwd: Path) -> str:
    """The path as messages show it: relative where the file lies below the working directory."""
    try:
        shown = path.relative_to(cwd) if path.is_absolute() else path
    except ValueError:
        shown = path
    return clip(str(shown), 300)


def read_recipe(
    path: Traversable, file: str, report: Report, *, missing: str = "F101"
) -> Node | None:
    """The top mapping of the file, or None when the problems leave nothing to work with.

    Args:
        path: a path, or a file inside an installed package.
        file: its name in positions.
        report: takes the problems.
        missing: code for a file that is not there.
    """
    raw = _read(path, file, report, missing)
    text = None if raw is None else _decode(raw, file, report)
    return None if text is None else parse_yaml(text, file, report)


def _read(path: Traversable, file: str, report: Report, missing: str) -> bytes | None:
    mark = Mark(file, 1, 1)
    try:
        if isinstance(path, Path) and not _is_readable_kind(path, mark, report):
            return None
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        report.add(
            missing,
            mark,
            "there is no such file",
            remedy="list recipes with `grpokit recipes list`",
        )
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        report.add(
            "F103", mark, f"the file cannot be read: {clip(reason)}", remedy="check its mode"
        )
        return None
    if len(raw) > MAX_BYTES:
        report.add(
            "F104",
            mark,
            f"the file is larger than {MAX_BYTES} bytes",
            allowed=f"a recipe has at most {MAX_BYTES} bytes",
            remedy="keep data in a file of its own, and name it with the jsonl data set",
        )
        return None
    return raw


def _is_readable_kind(path: Path, mark: Mark, report: Report) -> bool:
    mode = path.stat().st_mode
    if stat.S_ISREG(mode):
        return True
    if stat.S_ISDIR(mode):
        inside = sorted(child.name for child in path.glob("*.y*ml"))[:3]
        remedy = f"name a file in it, such as {', '.join(inside)}" if inside else "name a file"
        report.add("F102", mark, "this is a folder, not a recipe file", remedy=remedy)
    else:
        report.add("F102", mark, "this is a device or a pipe, not a file", remedy="name a file")
    return False


def _decode(raw: bytes, file: str, report: Report) -> str | None:
    start = Mark(file, 1, 1)
    for bom, name in ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16")):
        if raw.startswith(bom):
            report.add(
                "F106",
                start,
                f"the file is {name}",
                allowed="recipes are UTF-8 text",
                remedy=f"convert it with `iconv -f {name} -t UTF-8`",
            )
            return None
    if b"\x00" in raw:
        head = raw[: raw.index(b"\x00")]
        report.add(
            "F105",
            _place(head.decode("latin-1"), file),
            "the file is binary: it holds a zero byte",
            allowed="recipes are UTF-8 text",
            remedy="name the YAML file of the recipe",
        )
        return None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        report.add(
            "F106",
            _place(raw[: error.start].decode("utf-8"), file),
            f"the byte 0x{raw[error.start]:02x} is not UTF-8",
            allowed="recipes are UTF-8 text",
            remedy="save the file as UTF-8, or convert it with `iconv -f LATIN1 -t UTF-8`",
        )
        return None
    return _clean(text, file, report)


def _clean(text: str, file: str, report: Report) -> str | None:
    """One form of text, so that a recipe has one hash on every machine: no BOM, no CR.

    Both are reported, and reading goes on, so that the other problems are told as well.
    """
    if text.startswith(_BOM):
        text = text[1:]
        report.add(
            "F107",
            Mark(file, 1, 1),
            "the file begins with a byte-order mark",
            allowed="recipes are UTF-8 text without one",
            remedy=f"save it without, or run: sed -i '1s/^\\xEF\\xBB\\xBF//' {file}",
        )
    position = text.find("\r")
    if position >= 0:
        report.add(
            "F108",
            _place(text[:position], file),
            "the line ends with a carriage return",
            allowed="lines end with a newline alone",
            remedy=f"save it with Unix line ends, or run: sed -i 's/\\r$//' {file}",
        )
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    control = _CONTROL.search(text)
    if control is None:
        return text
    report.add(
        "F110",
        _place(text[: control.start()], file),
        f"the control character U+{ord(control.group()):04X} stands here",
        allowed="text, spaces and line ends",
        remedy='remove it; inside double quotes it can be written as an escape, such as "\\e"',
    )
    return None


def _place(before: str, file: str) -> Mark:
    """The place right after the text ``before``."""
    return Mark(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
