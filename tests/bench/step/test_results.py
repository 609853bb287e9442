"""From given measurements to numbers, tables and pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from grpokit.bench.step import plot, tables
from grpokit.bench.step.grid import Cell, Contestant, Settings
from grpokit.bench.step.results import difference, results
from grpokit.bench.step.runs import Measured
from grpokit.spec.components import StepBenchSpec

SETTINGS = Settings(model="tiny", rounds=2)
STEP = {"generate": 1.0, "score": 0.0, "forward": 2.0, "backward": 3.0, "optimizer": 0.5}
GRADIENT = {"w": [5.0, 3.0, 4.0], "v": [0.0, 0.0, 0.0]}


def cell(**changes: Any) -> Cell:
    return Cell(
        **{
            "dtype": "float32",
            "prompt": 330,
            "completion": 64,
            "group": 16,
            "keep": 1.0,
            **changes,
        }
    )


def measured(name: str, scale: float = 1.0, at: Cell | None = None, **data: Any) -> Measured:
    against = "trl" if name.startswith("TRL") else ""
    spec = StepBenchSpec(
        name=name, summary="", target="a:b", against=against, plain=name == "plain"
    )
    steps = [
        {key: value * scale * factor for key, value in {**STEP, "other": 0.5, "total": 7.0}.items()}
        for factor in (9.0, 1.0, 3.0)
    ]
    return Measured(
        cell=at or cell(),
        contestant=Contestant(label=name, spec=spec, plugin="x", versions={"torch": "2"}),
        data={
            "steps": steps,
            "memory_peak": int(scale * 2**30),
            "memory_loaded": 2**29,
            "gradients": GRADIENT,
            "grad_norm": 5.0,
            "versions": {"torch": "2"},
            **data,
        },
        when="2026-01-01T00:00:00+00:00",
    )


def three() -> list[Measured]:
    return [
        measured("grpokit", floor=5.0, gradients={"w": [5.0, 3.0, 4.0005], "v": [0.0] * 3}),
        measured("plain", 2.0),
        measured("TRL 1.14.2", 6.0),
    ]


def made(*found: Measured, planned: Any = None) -> dict[str, Any]:
    data = results(found, SETTINGS, {"name": "tiny"}, {each.cell: planned for each in found})
    assert json.loads(json.dumps(data)) == data
    return data


def test_medians_leave_the_first_step_out() -> None:
    ours = made(*three())["cells"][0]["contestants"][0]
    assert ours["step"] == 14.0
    assert ours["step_range"] == [7.0, 21.0]
    assert ours["first_step"] == 63.0
    assert ours["update"] == 11.0
    assert ours["tokens_per_second"] == pytest.approx(16 * 64 / 14)
    assert ours["floor_ratio"] == pytest.approx(10.0 / 5.0)


def test_ratios_are_against_each_rival() -> None:
    ours, plain, trl = made(*three())["cells"][0]["contestants"]
    assert ours["ratios"]["TRL 1.14.2"] == pytest.approx({"step": 6, "update": 6, "memory": 6})
    assert set(plain["ratios"]) == {"grpokit", "TRL 1.14.2"}
    assert trl["ratios"] == {}


def test_gradients_are_compared_with_the_plain_path() -> None:
    cell = made(*three())["cells"][0]
    ours, plain, trl = cell["contestants"]
    assert cell["compared_with"] == "plain in float32"
    assert plain["base"]
    assert not trl["base"]
    assert trl["gradient_difference"] == 0.0
    assert ours["gradient_difference"] == pytest.approx(0.0005 / 5)
    assert "gradients" not in ours


def test_bfloat16_is_compared_with_float32() -> None:
    coarse = [
        measured(name, at=cell(dtype="bfloat16"), gradients={**GRADIENT, "w": [5.0, 3.0, number]})
        for name, number in (("grpokit", 4.05), ("plain", 4.1))
    ]
    alone = made(*coarse)["cells"][0]
    assert alone["compared_with"] == "plain in bfloat16"
    beside = made(*coarse, *three())["cells"][0]
    assert beside["compared_with"] == "plain in float32"
    gaps = [each["gradient_difference"] for each in beside["contestants"]]
    assert gaps == pytest.approx([0.01, 0.02])
    other = made(*coarse, measured("plain", at=cell(prompt=40)))["cells"][0]
    assert other["compared_with"] == "plain in bfloat16", "that is another step"


def test_a_difference_needs_the_same_weights() -> None:
    assert difference({"w": [1.0, 1.0]}, {"v": [1.0, 1.0]}) is None
    assert difference({}, {}) is None
    assert difference({"w": [2.0, 1.0]}, {"w": [1.0, 1.0]}) == 0.5, "the norms count too"
    assert difference({"w": [0.0, 0.0]}, {"w": [0.0, 0.0]}) == 0.0


def test_a_failure_is_a_row_and_a_sentence() -> None:
    bad = measured("TRL 1.14.2")
    data = made(three()[0], Measured(**{**vars(bad), "data": {"failure": "no memory"}}))
    assert tables.rows(data["cells"][0])[1] == ["TRL 1.14.2", "failed", *[""] * 6]
    assert tables.legend(data)[-1] == "TRL 1.14.2 (float32, prompt 330): no memory"
    assert "| `TRL 1.14.2` | failed |" in tables.markdown(data)


def test_the_table_of_a_cell_fits_a_terminal() -> None:
    data = made(*three())
    cell = data["cells"][0]
    assert tables.cell_title(cell, data) == "float32, prompt 330, 16 x 64 tokens, all train"
    rows = tables.rows(cell)
    assert rows[0] == ["grpokit", "2.00", "11.0", "14.0", "73", "1.00", "2.0x", "1e-04"]
    assert rows[1][-2:] == ["-", "base"]
    longest = ["Unsloth 2026.10.9", *["123.4"] * 3, "12345", "12.34", "12.3x", "1e-04"]
    heads = [head.removeprefix(">") for head in tables.COLUMNS]
    widths = [max(map(len, column)) for column in zip(heads, longest, *rows, strict=True)]
    assert sum(widths) + 3 * (len(widths) - 1) <= 80
    assert tables.verdicts(cell) == [
        "grpokit against plain: step 2.0x, update 2.0x as fast; 50% of the memory",
        "grpokit against TRL 1.14.2: step 6.0x, update 6.0x as fast; 17% of the memory",
    ]


def test_a_gradient_of_other_weights_is_not_compared() -> None:
    data = made(measured("plain"), measured("TRL 1", gradients={"other": [1.0, 1.0]}))
    assert [row[-1] for row in tables.rows(data["cells"][0])] == ["base", "-"]


def test_what_cannot_be_told_apart_is_one_update() -> None:
    step = {"generate": 1.0, "update": 4.0, "other": 0.0, "total": 5.0}
    data = made(measured("grpokit"), measured("TRL 1", steps=[step] * 3))
    theirs = data["cells"][0]["contestants"][1]
    assert theirs["update"] == 4.0
    assert theirs["floor_ratio"] is None
    assert "4.00 s together" in tables.markdown(data)


def test_on_a_gpu_its_memory_counts() -> None:
    data = made(measured("grpokit", cuda_peak=3 * 2**30, cuda_loaded=2**30))
    ours = data["cells"][0]["contestants"][0]
    assert (ours["memory"], ours["memory_process"]) == (3 * 2**30, 2**30)
    assert "GiB: peak memory of the GPU." in tables.legend(data)[0]


def test_the_page_has_every_stage_and_the_plan() -> None:
    data = made(*three(), planned={"parts": {"weights": 2**29}, "peak": 2**29})
    text = tables.markdown(data)
    assert len({line.count("|") for line in text.splitlines()}) == 1
    assert "**84.0 s** (42.0 s to 126.0 s)" in text
    assert text.splitlines()[-1].endswith("| 6.0x, 6.0x |")
    assert tables.memory(data).splitlines()[-1].endswith("| 512 MiB | 512 MiB | 1.00 GiB |")
    assert tables.memory(made(*three())) == ""


def test_lines_are_drawn_over_three_sizes_or_more(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    sizes = [measured("grpokit", group, cell(group=group)) for group in (8, 16, 32)]
    data = made(*sizes, measured("grpokit", at=cell(dtype="bfloat16")))
    ((axis, fixed, lines),) = plot.lines_of(data)
    assert (axis, fixed) == ("group", "float32, completion 64, prompt 330, keep 1.0")
    assert [size for size, _, _ in lines["grpokit"]] == [8, 16, 32]
    files = plot.draw(data, tmp_path / "step")
    before = [path.read_bytes() for path in files]
    plot.draw(data, tmp_path / "step")
    assert [path.read_bytes() for path in files] == before
    svg = files[0].read_text()
    assert svg.count("16 x 64 tokens, all train") == 2
    assert "completions of a prompt" in svg
    bar, *rest = plot.draw(made(measured("grpokit")), tmp_path / "one")
    assert "peak memory" not in bar.read_text()
    assert len(rest) == 1
