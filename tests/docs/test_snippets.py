"""Every command, recipe and piece of code of the documentation does what its page says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from doc_pages import ROOT, blocks, pages, write_project
from warm import warm

LANGUAGES = {"", "text", "python", "yaml", "console", "bash", "toml", "json", "jsonl"}


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", pages(), ids=page_id)
def test_snippets(page: Path, tmp_path: Path) -> None:
    if not any(block.lang and not block.kind for block in blocks(page.read_text("utf-8"))):
        pytest.skip("the page has no snippet")
    if any(block.kind == "edit" for block in blocks(page.read_text("utf-8"))):
        pytest.skip("the page is one session: tests/scaffold/test_tutorial.py")
    folder = tmp_path / "project"
    folder.mkdir()
    site = write_project(page, folder)
    search = [ROOT / "docs", ROOT / "tests/helpers", *([site] if site else [])]
    environ = {k: v for k, v in os.environ.items() if not k.startswith("GRPOKIT_")} | {
        "PYTHONPATH": os.pathsep.join(map(str, search)),
        "GRPOKIT_CACHE": str(warm(tmp_path / "cache")),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "100",
    }
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/helpers/doc_runner.py"), str(page)],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PROBLEM" not in done.stdout, done.stdout
    assert "ran " in done.stdout


@pytest.mark.parametrize("page", pages(), ids=page_id)
def test_every_block_is_of_a_known_kind(page: Path) -> None:
    for block in blocks(page.read_text("utf-8")):
        assert block.lang in LANGUAGES, f"line {block.line}: nobody checks {block.lang!r} blocks"
        assert block.kind != "not run" or len(block.what) > 8, f"line {block.line}: no reason given"
