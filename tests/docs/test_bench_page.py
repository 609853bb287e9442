"""The page of the comparison holds what `make bench` wrote, of every algorithm in the list."""

from __future__ import annotations

import re

from doc_pages import ROOT
from grpokit.bench.contestants import DEFAULT

PAGE = ROOT / "docs/benchmarks-algorithms.md"


def test_the_table_has_every_algorithm_and_says_where_it_comes_from() -> None:
    found = re.search(
        r"<!-- made by docs/bench.py -->\n(.*)<!-- end -->", PAGE.read_text(), re.DOTALL
    )
    assert found is not None
    rows = re.findall(r"^\| `([^`]+)` \| (.+?) \|", found[1], re.MULTILINE)
    assert [label for label, _ in rows] == list(DEFAULT)
    assert all(re.match(r"\d+\.\d% \(\d+\.\d to \d+\.\d\)", cell) for _, cell in rows)
    runs, commit = re.search(r"from (\d+) runs .* commit `(\w+)`", found[1]).groups()
    assert int(runs) >= 3 * len(DEFAULT)
    assert re.fullmatch(r"[0-9a-f]{10}", commit), "made from a changed checkout"
    for suffix in ("svg", "png"):
        assert (ROOT / f"docs/images/bench-algorithms.{suffix}").stat().st_size > 10_000
