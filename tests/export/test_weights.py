"""`grpokit export RUN` on a real run of a tiny model: the folder, its card, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from commands import Commands
from grpokit.export.weights import public_recipe
from grpokit.spec.recipe import Recipe

RECIPE = """
grpokit: 1
summary: "A | table <script>alert(1)</script> `code` [link](x)"
model: {{id: {model}, lora: {{rank: 4, alpha: 8}}, dtype: float32}}
dataset: {{use: arithmetic}}
rewards: [{{use: contains, name: has-a, with: {{text: a}}}}]
rollout: {{prompts: 4, group: 8, max_tokens: 12}}
optim: {{lr: 0.05, schedule: constant, max_grad_norm: 10.0}}
train: {{steps: 4, save_every: 2, keep: 3, out: runs, show_every: 0}}
eval: {{dataset: {{use: arithmetic, with: {{split: test}}}}, limit: 12}}
"""


@pytest.fixture(scope="module")
def commands(
    tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path
) -> Iterator[Commands]:
    folder = tmp_path_factory.mktemp("export")
    (folder / "tiny.yaml").write_text(RECIPE.format(model=tiny_model_folder))
    with Commands(folder) as started:
        yield started


@pytest.fixture(scope="module")
def run(commands: Commands) -> Path:
    assert commands.run("train", "tiny.yaml", "--plain") == 0, commands.output
    return max((commands.folder / "runs").iterdir())


@pytest.fixture(scope="module")
def merged(commands: Commands, run: Path) -> tuple[Path, str, dict[str, Any]]:
    """Folder, output and evaluation of one export with an evaluation before it."""
    assert commands.run("eval", str(run), "--base") == 0, commands.output
    [evaluation] = (run / "eval").iterdir()
    summary = json.loads((evaluation / "summary.json").read_text())
    assert commands.run("export", "last", "--merged") == 0, commands.output
    return run / "export" / "merged", commands.output, summary


def card(folder: Path) -> tuple[dict[str, Any], str]:
    _, front, body = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(front), body


def test_the_folder_is_whole_and_proved(merged: tuple[Path, str, dict[str, Any]]) -> None:
    folder, output, _ = merged
    assert {path.name for path in folder.iterdir()} == {
        "README.md",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "proof.json",
        "recipe.yaml",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    proof = json.loads((folder / "proof.json").read_text())
    assert proof["answers"]["equal"] == 4
    assert proof["step"] == 4
    assert proof["files"]["model.safetensors"]["bytes"] > 10_000
    assert "4 of 4 greedy answers are the trained model's" in output
    assert "14 of " in output
    assert "writing float32 safetensors" in output
    assert not list(folder.parent.glob(".tmp*"))
    modes = {path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert len(modes) == 1


def test_the_card_tells_what_was_measured(
    merged: tuple[Path, str, dict[str, Any]], run: Path, tiny_model_folder: Path
) -> None:
    folder, _, summary = merged
    front, body = card(folder)
    assert front["library_name"] == "transformers"
    assert front["pipeline_tag"] == "text-generation"
    assert "grpo" in front["tags"]
    assert "base_model" not in front  # a folder of this machine is no model of the hub
    for model in summary["models"]:
        assert f"{model['correct']}/12 | {100 * model['accuracy']:.1f}%" in body
        low, high = model["interval"]
        assert f"{100 * low:.1f}% to {100 * high:.1f}%" in body
    assert summary["comparison"]["verdict"] in body
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    first, last = (sum(row["reward"] for row in part) / 2 for part in (rows[:2], rows[2:]))
    assert f"| mean reward, first 2 steps | {first:.3f} |" in body
    assert f"| mean reward, last 2 steps | {last:.3f} |" in body
    assert "arithmetic" in body
    assert re.search(r"\| reward has-a \| contains \| grpokit \S+ \| [0-9a-f]{16} \|", body)
    assert "greedy answers are the trained model's" in body


def test_text_of_the_user_is_only_text(
    merged: tuple[Path, str, dict[str, Any]], tiny_model_folder: Path
) -> None:
    folder, _, _ = merged
    _, body = card(folder)
    prose = re.sub(r"^```.*?^```$", "", body, flags=re.MULTILINE | re.DOTALL)
    assert "<script>" not in prose
    assert r"A \| table &lt;script&gt;" in prose
    for path in (folder / "README.md", folder / "recipe.yaml", folder / "config.json"):
        assert str(tiny_model_folder) not in path.read_text()


def test_the_code_of_the_card_runs(
    merged: tuple[Path, str, dict[str, Any]], run: Path, commands: Commands
) -> None:
    """Word for word, where the folder lies, and it says what the evaluation heard."""
    folder, _, _ = merged
    [code] = re.findall(r"```python\n(.*?)```", card(folder)[1], re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", code.replace("max_new_tokens=256", "max_new_tokens=12")],
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    [samples] = (run / "eval").glob("*/samples.jsonl")
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    said = next(row["text"] for row in rows if row["model"] == "trained" and row["index"] == 0)
    assert done.stdout.rstrip("\n") == said.rstrip("\n")


def test_an_export_is_evaluated_as_a_model(
    merged: tuple[Path, str, dict[str, Any]], commands: Commands
) -> None:
    """It lies in the run, gives the same answers, and is no checkpoint of it."""
    folder, _, summary = merged
    out = commands.folder / "again"
    argv = ("eval", str(folder), "--recipe", "tiny.yaml", "--out", str(out))
    assert commands.run(*argv) == 0, commands.output
    [model] = json.loads((out / "summary.json").read_text())["models"]
    assert model["correct"] == summary["models"][1]["correct"]
    assert model["rewards"] == summary["models"][1]["rewards"]
    assert commands.run("export", str(folder), "--merged") == 2
    assert "no run" in commands.output


def test_a_checkpoint_without_evaluation(commands: Commands, run: Path) -> None:
    """The evaluation is of the final weights and says nothing about step 2."""
    out = commands.folder / "at-two"
    assert (
        commands.run("export", str(run), "--adapter", "--step", "2", "--out", str(out), "--json")
        == 0
    ), commands.output
    data = json.loads(commands.output[commands.output.index("{\n") :])
    assert data["form"] == "adapter"
    assert data["pushed"] is None
    assert {each["name"] for each in data["files"]} == {path.name for path in out.iterdir()}
    front, body = card(out)
    assert front["library_name"] == "peft"
    assert "Not evaluated." in body
    assert "grpokit eval runs/" in body
    assert "after 2 of 4 steps" in body
    assert "95% interval" not in body


def test_the_card_of_an_adapter_names_two_folders(commands: Commands, run: Path) -> None:
    """Its own and that of the base model, which the reader has to bring."""
    out = commands.folder / 'odd "name"'
    assert commands.run("export", str(run), "--adapter", "--out", str(out)) == 0, commands.output
    [code] = re.findall(r"```python\n(.*?)```", card(out)[1], re.DOTALL)
    assert "# BASE_MODEL_FOLDER: the model that training began with" in code
    assert 'AutoModelForCausalLM.from_pretrained("BASE_MODEL_FOLDER")' in code
    assert 'PeftModel.from_pretrained(model, "odd \\"name\\"")' in code
    compile(code, "card", "exec")
    assert "note: adapter_config.json names the base model by its folder" in commands.output


def test_what_a_recipe_says_to_models_is_no_path() -> None:
    told = {
        "grpokit": 1,
        "summary": "/a/b",
        "model": {"id": "/home/me/models/tiny"},
        "dataset": {"use": "jsonl", "with": {"path": "~/rows.jsonl"}},
        "prompt": {"system": "/no_think", "template": "/set {question}"},
        "rewards": [{"use": "number"}],
    }
    public = yaml.safe_load(public_recipe(Recipe.model_validate(told)))
    assert public["prompt"]["system"] == "/no_think"
    assert public["prompt"]["template"] == "/set {question}"
    assert public["summary"] == "/a/b"
    assert public["model"]["id"] == "tiny"
    assert public["dataset"]["with"]["path"] == "rows.jsonl"


def test_a_gguf_file(commands: Commands, run: Path) -> None:
    assert commands.run("export", str(run), "--gguf", "--quantize", "q8_0") == 0, commands.output
    folder = run / "export" / "gguf-q8_0"
    [file] = folder.glob("*.gguf")
    assert file.name.endswith("-tiny-q8_0.gguf")
    assert "note: text outside of ASCII" in commands.output
    assert "gguf" in card(folder)[0]["tags"]


def test_an_older_export_stands(
    commands: Commands, run: Path, merged: tuple[Path, str, dict[str, Any]]
) -> None:
    folder = merged[0]
    before = (folder / "proof.json").stat().st_mtime_ns
    assert commands.run("export", str(run), "--merged") == 6
    assert "--force" in commands.output
    assert (folder / "proof.json").stat().st_mtime_ns == before
    other = commands.folder / "mine"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    assert commands.run("export", str(run), "--merged", "--out", str(other), "--force") == 6
    assert (other / "thesis.txt").read_text() == "years of work"


def test_force_replaces_an_export(commands: Commands, run: Path) -> None:
    out = commands.folder / "twice"
    assert commands.run("export", str(run), "--adapter", "--out", str(out)) == 0, commands.output
    (out / "left.txt").write_text("old")
    assert commands.run("export", str(run), "--adapter", "--out", str(out), "--force") == 0
    assert not (out / "left.txt").exists()
    assert not list(commands.folder.glob(".tmp*"))


def test_a_signal_leaves_nothing(commands: Commands, run: Path) -> None:
    out = commands.folder / "stopped"
    code = commands.run(
        "export",
        str(run),
        "--merged",
        "--out",
        str(out),
        signals=((0.0, signal.SIGTERM),),
        when="merging",
    )
    assert code == 143, commands.output
    assert not out.exists()
    assert not list(commands.folder.glob(".tmp*"))
    assert "Traceback" not in commands.output


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ((), 2, "--merged, --adapter or --gguf"),
        (("--merged", "--gguf"), 2, "exclude each other"),
        (("--merged", "--quantize", "q8_0"), 2, "--quantize is for --gguf"),
        (("--gguf", "--dtype", "bfloat16"), 2, "--dtype is for --merged"),
        (("--merged", "--public"), 2, "--public is for --push"),
        (("--merged", "--push", "me/a--b"), 2, "owner/name"),
        (("--merged", "--step", "99"), 6, "there are 2, 4"),
        (("--merged", "--dtype", "int3"), 3, "bfloat16"),
        (("--merged", "--push", "no-owner"), 2, "owner/name"),
    ],
)
def test_mistakes_have_their_codes(
    commands: Commands, run: Path, options: tuple[str, ...], code: int, said: str
) -> None:
    out = commands.folder / "wrong"
    assert commands.run("export", str(run), *options, "--out", str(out)) == code, commands.output
    assert said in commands.output
    assert "Traceback" not in commands.output
    assert not out.exists()


def test_a_place_that_cannot_be_written(commands: Commands, run: Path) -> None:
    (commands.folder / "file").write_text("mine")
    assert commands.run("export", str(run), "--adapter", "--out", "file/below") == 6
    assert "the export could not be made: Not a directory" in commands.output
    assert "--out" in commands.output
    assert (commands.folder / "file").read_text() == "mine"


def test_what_is_no_run(commands: Commands) -> None:
    assert commands.run("export", "some/model", "--merged") == 2
    assert "no run" in commands.output


def test_a_damaged_policy_is_not_exported(commands: Commands, run: Path) -> None:
    copy = commands.folder / "copy"
    shutil.copytree(run, copy)
    path = copy / "final" / "adapter_model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert commands.run("export", str(copy), "--adapter") == 6
    assert "adapter_model.safetensors has changed" in commands.output
