"""Markdown as the tests of the documentation read it: fenced blocks with their directive, links, headings.

A directive is an HTML comment right above a block:

    <!-- not run: why -->           the block is left alone
    <!-- file: src/pkg/hooks.py --> the block is a file of the page's project
    <!-- edit: src/pkg/hooks.py --> the reader writes it at this point of a tutorial

A page with edits is one long session; a test of its own takes it (tests/scaffold/test_tutorial.py).
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(
    r"(?:^<!-- (?P<kind>not run|file|edit): (?P<what>.+?) -->\n\s*)?"
    r"^(?P<fence>`{3,})(?P<lang>\w*)\n(?P<text>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|<img [^>]*src=\"([^\"]+)\"")


@dataclass(frozen=True)
class Block:
    """A fenced block. ``kind`` is "", "not run", "file" or "edit"; ``what`` the reason or the path."""

    line: int
    lang: str
    text: str
    kind: str = ""
    what: str = ""


def pages() -> list[Path]:
    """Every page that a person reads, generated ones aside."""
    found = [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "plugins").glob("*/README.md"),
    ]
    return sorted(found)


def blocks(text: str) -> list[Block]:
    return [
        Block(
            line=text.count("\n", 0, match.start("fence")) + 1,
            lang=match["lang"],
            text=match["text"],
            kind=match["kind"] or "",
            what=match["what"] or "",
        )
        for match in _BLOCK.finditer(text)
    ]


def without_blocks(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", _BLOCK.sub("", text))


def links(text: str) -> Iterator[str]:
    """Targets that are no address of another machine."""
    for match in _LINK.finditer(without_blocks(text)):
        target = match[1] or match[2]
        if not re.match(r"[a-z]+:", target):
            yield target


def anchors(text: str) -> set[str]:
    """Fragments that the headings of a page make, as GitHub forms them."""
    heads = re.findall(r"^#+ (.+)$", _BLOCK.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def write_project(page: Path, folder: Path) -> Path | None:
    """Writes the files of the page's project and installs it, as its reader does."""
    found = [block for block in blocks(page.read_text("utf-8")) if block.kind == "file"]
    for block in found:
        path = folder / block.what
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, "utf-8")
    project = next((block.what for block in found if block.what.endswith("pyproject.toml")), None)
    if project is None:
        return None
    site = folder.with_name("site")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", str(site), "."],
        cwd=(folder / project).parent,
        check=True,
        timeout=120,
    )
    return site
