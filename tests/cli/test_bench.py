"""`grpokit bench algorithms`: a small real bench, its numbers, its interruption, its refusals."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from commands import Commands

RECIPE = """
grpokit: 1
model: {{id: {model}, lora: null, dtype: float32}}
dataset: {{use: arithmetic}}
rewards:
  - {{use: contains, name: has-a, with: {{text: a}}}}
  - {{use: length, weight: 0.5, with: {{min: 2, max: 4, ramp: 8, unit: characters}}}}
algorithm: {{use: grpo, with: {{epsilon: 0.05}}, parts: {{advantage: {{use: group-centred}}}}}}
rollout: {{prompts: 4, group: 8, max_tokens: 8}}
optim: {{lr: 0.01, schedule: constant, max_grad_norm: 1.0, minibatches: 2}}
backend: {{use: hf, with: {{device: cpu, threads: 1}}}}
train: {{steps: 3, seed: 5, save_every: 1, show_every: 0}}
eval:
  dataset: {{use: arithmetic, with: {{split: test}}}}
  correct: length
  temperature: 1.0
  max_tokens: 5
  limit: 12
"""
BENCH = ("bench", "algorithms", "tiny.yaml", "--seeds", "2", "--out", "out")
TWO = ("--algorithms", "grpo,dr-grpo")


@pytest.fixture(scope="module")
def commands(
    tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path
) -> Iterator[Commands]:
    folder = tmp_path_factory.mktemp("bench")
    (folder / "tiny.yaml").write_text(RECIPE.format(model=tiny_model_folder))
    with Commands(folder) as started:
        yield started


@pytest.fixture(scope="module")
def bench(commands: Commands) -> tuple[str, dict[str, Any]]:
    assert commands.run(*BENCH, *TWO) == 0, commands.output
    return commands.output, read(commands)


def read(commands: Commands) -> dict[str, Any]:
    return dict(json.loads((commands.folder / "out" / "results.json").read_text()))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def runs(commands: Commands, data: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Path]]:
    for algorithm in data["algorithms"]:
        for run in algorithm["runs"]:
            yield run, commands.folder / "out" / run["folder"]


def test_the_output_has_the_tables(bench: tuple[str, dict[str, Any]]) -> None:
    output, _ = bench
    for part in (
        "(before)",
        "dr-grpo",
        "vs first, points",
        "update",
        "dead: groups",
        "Student's t",
    ):
        assert part in output
    assert "4/4 dr-grpo, seed 6: " in output
    assert "Traceback" not in output


def test_runs_are_ordinary_and_share_their_questions(
    commands: Commands, bench: tuple[str, dict[str, Any]]
) -> None:
    asked: dict[tuple[str, int], list[str]] = {}
    for algorithm in bench[1]["algorithms"]:
        for run in algorithm["runs"]:
            folder = commands.folder / "out" / run["folder"]
            rows = lines(folder / "rollouts.jsonl")
            asked[algorithm["label"], run["seed"]] = [row["prompt"]["id"] for row in rows]
            plan = json.loads((folder / "plan.json").read_text())
            assert plan["recipe"]["train"]["seed"] == run["seed"]
            assert plan["recipe"]["algorithm"] == {
                "use": algorithm["label"],
                "with": {},
                "parts": {},
            }
    assert len(asked["grpo", 5]) == 3 * 4
    assert asked["grpo", 5] == asked["dr-grpo", 5]
    assert asked["grpo", 6] == asked["dr-grpo", 6]
    assert asked["grpo", 5] != asked["grpo", 6]
    first = [lines(folder / "rollouts.jsonl")[0] for _, folder in runs(commands, bench[1])]
    texts = [[each["text"] for each in row["completions"]] for row in first]
    assert texts[0] == texts[2]  # the same seed draws the same from the same model
    assert texts[0] != texts[1]


def test_numbers_are_those_of_the_run_directories(
    commands: Commands, bench: tuple[str, dict[str, Any]]
) -> None:
    for run, folder in runs(commands, bench[1]):
        rows = lines(folder / "metrics.jsonl")
        completions = [
            each for row in lines(folder / "rollouts.jsonl") for each in row["completions"]
        ]
        assert run["reward"] == [row["reward"] for row in rows]
        assert run["completions"] == len(completions) == 3 * 4 * 8
        assert run["trained"] == sum(each["kept"] for each in completions)
        assert run["tokens"] == sum(each["tokens"] for each in completions)
        assert run["optimizer_steps"] == sum(row["optimizer_steps"] for row in rows)
        assert run["dead_groups"] == pytest.approx(fmean(row["dead_groups"] for row in rows))
        total = sum(row["seconds"]["total"] for row in rows)
        assert run["seconds"]["total"] == pytest.approx(total)
        assert sum(run["seconds"].values()) == pytest.approx(2 * total)
        [summary] = folder.glob("eval/*/summary.json")
        model = json.loads(summary.read_text())["models"][0]
        assert (run["right"], run["items"]) == (model["correct"], 12)
        assert run["accuracy"] == model["accuracy"]
    grpo, other = bench[1]["algorithms"]
    gaps = [b["accuracy"] - a["accuracy"] for a, b in zip(grpo["runs"], other["runs"], strict=True)]
    assert any(gaps), "a comparison of equal numbers proves nothing"
    assert grpo["difference"] is None
    assert other["difference"]["values"] == pytest.approx(gaps)
    assert other["accuracy"]["mean"] == pytest.approx(fmean(r["accuracy"] for r in other["runs"]))
    assert other["pooled"]["items"] == 24
    assert bench[1]["base"]["items"] == 12


def test_each_run_is_marked_with_its_own_policy(
    commands: Commands, bench: tuple[str, dict[str, Any]]
) -> None:
    out = commands.folder / "out"
    [base] = (out / "base").glob("*/samples.jsonl")
    before = [each["text"] for each in lines(base)]
    marked = {}
    for run, folder in runs(commands, bench[1]):
        samples = min(folder.glob("eval/bench-*/samples.jsonl"))
        marked[run["folder"]] = [each["text"] for each in lines(samples)]
        assert marked[run["folder"]] != before
    name, texts = next(iter(marked.items()))
    place = commands.folder / "by-hand"
    assert commands.run("eval", f"out/{name}", "--out", str(place)) == 0, commands.output
    assert [each["text"] for each in lines(place / "samples.jsonl")] == texts


def test_a_second_call_trains_nothing_and_a_third_only_what_is_new(
    commands: Commands, bench: tuple[str, dict[str, Any]]
) -> None:
    before = {folder: state(folder) for _, folder in runs(commands, bench[1])}
    base = commands.folder / "out" / "base"
    before[base] = state(base)
    assert commands.run(*BENCH, *TWO, "--json") == 0, commands.output
    printed = json.loads(commands.output[commands.output.index("{\n") :])
    assert printed["algorithms"] == bench[1]["algorithms"]
    named = "grpo,grpo:epsilon=0.3:parts.advantage.use=rloo-baseline"
    assert commands.run(*BENCH, "--algorithms", named) == 0, commands.output
    assert {folder: state(folder) for folder in before} == before
    data = read(commands)
    assert data["algorithms"][0] == bench[1]["algorithms"][0]
    assert data["algorithms"][1]["algorithm"]["with"] == {"epsilon": 0.3}
    assert len(list((commands.folder / "out" / "runs").iterdir())) == 6


def state(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_other_settings_are_other_runs(
    commands: Commands, bench: tuple[str, dict[str, Any]]
) -> None:
    out = commands.folder / "longer"
    code = commands.run(
        *BENCH[:3], "--seeds", "1", "--algorithms", "grpo", "--out", str(out), "--steps", "2"
    )
    assert code == 0, commands.output
    assert "One seed tells nothing" in commands.output
    code = commands.run(
        *BENCH[:3], "--seeds", "1", "--algorithms", "grpo", "--out", str(out), "--steps", "3"
    )
    assert code == 0, commands.output
    assert len(list((out / "runs").iterdir())) == 2
    [run] = json.loads((out / "results.json").read_text())["algorithms"][0]["runs"]
    assert run["reward"] == bench[1]["algorithms"][0]["runs"][0]["reward"]


def test_an_interrupted_bench_goes_on(
    commands: Commands, bench: tuple[str, dict[str, Any]]
) -> None:
    argv = (*BENCH[:-1], "stopped", *TWO)
    code = commands.run(*argv, signals=((0.0, signal.SIGTERM),), when="2/4 dr-grpo, seed 5: ")
    assert code == 143, commands.output
    assert "what is finished is not repeated" in commands.output
    out = commands.folder / "stopped"
    assert not (out / "results.json").exists()
    done = {
        folder: (folder / "metrics.jsonl").stat().st_mtime_ns
        for folder in (out / "runs").iterdir()
        if "seed5" in folder.name
    }
    assert len(done) == 2
    assert commands.run(*argv) == 0, commands.output
    assert {folder: (folder / "metrics.jsonl").stat().st_mtime_ns for folder in done} == done
    resumed = json.loads((out / "results.json").read_text())
    for ours, theirs in zip(resumed["algorithms"], bench[1]["algorithms"], strict=True):
        assert ours["accuracy"] == theirs["accuracy"]
        assert ours["reward"] == theirs["reward"]


def test_another_idea_of_correct_is_another_evaluation(
    commands: Commands, bench: tuple[str, dict[str, Any]]
) -> None:
    before = {
        folder: (folder / "metrics.jsonl").stat().st_mtime_ns
        for _, folder in runs(commands, bench[1])
    }
    assert commands.run(*BENCH, *TWO, "--set", "eval.threshold=0") == 0, commands.output
    data = read(commands)
    assert [each["accuracy"]["mean"] for each in data["algorithms"]] == [1.0, 1.0]
    assert data["base"]["accuracy"] == 1.0
    after = {folder: (folder / "metrics.jsonl").stat().st_mtime_ns for folder in before}
    assert after == before


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--algorithms", "grpo,gpro"], 2, ["gpro: ", "did you mean"]),
        (
            ["--algorithms", "grpo:epsilon=-1,dr-grpo,gspo:nope=1"],
            2,
            ["2 problems", "grpo:epsilon=-1: ", "gspo:nope=1: ", "nothing was trained"],
        ),
        ([*TWO, "--set", "train.seed=3"], 2, ["train.seed is the bench's own business"]),
        ([*TWO, "--set", "train.processes=2"], 3, ["the bench trains in one", "train.processes=1"]),
        ([*TWO, "--set", "algorithm.use=rloo"], 2, ["algorithm.use is the bench's own"]),
        ([*TWO, "--set", "rollout.grup=3"], 2, ["grup"]),
        ([*TWO, "--set", "eval.dataset=null"], 3, ["names no held-out data set"]),
        ([*TWO, "--set", "model.id=./nowhere"], 3, ["1 problem;", "no model folder"]),
        (["--algorithms", "grpo,grpo:beta=0.1", "--set", "rollout.group=1"], 2, ["group"]),
    ],
)
def test_refusals_come_before_any_training(
    commands: Commands, options: list[str], code: int, said: list[str]
) -> None:
    out = commands.folder / "refused"
    assert commands.run(*BENCH[:-1], str(out), *options) == code, commands.output
    for part in said:
        assert part.lower() in commands.output.lower()
    assert not out.exists()
    assert "Traceback" not in commands.output


def test_runs_that_break_are_a_result(commands: Commands) -> None:
    out = commands.folder / "broken"
    sets = ["--set", "optim.lr=1e30", "--set", "optim.max_grad_norm=1e30"]
    code = commands.run(*BENCH[:-1], str(out), *TWO, *sets)
    assert code == 5, commands.output
    assert "dr-grpo, seed 6 failed: " in commands.output
    data = json.loads((out / "results.json").read_text())
    assert [each["failed"] for each in data["algorithms"]] == [2, 2]
    assert [each["accuracy"] for each in data["algorithms"]] == [None, None]
    assert not (out / "bench.svg").exists()
    assert "Traceback" not in commands.output


def test_without_matplotlib_there_are_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bench: tuple[str, dict[str, Any]]
) -> None:
    from grpokit.cli.bench import NO_PICTURE, _write
    from grpokit.report import canvas

    monkeypatch.setattr(canvas, "find_spec", lambda _name: None)
    assert _write(tmp_path, bench[1]) == ["results.json", "table.md"]
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "table.md"}
    assert (NO_PICTURE in bench[0]) == ("bench.svg" not in bench[0])
