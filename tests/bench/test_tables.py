"""Tables and the picture of made-up results, with everything that can go wrong in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from grpokit.bench import plot, tables
from grpokit.cli.charts import sparkline
from grpokit.evaluate.spread import spread


def algorithm(label: str, values: list[float], first: list[float] | None) -> dict[str, Any]:
    runs = [
        {"seed": 1 + number, "failure": "", "accuracy": value, "reward": [0.1, value / 2, value]}
        for number, value in enumerate(values)
    ]
    gaps = spread([a - b for a, b in zip(values, first, strict=True)]) if first else None
    return {
        "label": label,
        "runs": runs,
        "failed": 0,
        "accuracy": spread(values, within=(0.0, 1.0)).as_dict(),
        "difference": {**gaps.as_dict(), "verdict": gaps.verdict} if gaps else None,
        "reward": [0.1, 0.2, 0.3],
        "reward_last": {"mean": 0.25},
        "seconds": {"generate": 1.0, "score": 0.5, "update": 2.0, "other": 0.1, "total": 3.6},
        "completions": 768.0,
        "trained": 384.0,
        "dead_groups": 0.125,
        "tokens": 12345.0,
        "optimizer_steps": 12.0,
    }


@pytest.fixture
def data() -> dict[str, Any]:
    first = [0.50, 0.52, 0.51]
    broken = {"label": "odd|one", "runs": [{"seed": 1, "failure": "NaN"}], "failed": 1}
    return {
        "questions": 100,
        "steps": 3,
        "seeds": [1, 2, 3],
        "prompts": 16,
        "group": 16,
        "base": {"accuracy": 0.3, "interval": [0.2, 0.4], "items": 100},
        "algorithms": [
            algorithm("grpo", first, None),
            algorithm("reinforce-pp-baseline", [0.60, 0.63, 0.61], first),
            algorithm("rloo", [0.40, 0.62, 0.53], first),
            {**broken, "accuracy": None, "difference": None},
        ],
    }


def test_verdicts_follow_the_intervals(data: dict[str, Any]) -> None:
    before, grpo, plus, rloo, broken = tables.accuracy_rows(data)
    assert before == ("(before)", "30.0%", "20.0-40.0", "", "")
    assert grpo[1:3] == ("51.0%", "48.5-53.5")
    assert grpo[3:] == ("", "")
    assert (plus[3], plus[4]) == ("+10.3 (+8.9 to +11.8)", "better")
    assert rloo[4] == "unclear"
    assert broken == ("odd|one", "failed", "", "", "")


def test_tables_fit_80_columns(data: dict[str, Any]) -> None:
    for heads, rows in (
        (tables.ACCURACY, tables.accuracy_rows(data)),
        (tables.TIME, tables.time_rows(data, sparkline)),
        (tables.WORK, tables.work_rows(data)),
    ):
        columns = list(zip([head.removeprefix(">") for head in heads], *rows, strict=True))
        width = sum(max(map(len, column)) for column in columns) + 3 * (len(columns) - 1)
        assert width <= 80


def test_markdown_is_one_whole_table(data: dict[str, Any]) -> None:
    lines = tables.markdown(data).splitlines()
    assert len(lines) == 2 + 1 + 4
    assert {line.replace("\\|", "").count("|") for line in lines} == {12}
    assert "| 384 (50%) |" in lines[3]
    assert "failed" in lines[-1]


def test_one_seed_gets_no_verdict(data: dict[str, Any]) -> None:
    data["seeds"] = [1]
    data["algorithms"] = [algorithm("grpo", [0.5], None), algorithm("rloo", [0.9], [0.5])]
    rows = tables.accuracy_rows(data)
    assert rows[2][2:] == ("one seed", "+40.0", "one seed")
    assert "One seed tells nothing" in " ".join(tables.legend(data))
    assert "one seed" in tables.markdown(data)


def test_the_picture(data: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    files = plot.draw(data, tmp_path / "bench")
    assert [path.name for path in files] == ["bench.svg", "bench.png"]
    assert files[1].read_bytes().startswith(b"\x89PNG")
    text = files[0].read_text("utf-8")
    for label in ("grpo", "reinforce-pp-baseline", "rloo", "before"):
        assert f">{label}<" in text
    assert "odd" not in text  # what failed has no curve
    again = plot.draw(data, tmp_path / "again")
    assert again[0].read_text("utf-8") == text


@pytest.mark.parametrize("steps", [1, 7, 60, 200])
def test_curves_end_at_the_last_step(data: dict[str, Any], steps: int) -> None:
    mpl = pytest.importorskip("matplotlib")
    mpl.use("agg")
    from matplotlib import pyplot as plt

    values = [number / steps for number in range(1, steps + 1)]
    done = data["algorithms"][:2]
    for item in done:
        item["reward"] = values
        for run in item["runs"]:
            run["reward"] = values
    figure, axes = plt.subplots(1, 3, squeeze=False)
    plot._curves(axes, done, ["red", "blue"])
    lines = axes[0, 0].get_lines()
    plt.close(figure)
    window = max(1, steps // 20)
    for line in lines:
        assert line.get_xdata()[-1] == steps
        assert line.get_ydata()[-1] == pytest.approx(sum(values[-window:]) / window)
    assert len(lines) == 3  # both in grey, one in its colour
    assert len(lines[0].get_xdata()) == min(steps, plot.POINTS)
