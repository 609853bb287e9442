"""The page of the step's costs has a block for each grid: with its table, or honestly empty."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from doc_pages import ROOT

PAGE = ROOT / "docs/benchmarks.md"
GRIDS = ("main", "amx-float32", "amx-bfloat16", "selection", "group", "completion")


@pytest.mark.parametrize("grid", GRIDS)
def test_each_grid_has_its_block(grid: str) -> None:
    begin = re.escape(f"<!-- made by docs/bench_step.py {grid} -->")
    found = re.search(rf"{begin}\n(.*?)<!-- end -->", PAGE.read_text(), re.DOTALL)
    assert found is not None
    if found[1].strip() == "Not measured yet.":
        return
    assert re.search(rf"`python docs/bench_step.py {grid}` measured this \(.* UTC\)", found[1])
    assert "`grpokit`" in found[1]
    assert re.search(r"at commit `[0-9a-f]{10}`", found[1]), "made from a changed checkout"
    assert (ROOT / f"docs/images/bench-step-{grid}.svg").stat().st_size > 5_000


def test_an_unknown_grid_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs/bench_step.py", "mian"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == f"no grid mian; there are {', '.join(GRIDS)}\n"
