"""Results and tables of `grpokit bench cppo` from given numbers, and the paper's figures."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from grpokit.bench.cppo import paper, plot, tables
from grpokit.bench.cppo.results import extended, ratio_of
from grpokit.bench.cppo.settings import Setting
from grpokit.evaluate.spread import spread

SEEDS = (1, 2, 3)


def setting(
    rate: float, *, allocation: bool = False, skipping: bool = False, scale: float = 1.0
) -> Setting:
    kept = round(16 * (1 - rate))
    words = ["CPPO", f"{rate:g}"] if rate else ["GRPO"]
    return Setting(
        label=" ".join(words + ["alloc"] * allocation + ["skip"] * skipping + ["lr"] * (scale > 1)),
        overrides=(),
        rate=rate,
        allocation=allocation,
        skipping=skipping,
        scale=scale,
        group=16,
        kept=kept,
        prompts=64 // kept if allocation else 4,
        steps=kept if allocation else 16,
    )


def item(made: Setting, updates: list[float], values: list[float], base: list[float]) -> Any:
    runs = []
    for seed, update, value in zip(SEEDS, updates, values, strict=True):
        seconds = {"generate": 4.0, "score": 0.5, "update": update, "other": 0.5}
        seconds["total"] = sum(seconds.values())
        runs.append({"seed": seed, "failure": "", "accuracy": value, "seconds": seconds})
    gaps = spread([a - b for a, b in zip(values, base, strict=True)])
    return {
        "label": made.label,
        "runs": runs,
        "failed": 0,
        "accuracy": spread(values, within=(0.0, 1.0)).as_dict(),
        "difference": None if values is base else {**gaps.as_dict(), "verdict": gaps.verdict},
        "seconds": {
            name: sum(run["seconds"][name] for run in runs) / len(runs)
            for name in ("generate", "score", "update", "other", "total")
        },
        "completions": 1024.0,
        "trained": 1024 * made.kept / 16 * 0.75,
        "questions": 64.0,
        "optimizer_steps": 2.0 * made.steps,
    }


@pytest.fixture
def data() -> dict[str, Any]:
    first = [0.70, 0.72, 0.74]
    made = [
        setting(0.0),
        setting(0.0, skipping=True),
        setting(0.875),
        setting(0.875, allocation=True),
        setting(0.875, allocation=True, skipping=True),
        setting(0.5, allocation=True),
    ]
    rows = [
        item(made[0], [20.0, 20.0, 20.0], first, first),
        item(made[1], [16.0, 16.0, 16.0], [0.70, 0.72, 0.741], first),
        item(made[2], [4.0, 4.0, 4.0], [0.60, 0.63, 0.64], first),
        item(made[3], [2.0, 4.0, 8.0], [0.80, 0.83, 0.84], first),
        item(made[4], [2.0, 2.0, 2.0], [0.71, 0.70, 0.75], first),
    ]
    broken = [{"seed": seed, "failure": "NaN"} for seed in SEEDS]
    rows.append(
        {
            "label": made[5].label,
            "runs": broken,
            "failed": 3,
            "accuracy": None,
            "difference": None,
        }
    )
    whole = {
        "recipe": "bench-cppo",
        "steps": 16,
        "questions": 1000,
        "seeds": list(SEEDS),
        "base": {"accuracy": 0.334, "interval": [0.305, 0.364], "items": 1000},
        "algorithms": rows,
    }
    return extended(whole, made)


def test_the_papers_speed_ups_are_the_quotients_of_its_times() -> None:
    gsm8k = {rate: round(each.ratio, 2) for (rate, _), each in paper.GSM8K.items()}
    assert gsm8k == {0.0: 1.0, 0.5: 1.81, 0.75: 3.27, 0.875: 4.89, 0.9375: 8.32}
    allocated = {rate: round(each.ratio, 2) for (rate, a), each in paper.MATH.items() if a}
    assert allocated == {0.5: 1.65, 0.75: 2.62, 0.875: 3.51, 0.9375: 4.05}
    assert round(paper.MATH[0.5, False].ratio, 2) == 1.23
    assert max(each.accuracy for each in paper.GSM8K.values()) == pytest.approx(0.8041)
    assert max(each.accuracy for each in paper.MATH.values()) == pytest.approx(0.7720)


def test_forwarded_counts_what_pruning_and_skipping_leave(data: dict[str, Any]) -> None:
    found = [each["forwarded"] for each in data["algorithms"]]
    assert found == [1024, 768, 128, 128, 96, None]
    rows = {row[0]: row for row in tables.work_rows(data)}
    assert rows["CPPO 0.875 alloc"] == (*("CPPO 0.875 alloc", "64", "2", "4", "128", "12.5%"),)
    assert rows["GRPO skip"][-1] == "75.0%"


def test_ratios_are_times_over_times_with_intervals_of_their_logarithms(
    data: dict[str, Any],
) -> None:
    grpo, skips, pruned, allocated, _, broken = data["algorithms"]
    assert grpo["ratio"] == {"total": None, "update": None}
    assert broken["ratio"] == {"total": None, "update": None}
    assert skips["ratio"]["update"]["mean"] == 1.25
    assert pruned["ratio"]["update"] == {
        "values": [5.0, 5.0, 5.0],
        "mean": 5.0,
        "interval": pytest.approx([5.0, 5.0]),
        "n": 3,
    }
    assert pruned["ratio"]["total"]["mean"] == pytest.approx(25 / 9)
    update = allocated["ratio"]["update"]
    assert update["values"] == [10.0, 5.0, 2.5]
    assert update["mean"] == pytest.approx(60 / 14)
    half = 4.302653 * math.log(2) / math.sqrt(3)
    assert update["interval"] == pytest.approx([5 * math.exp(-half), 5 * math.exp(half)], rel=1e-5)
    missing = {"runs": [{"seed": 9, "failure": "", "seconds": {"update": 1.0}}]}
    assert ratio_of(grpo, missing, "update") is None


def test_ours_stands_beside_the_papers(data: dict[str, Any]) -> None:
    rows = {row[0]: row[1:] for row in tables.paper_rows(data)}
    assert rows["(before)"] == ("", "33.4%", "", "55.72      ", "55.20      ")
    assert rows["GRPO"] == ("16", "72.0%", "", "77.05 1.00x", "75.20 1.00x")
    assert rows["GRPO skip"][-2:] == ("", "")
    assert rows["CPPO 0.875"] == ("2", "62.3%", "2.78x", "", "")
    assert rows["CPPO 0.875 alloc"][-2:] == ("80.41 4.89x", "75.20 3.51x")
    assert rows["CPPO 0.875 alloc skip"][-2:] == ("", "")
    assert rows["CPPO 0.5 alloc"] == ("8", "failed", "", "77.67 1.81x", "75.20 1.65x")


def test_verdicts_follow_the_intervals(data: dict[str, Any]) -> None:
    rows = {row[0]: row[1:] for row in tables.accuracy_rows(data)}
    assert rows["(before)"] == ("33.4%", "30.5-36.4", "", "")
    assert rows["GRPO"] == ("72.0%", "67.0-77.0", "", "")
    assert rows["GRPO skip"][-1] == "unclear"
    assert rows["CPPO 0.875"][-1] == "worse"
    assert rows["CPPO 0.875 alloc"][-2:] == ("+10.3 (+8.9 to +11.8)", "better")
    assert rows["CPPO 0.875 alloc skip"][-1] == "unclear"
    assert rows["CPPO 0.5 alloc"] == ("failed", "", "", "")


def test_times_are_of_every_stage(data: dict[str, Any]) -> None:
    rows = {row[0]: row[1:] for row in tables.stage_rows(data)}
    assert rows["GRPO"] == ("4.0", "0.5", "20.0", "0.5", "25.0")
    assert "CPPO 0.5 alloc" not in rows
    faster = {row[0]: row[1:] for row in tables.faster_rows(data)}
    assert list(faster) == ["GRPO skip", "CPPO 0.875", "CPPO 0.875 alloc", "CPPO 0.875 alloc skip"]
    assert faster["CPPO 0.875"] == ("2.78x", "2.78-2.78", "5.00x", "5.00-5.00")


def test_the_page_has_two_tables_of_the_same_rows(data: dict[str, Any]) -> None:
    first, second = tables.markdown(data).split("Work and seconds of a run:")
    assert [line.split(" | ")[0].strip("| ") for line in first.splitlines()[2:] if line] == [
        *("*(before)*", "GRPO", "GRPO skip", "CPPO", "CPPO alloc", "CPPO alloc skip", "CPPO alloc")
    ]
    assert (
        "| CPPO | 0.875 | 2 | 62.3% (57.2 to 67.5) | -9.7 (-11.1 to -8.2) | worse | 9.0 |" in first
    )
    assert "| 80.41%, 4.89x | 75.20%, 3.51x |" in first
    assert "| CPPO alloc | 0.5 | 8 | failed |" in first
    assert "| GRPO | 0 | 64 | 16 | 32 | 1024 | 100.0% | 4.0 | 0.5 | 20.0 | 0.5 | 25.0 |" in second
    for table in (first, second):
        lines = [line for line in table.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) == 1


def test_the_legend_says_what_one_seed_is_worth(data: dict[str, Any]) -> None:
    several = " ".join(tables.legend(data))
    assert "lr:" not in several
    rows = [*data["algorithms"], {**data["algorithms"][3], "scale": 2.83}]
    scaled = " ".join(tables.legend({**data, "algorithms": rows}))
    assert "lr: the learning rate times sqrt(1 / (1 - P))" in scaled
    assert "`unclear` where its 95% interval contains 0" in several
    assert "Of 4 equal methods" in several
    assert "arXiv 2503.22342" in several
    one = " ".join(tables.legend({**data, "seeds": [1]}))
    assert "One seed tells nothing about another one" in one


def test_the_paper_has_no_row_with_another_learning_rate() -> None:
    first = [0.70, 0.72, 0.74]
    made = [
        setting(0.0),
        setting(0.875, allocation=True),
        setting(0.875, allocation=True, scale=2.83),
    ]
    assert [each.method for each in made] == ["GRPO", "CPPO alloc", "CPPO alloc lr"]
    rows = [item(each, [2.0, 2.0, 2.0], first, first) for each in made]
    found = extended({"algorithms": rows, "steps": 16}, made)["algorithms"]
    assert [row["paper"]["gsm8k"] is None for row in found] == [False, False, True]
    assert [row["scale"] for row in found] == [1.0, 1.0, 2.83]


def test_lines_fit_a_terminal(data: dict[str, Any]) -> None:
    """80 columns: cells, three between two of them."""
    for heads, rows in (
        (tables.PAPER, tables.paper_rows(data)),
        (tables.ACCURACY, tables.accuracy_rows(data)),
        (tables.FASTER, tables.faster_rows(data)),
        (tables.STAGES, tables.stage_rows(data)),
        (tables.WORK, tables.work_rows(data)),
    ):
        table = [tuple(head.removeprefix(">") for head in heads), *rows]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        assert sum(widths) + 3 * (len(widths) - 1) <= 80


def test_the_picture_is_drawn_and_repeats(data: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = [plot.draw(data, tmp_path / name) for name in ("one", "two")]
    assert [path.suffix for path in found[0]] == [".svg", ".png"]
    assert found[0][0].read_bytes() == found[1][0].read_bytes()
    text = found[0][0].read_text()
    for word in ("CPPO 0.875 alloc", "2.78x", "generate", "GRPO, skipping"):
        assert word in text
    assert "CPPO 0.5 alloc" not in text, "no seed of it ended"
