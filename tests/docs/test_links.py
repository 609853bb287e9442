"""Links lead somewhere, and nothing unfinished is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from doc_pages import ROOT, anchors, links, pages

ALL = [*pages(), *sorted((ROOT / "docs/reference").glob("*.md"))]


@pytest.mark.parametrize("page", ALL, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_resolve(page: Path) -> None:
    text = page.read_text("utf-8")
    for target in links(text):
        name, _, fragment = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), f"{target} does not exist"
        if fragment:
            assert fragment in anchors(path.read_text("utf-8")), f"{target}: no such heading"


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_nothing_unfinished(page: Path) -> None:
    text = page.read_text("utf-8")
    for marker in ("MEASURED", "TODO", "FIXME", "XXX"):
        assert marker not in text, f"{marker} is still there"


def test_every_page_is_reachable() -> None:
    """From the README, over links."""
    seen: set[Path] = set()
    todo = [ROOT / "README.md"]
    while todo:
        page = todo.pop().resolve()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        todo += [
            page.parent / target.partition("#")[0] for target in links(page.read_text("utf-8"))
        ]
    lost = {page.resolve() for page in ALL} - seen
    assert not lost
