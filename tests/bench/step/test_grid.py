"""The grid and the contestants: which there are, what is refused, what makes a measurement another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from grpokit.bench.step import grid
from grpokit.errors import ComponentError, PreflightError
from grpokit.registry.catalog import Catalog
from grpokit.registry.validate import spec_problems
from grpokit.spec.components import StepBenchSpec


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


def other_trl(folder: Path, version: str = "1.99.0") -> Path:
    (folder / "trl").mkdir(parents=True)
    (folder / "trl" / "__init__.py").touch()
    (folder / f"trl-{version}.dist-info").mkdir()
    return folder


def test_cells_are_the_product_of_the_lists() -> None:
    found = grid.cells(["float32", "bfloat16"], [40, 330], [64], [8], [1.0, 0.125])
    assert len(found) == 8
    assert found[1].name == "float32-p40-c64-g8-k0.125"
    assert [cell.kept for cell in found[:2]] == [8, 1]
    assert grid.Cell(dtype="float32", prompt=1, completion=1, group=4, keep=0.01).kept == 1


def test_by_default_those_that_are_installed_and_need_not_be_named(catalog: Catalog) -> None:
    found = grid.find_contestants(catalog, None, [])
    names = [each.spec.name for each in found]
    assert names[:2] == ["grpokit", "plain"]
    assert "trl" in names
    assert "trl-recomputing" not in names
    assert "unsloth" not in names, "its package is not installed"
    assert [each.own for each in found] == [name != "trl" for name in names]


def test_another_trl_is_a_contestant_of_its_own(catalog: Catalog, tmp_path: Path) -> None:
    folder = other_trl(tmp_path / "other")
    here, there = grid.find_contestants(catalog, ["trl"], [folder])
    assert there.label == "TRL 1.99.0"
    assert there.path == folder.absolute()
    assert here.path is None
    assert here.versions["trl"] == here.label.removeprefix("TRL ")
    assert there.versions["trl"] == "1.99.0"


@pytest.mark.parametrize(
    ("names", "kind", "words"),
    [
        (["grpokitt"], ComponentError, "did you mean grpokit?"),
        (["unsloth"], PreflightError, "needs packages that are not installed: unsloth"),
    ],
)
def test_a_wrong_contestant_is_refused(
    catalog: Catalog, names: list[str], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words.replace("?", r"\?")):
        grid.find_contestants(catalog, names, [])


def test_a_folder_without_trl_is_refused(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match="the folder holds no TRL; make one: pip install"):
        grid.find_contestants(catalog, ["trl"], [tmp_path])


def test_the_hash_is_of_what_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "racer"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "car.py").write_text("SPEED = 1\n")
    (package / "driver.py").write_text("SKILL = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    own = StepBenchSpec(name="own", summary="", target="racer.driver:run")
    other = StepBenchSpec(
        name="other",
        summary="",
        target="racer.driver:run",
        against="trl",
        sources=("racer.driver",),
    )
    before = grid.code_hash(own), grid.code_hash(other)
    (package / "car.py").write_text("SPEED = 2\n")
    assert grid.code_hash(own) != before[0], "the whole package is measured"
    assert grid.code_hash(other) == before[1], "only the driver is ours"
    (package / "driver.py").write_text("SKILL = 2\n")
    assert grid.code_hash(other) != before[1]
    later = grid.code_hash(own)
    for name in ("engine.c", "engine.h"):
        (package / name).write_text("int speed;\n")
        assert later != (later := grid.code_hash(own)), "C is code too"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, ""),
        ({"requires": "torch"}, "requires must be a tuple of text"),
        (
            {"prepare": "nowhere"},
            "prepare 'nowhere' must look like 'package.module:attribute', or be empty",
        ),
    ],
)
def test_a_spec_is_looked_at(changes: dict[str, Any], problem: str) -> None:
    spec = StepBenchSpec(**{"name": "racer", "summary": "", "target": "a.b:run", **changes})
    found = list(spec_problems("grpokit_step_benches", spec))
    where = "grpokit_step_benches: StepBenchSpec 'racer': "
    assert found == ([where + problem] if problem else [])
