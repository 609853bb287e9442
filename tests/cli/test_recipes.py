"""``grpokit recipes`` as a person calls it."""

import json
import os
import subprocess
import sys

import pytest
import yaml


@pytest.fixture
def grpokit(tmp_path):
    def run(*args):
        return subprocess.run(
            [sys.executable, "-m", "grpokit", "recipes", *args],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, "COLUMNS": "100"},
        )

    return run


def test_list(grpokit):
    done = grpokit("list")
    assert done.returncode == 0
    assert "quickstart" in done.stdout
    rows = {row["name"]: row for row in json.loads(grpokit("list", "--json").stdout)["recipes"]}
    assert rows["gsm8k-qwen"]["summary"].startswith("GRPO on GSM8K")
    assert rows["gsm8k-qwen"]["plugin"] == "grpokit"


def test_show_prints_the_text_and_the_origins(grpokit, tmp_path):
    assert "# Data and model come from" in grpokit("show", "gsm8k-qwen").stdout
    (tmp_path / "mine.yaml").write_text("extends: gsm8k-qwen\nrollout: {group: 16}\n")
    resolved = grpokit("show", "mine.yaml", "--resolved", "--set", "optim.lr=1e-6").stdout
    lines = {line.split("#")[0].strip(): line.partition("# ")[2] for line in resolved.splitlines()}
    assert lines["group: 16"] == "mine.yaml:2:18"
    assert lines["lr: 1.0e-06"] == "--set optim.lr"
    assert lines["top_p: 1.0"] == "default"
    assert "gsm8k-qwen.yaml:" in lines["id: Qwen/Qwen3-0.6B"]
    (tmp_path / "copy.yaml").write_text(resolved)
    assert grpokit("check", "copy.yaml").returncode == 0
    data = json.loads(grpokit("show", "mine.yaml", "--json").stdout)
    assert data["recipe"]["rollout"]["group"] == 16
    assert yaml.safe_load(grpokit("show", "mine.yaml", "--set", "train.steps=3").stdout)["train"][
        "steps"
    ] == 3  # fmt: skip


def test_check_good_and_bad_together(grpokit, tmp_path):
    (tmp_path / "bad.yaml").write_text("grpokit: 1\nrolout: {}\n")
    done = grpokit("check", "quickstart", "bad.yaml", "missing.yaml")
    assert done.returncode == 2
    assert done.stdout == "quickstart: ok\n"
    assert "bad.yaml:2:1: K401 " in done.stderr
    assert "bad.yaml: 4 problems" in done.stderr
    assert "missing.yaml:1:1: F101 " in done.stderr
    assert grpokit("check", "quickstart", "--set", "rollout.group=16").returncode == 0
    assert (
        "--set rollout.group: K404 "
        in grpokit("check", "quickstart", "--set", "rollout.group=x").stderr
    )
    assert grpokit("check").returncode == 2


def test_a_missing_plugin_ends_with_3(grpokit, tmp_path, monkeypatch):
    monkeypatch.setenv("GRPOKIT_PLUGINS", "hf")
    (tmp_path / "r.yaml").write_text("extends: quickstart\ndataset: {use: math/gsm8k}\n")
    done = grpokit("check", "r.yaml")
    assert done.returncode == 3
    assert "C504 the dataset `math/gsm8k`" in done.stderr
    assert "grpokit-math" in done.stderr


def test_notes_are_shown_and_do_not_fail(grpokit, tmp_path):
    (tmp_path / "r.yaml").write_text("extends: quickstart\neval: {top_p: 0.9}\n")
    done = grpokit("check", "r.yaml")
    assert done.returncode == 0
    assert "r.yaml:2:15: R616 note: eval.top_p has no effect" in done.stderr


def test_diff(grpokit, tmp_path):
    (tmp_path / "r.yaml").write_text("extends: quickstart\nrollout: {group: 99}\n")
    done = grpokit("diff", "quickstart", "r.yaml")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["key", "rollout.group"]
    (only,) = json.loads(grpokit("diff", "quickstart", "r.yaml", "--json").stdout)["differences"]
    assert (only["key"], only["right"], only["right_origin"]) == (
        "rollout.group",
        99,
        "r.yaml:2:18",
    )
    assert "mean the same run" in grpokit("diff", "quickstart", "quickstart").stdout
    assert grpokit("diff", "quickstart", "nothing").returncode == 2


def test_a_recipe_with_foreign_code_can_be_looked_at(grpokit, tmp_path):
    """One has to see what one agrees to. Nothing of it is imported."""
    (tmp_path / "theirs.py").write_text(
        "raise SystemExit('imported')\ndef fn(completions, **kwargs): ...\n"
    )
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "grpokit: 1\nextends: quickstart\nrewards: [{use: 'trl:theirs.py:fn'}]\neval: {correct: fn}\n"
    )
    for more in ((), ("--resolved",), ("--json",)):
        done = grpokit("show", "r.yaml", *more)
        assert (done.returncode, done.stderr) == (0, "")
        assert "trl:theirs.py:fn" in done.stdout
    assert "trl:theirs.py:fn" in grpokit("diff", "quickstart", "r.yaml").stdout
    assert "--allow-foreign-rewards" in grpokit("check", "r.yaml").stderr


def test_schema(grpokit, tmp_path):
    printed = json.loads(grpokit("schema").stdout)
    done = grpokit("schema", "--out", "recipe.schema.json")
    assert json.loads((tmp_path / "recipe.schema.json").read_text()) == printed
    assert "# yaml-language-server: $schema=recipe.schema.json" in done.stdout
    failed = grpokit("schema", "--out", "no/such/folder/x.json")
    assert failed.returncode == 3
    assert "Traceback" not in failed.stderr


def test_hostile_text_in_a_recipe_stays_harmless(grpokit, tmp_path):
    (tmp_path / "r.yaml").write_text('extends: quickstart\nsummary: "\\e[31mred \\u202e [bold]"\n')
    for args in (
        ("show", "r.yaml", "--resolved"),
        ("show", "r.yaml"),
        ("diff", "quickstart", "r.yaml"),
    ):
        done = grpokit(*args)
        assert done.returncode == 0
        assert "\x1b" not in done.stdout
        assert "\u202e" not in done.stdout
    (tmp_path / "k.yaml").write_text('"\\e[31mkey": 1\n')
    assert "\x1b" not in grpokit("check", "k.yaml").stderr
