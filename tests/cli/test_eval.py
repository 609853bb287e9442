"""`grpokit eval` on a real run of a tiny model: base against trained, checkpoints, mistakes."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commands import Commands

RECIPE = """
grpokit: 1
model: {{id: {model}, lora: {{rank: 4, alpha: 8}}, dtype: float32}}
dataset: {{use: arithmetic}}
rewards:
  - {{use: contains, name: has-a, with: {{text: a}}}}
  - {{use: length, weight: 0, with: {{min: 2, max: 12, ramp: 20, unit: characters}}}}
rollout: {{prompts: 4, group: 8, max_tokens: 12}}
optim: {{lr: 0.05, schedule: constant, max_grad_norm: 10.0}}
train: {{steps: 6, save_every: 3, out: runs, show_every: 0}}
eval: {{dataset: {{use: arithmetic, with: {{split: test}}}}, limit: 12}}
"""


@pytest.fixture(scope="module")
def commands(
    tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path
) -> Iterator[Commands]:
    folder = tmp_path_factory.mktemp("eval")
    (folder / "tiny.yaml").write_text(RECIPE.format(model=tiny_model_folder))
    with Commands(folder) as started:
        yield started


@pytest.fixture(scope="module")
def run(commands: Commands) -> Path:
    assert commands.run("train", "tiny.yaml", "--plain") == 0, commands.output
    return max((commands.folder / "runs").iterdir())


def test_the_run_says_whether_its_rewards_were_checked(commands: Commands, run: Path) -> None:
    assert json.loads((run / "reward-check.json").read_text())["checked"]
    change = ("--set", "train.out=unchecked", "--set", "train.save_every=1", "--steps", "1")
    assert commands.run("train", "tiny.yaml", "--plain", "--skip-reward-check", *change) == 0
    assert "not checked" in commands.output
    (other,) = (commands.folder / "unchecked").iterdir()
    record = json.loads((other / "reward-check.json").read_text())
    assert (record["skipped"], record["checked"]) == (True, False)
    again = ("train", "--resume", str(other), "--steps", "2", "--force", "--plain")
    assert commands.run(*again, "--set", "rewards.0.with.text=null") == 3
    assert "spray.or" in commands.output
    assert "grpokit rewards check" in commands.output
    assert json.loads((other / "reward-check.json").read_text()) == record
    assert commands.run(*again) == 0, commands.output  # other steps are no other rewards
    assert "reward check" not in commands.output


def read(folder: Path) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """summary.json, and the samples by model."""
    samples: dict[str, list[dict[str, Any]]] = {}
    for line in (folder / "samples.jsonl").read_text().splitlines():
        sample = json.loads(line)
        samples.setdefault(sample["model"], []).append(sample)
    return json.loads((folder / "summary.json").read_text()), samples


@pytest.fixture(scope="module")
def compared(commands: Commands, run: Path) -> tuple[str, Path]:
    assert commands.run("eval", str(run), "--base") == 0, commands.output
    [folder] = (run / "eval").iterdir()
    return commands.output, folder


def test_base_and_trained_answer_the_same_questions(compared: tuple[str, Path]) -> None:
    output, folder = compared
    summary, samples = read(folder)
    base, trained = samples["base"], samples["trained"]
    assert [item["id"] for item in base] == [item["id"] for item in trained]
    assert len(base) == 12
    assert [item["text"] for item in base] != [item["text"] for item in trained]
    first, second = (model["fingerprint"] for model in summary["models"])
    assert first["model"]["weights"] == second["model"]["weights"]
    assert first["model"]["adapter"] != second["model"]["adapter"]
    assert {**first, "model": 0} == {**second, "model": 0}
    assert "trained against base: " in output
    assert "95% interval" in output
    assert "base: 12 of 12 questions" in output
    assert "Traceback" not in output


def test_the_verdict_follows_the_interval(compared: tuple[str, Path]) -> None:
    found = read(compared[1])[0]["comparison"]
    low, high = found["interval"]
    expected = "improved" if low > 0 else "worse" if high < 0 else "no detectable change"
    assert found["verdict"] == expected
    assert found["difference"] * 12 == pytest.approx(len(found["gained"]) - len(found["lost"]))


def test_a_gate_that_is_not_reached_ends_with_4(commands: Commands, run: Path) -> None:
    place = commands.folder / "gated"
    target = ("eval", str(run), "--limit", "6", "--out", str(place))
    assert commands.run(*target, "--gate", "min_accuracy=0.99", "--details") == 4
    assert "min-accuracy is 0." in commands.output
    assert "ended by themselves" in commands.output
    summary = read(place)[0]
    assert summary["overlap"]["questions"] == 6
    assert summary["models"][0]["rates"]["dropped"] == 0
    assert commands.run(*target, "--gate", "min-delta=0.1") == 2
    assert "add --base or --against" in commands.output


def test_the_base_of_a_run_is_the_model_itself(
    commands: Commands, run: Path, compared: tuple[str, Path], tiny_model_folder: Path
) -> None:
    place = commands.folder / "alone"
    target = str(tiny_model_folder)
    code = commands.run("eval", target, "--recipe", "tiny.yaml", "--out", str(place))
    assert code == 0, commands.output
    alone = read(place)[1][tiny_model_folder.name]
    base = read(compared[1])[1]["base"]
    assert [item["text"] for item in alone] == [item["text"] for item in base]


def test_checkpoints_differ_and_json_is_alone_on_stdout(commands: Commands, run: Path) -> None:
    texts = []
    for target, options in ((run, ["--checkpoint", "3"]), (run / "checkpoints/step-000006", [])):
        place = commands.folder / f"step-{len(texts)}"
        code = commands.run(
            "eval", str(target), *options, "--limit", "6", "--out", str(place), "--json"
        )
        assert code == 0, commands.output
        data = json.loads(commands.output[commands.output.index("{\n") :])
        assert data["models"][0]["items"] == 6
        texts.append([item["text"] for samples in read(place)[1].values() for item in samples])
    assert texts[0] != texts[1]


def test_a_damaged_checkpoint_is_a_storage_error(commands: Commands, run: Path) -> None:
    file = run / "checkpoints" / "step-000003" / "policy" / "adapter_model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    whole = file.read_bytes()
    file.write_bytes(data)
    try:
        assert commands.run("eval", str(run), "--checkpoint", "3") == 6
        assert "adapter_model.safetensors has changed" in commands.output
    finally:
        file.write_bytes(whole)


def test_mistakes_have_their_codes(commands: Commands, run: Path) -> None:
    assert commands.run("eval", "some/model") == 2
    assert "--recipe" in commands.output
    assert commands.run("eval", str(run), "--checkpoint", "99") == 6
    assert "there are 3, 6" in commands.output
    assert commands.run("eval", str(run), "--set", "eval.correct=nope") == 2
    assert "nope" in commands.output
    assert "Traceback" not in commands.output


def test_a_signal_leaves_nothing_half_written(commands: Commands, run: Path) -> None:
    place = commands.folder / "stopped"
    code = commands.run(
        "eval",
        str(run),
        "--out",
        str(place),
        signals=((0.0, signal.SIGTERM),),
        when="0 of 12 questions",
    )
    assert code == 143, commands.output
    assert not place.exists()
    assert "Traceback" not in commands.output


def test_a_probe_draws_one_step_with_the_real_model(commands: Commands) -> None:
    assert commands.run("plan", "tiny.yaml", "--probe") == 0, commands.output
    assert "probe: 32 completions to the first 4 questions" in commands.output
    assert "tokens/s" in commands.output
    assert commands.run("plan", "tiny.yaml", "--probe", "--json") == 0, commands.output
    found = json.loads(commands.output)["probe"]
    assert found["completions"] == 32
    assert 32 <= found["tokens"] <= 32 * 12
    assert 0 <= found["dead"] <= 1
    assert found["rewards"].keys() == {"has-a", "length"}


def test_several_answers_to_each_question(commands: Commands, run: Path) -> None:
    """Drawn twice they are the same, and no two to a question are."""
    places = [commands.folder / "several", commands.folder / "again"]
    ask = ("--base", "--samples", "4", "--temperature", "1", "--limit", "6")
    for place in places:
        assert commands.run("eval", str(run), *ask, "--out", str(place)) == 0, commands.output
    assert "6 held-out questions, 4 answers to each, sampled at temperature 1" in commands.output
    assert "pass@4" in commands.output
    assert "sign-flip p" in commands.output
    (first, samples), (again, same) = (read(place) for place in places)
    assert samples == same
    for each in (first, again):
        for model in each["models"]:
            model.pop("seconds")
    assert first == again
    texts = [item["text"] for item in samples["base"]]
    assert len(texts) == 24
    assert len({*texts[:4]}) > 1
    solved = {item["id"] for item in samples["trained"] if item["correct"]}
    assert first["models"][1]["pass_at"]["4"]["value"] == pytest.approx(len(solved) / 6)


def test_several_greedy_answers_are_refused(commands: Commands, run: Path) -> None:
    assert commands.run("eval", str(run), "--samples", "4") == 2
    assert "R627 4 greedy answers to a question" in commands.output
    assert "set eval.temperature" in commands.output
    assert "Traceback" not in commands.output


def test_an_interrupted_evaluation_goes_on(commands: Commands, run: Path) -> None:
    """SIGINT while the second model answers; the first one is not asked again."""
    ask = ("eval", str(run), "--base", "--limit", "900", "--samples", "8", "--temperature", "1")
    whole = commands.folder / "uninterrupted"
    assert commands.run(*ask, "--out", str(whole)) == 0, commands.output
    count = len(read(whole)[1]["base"])
    place = commands.folder / "interrupted"
    half = ((0.0, signal.SIGINT),)
    code = commands.run(*ask, "--out", str(place), signals=half, when="trained: 0 of ")
    assert code == 130, commands.output
    assert "the same command goes on with the answers that are there" in commands.output
    assert [path.name for path in place.iterdir()] == ["samples.partial.jsonl"]
    there = (place / "samples.partial.jsonl").read_text().count("\n")
    assert count < there < 2 * count + 2
    assert commands.run(*ask, "--out", str(place)) == 0, commands.output
    assert read(place)[1] == read(whole)[1]
    left = sorted(path.name for path in place.iterdir())
    assert left == ["recipe.yaml", "samples.jsonl", "summary.json"]


@pytest.fixture(scope="module")
def ladder(commands: Commands, run: Path) -> tuple[str, Path]:
    """Base and every checkpoint."""
    place = commands.folder / "ladder"
    ask = ("eval", str(run), "--base", "--checkpoint", "all", "--plot")
    assert commands.run(*ask, "--out", str(place)) == 0, commands.output
    return commands.output, place


def test_all_checkpoints_in_one_table(
    ladder: tuple[str, Path], compared: tuple[str, Path], run: Path
) -> None:
    output, place = ladder
    summary, samples = read(place)
    assert list(samples) == ["base", "step-000003", "step-000006"]  # final is step 6 again
    old = read(compared[1])[1]
    for label, same in (("base", "base"), ("step-000006", "trained")):
        assert [item["text"] for item in samples[label]] == [item["text"] for item in old[same]]
    found = summary["comparisons"]
    assert [(each["first"], each["second"]) for each in found] == [
        ("base", "step-000003"),
        ("base", "step-000006"),
    ]
    assert found[1]["difference"] == read(compared[1])[0]["comparison"]["difference"]
    assert [(each["run"], each["step"]) for each in summary["curve"]] == [
        (run.name, 0),
        (run.name, 3),
        (run.name, 6),
    ]
    assert "against base" in output
    assert f"{run.name}  " in output
    assert (place / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert not (place / "costs.png").exists()


def test_a_stored_evaluation_is_a_row_without_its_model(
    commands: Commands, run: Path, ladder: tuple[str, Path], compared: tuple[str, Path]
) -> None:
    place = commands.folder / "against-stored"
    ask = ("eval", str(run), "--checkpoint", "3", "--out", str(place))
    assert commands.run(*ask, "--against", f"{ladder[1]}:base") == 0, commands.output
    assert "base: 0 of 12 questions" not in commands.output
    summary, samples = read(place)
    assert list(samples) == ["base", "step-000003"]
    expected = read(ladder[1])[0]["comparisons"][0]
    assert summary["comparison"] == {
        key: value for key, value in expected.items() if key in summary["comparison"]
    }
    folder = commands.folder / "stored-alone"
    both = (f"{ladder[1]}:base", str(compared[1]))
    assert commands.run("eval", *both, "--out", str(folder)) == 0, commands.output
    assert read(folder)[0]["comparison"] == read(compared[1])[0]["comparison"]
    assert commands.run("eval", *both, "--limit", "3") == 2
    assert "nothing is asked, so eval.limit=3 would change nothing" in commands.output
    assert commands.run("eval", f"{ladder[1]}:nobody", *both) == 6
    assert "it has base, step-000003, step-000006" in commands.output


def test_what_was_evaluated_otherwise_is_refused_before_anything_is_asked(
    commands: Commands, run: Path, ladder: tuple[str, Path]
) -> None:
    place = commands.folder / "mismatch"
    change = ("--set", "eval.max_tokens=6", "--set", "eval.threshold=0.5")
    ask = ("eval", str(run), *change, "--against", str(ladder[1]), "--out", str(place))
    assert commands.run(*ask) == 3
    assert "sampling.max_tokens: 12 and 6" in commands.output
    assert "threshold: 1.0 and 0.5" in commands.output
    assert "--allow-mismatch" in commands.output
    assert "0 of 12 questions" not in commands.output
    assert not place.exists()
    assert commands.run(*ask, "--allow-mismatch") == 0, commands.output
    assert "trained was not evaluated like the others" in commands.output
    told = read(place)[0]["mismatch"]
    assert told == {"trained": ["sampling.max_tokens: 12 and 6", "threshold: 1.0 and 0.5"]}


def test_stored_answers_are_marked_again_beside_the_old_ones(
    commands: Commands, ladder: tuple[str, Path]
) -> None:
    place = ladder[1]
    before = {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()}
    ask = ("eval", "rescore", str(place), "--set", "eval.correct=length")
    assert commands.run(*ask) == 0, commands.output
    assert "0 of 12 questions" not in commands.output
    after = {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()}
    assert after == before
    [folder] = (place / "rescored").iterdir()
    summary, samples = read(folder)
    old = read(place)[1]
    flips = summary["rescored"]["flips"]
    for label, items in samples.items():
        assert [item["text"] for item in items] == [item["text"] for item in old[label]]
        assert [item["scores"] for item in items] == [item["scores"] for item in old[label]]
        assert [item["correct"] for item in items] == [
            item["scores"]["length"] >= 1 for item in old[label]
        ]
        changed = [
            item["id"]
            for item, was in zip(items, old[label], strict=True)
            if item["correct"] != was["correct"]
        ]
        assert [flip["id"] for flip in flips[label]] == changed
    assert any(flips.values())
    assert commands.run("eval", str(place), str(folder)) == 3
    assert "grader: contains" in commands.output
    words = ("--reward", "contains", "--with", "text=b", "--out", str(commands.folder / "words"))
    assert commands.run("eval", "rescore", str(folder), *words) == 0, commands.output
    [marked] = (commands.folder / "words").iterdir()
    assert {model["decides"] for model in read(marked)[0]["models"]} == {"contains"}
    assert commands.run("eval", "rescore", str(folder), "--set", "eval.limit=3") == 3
    assert "asks other questions than were answered" in commands.output
    assert commands.run("eval", "rescore", str(commands.folder)) == 2
    assert "no folder of an evaluation" in commands.output
    assert "Traceback" not in commands.output
