"""The page of GRPO against CPPO: its block is what `make bench-cppo` wrote, or says that nothing was."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from doc_pages import ROOT
from grpokit.bench.cppo.settings import RATES, SCALED, SKIPPING, parse_rates

PAGE = ROOT / "docs/benchmarks-cppo.md"
BLOCK = re.compile(r"<!-- made by docs/bench_cppo.py -->\n(.*)<!-- end -->\n", re.DOTALL)
NOT_YET = "Not measured yet: `make bench-cppo` writes tables and picture here."


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    for name in ("bench", "bench_cppo"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import bench_cppo

    return bench_cppo


def test_the_block_holds_every_row_or_says_that_nothing_was_measured() -> None:
    found = BLOCK.search(PAGE.read_text())
    assert found is not None
    if found[1].strip() == NOT_YET:
        return
    first, second = found[1].split("Work and seconds of a run:")
    labels = re.findall(
        r"^\| ([A-Z]+(?: alloc)?(?: skip)?(?: lr)?) \| ([\d.]+) \|", first, re.MULTILINE
    )
    assert [each[0] for each in labels[:2]] == ["GRPO", "GRPO skip"]
    rates = {float(rate) for name, rate in labels if name == "CPPO alloc"}
    assert rates == set(parse_rates(RATES)) - {0.0}
    skipping = {float(rate) for name, rate in labels if name.endswith("skip")}
    assert skipping == set(parse_rates(SKIPPING))
    assert {float(rate) for name, rate in labels if name.endswith("lr")} == set(parse_rates(SCALED))
    assert len(re.findall(r"^\| [A-Z]+.*\|$", second, re.MULTILINE)) == len(labels)
    commit = re.search(r"at commit `(\w+)`", found[1])
    assert commit is not None, "made from a changed checkout"
    for suffix in ("svg", "png"):
        assert (ROOT / f"docs/images/bench-cppo.{suffix}").stat().st_size > 10_000


def test_the_script_replaces_its_own_block_only(
    scripts: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- made by docs/bench_cppo.py -->\nold \\1\n<!-- end -->\nafter\n")
    for text in ("a \\1", "b"):
        scripts.write(page, "docs/bench_cppo.py", [f"{text}\n", "| c |\n"])
    assert page.read_text() == (
        "before\n<!-- made by docs/bench_cppo.py -->\n\nb\n\n| c |\n\n<!-- end -->\nafter\n"
    )
    assert "written: " in capsys.readouterr().out
    with pytest.raises(SystemExit, match="has no place"):
        scripts.write(page, "docs/bench.py", ["x"])
