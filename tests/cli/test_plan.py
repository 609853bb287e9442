"""`grpokit plan`: readable at 80 columns, quick, without torch, with the right exit code."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from grpokit.cli.plan import show
from grpokit.compose.load import Loaded
from grpokit.compose.plan import make_plan
from grpokit.spec.recipe import Recipe
from toy_parts import toy_catalog

ROOT = Path(__file__).parents[2]
DATA = {
    "grpokit": 1,
    "summary": "Toy additions.",
    "model": {"id": "toy"},
    "dataset": {"use": "sums"},
    "prompt": {"use": "boxed"},
    "rewards": [{"use": "boxed"}],
    "backend": {"use": "toy"},
}


def shown(capsys, **sections):
    recipe = Recipe.model_validate({**DATA, **sections})
    loaded = Loaded(recipe=recipe, name="toy", path=None, data={}, provenance={})
    show(make_plan(loaded, toy_catalog()), "toy.yaml", ["train.out=my runs"])
    return capsys.readouterr().out


def test_sections_fit_80_columns(capsys):
    out = shown(capsys, eval={"dataset": {"use": "sums"}, "limit": 20})
    assert max(map(len, out.splitlines())) <= 80
    heads = [line for line in out.splitlines() if re.match(r"[a-z]", line)]
    for head in ("components", "run", "columns", "warnings", "hints"):
        assert head in heads
    assert "rewards on real rows (the answer written as: boxed)" in out
    assert "prompt of row 0 (80 tokens)" in out
    assert "note: the tokenizer names <x> as the end" in out
    assert re.search(r"kv cache +\d", out)
    assert out.endswith("ready: grpokit train toy.yaml --set 'train.out=my runs'\n")


def test_problems_stand_with_their_remedies(capsys):
    out = shown(capsys, model={"id": "elsewhere\x1b[31m"}, rewards=[{"use": "nan"}])
    assert "\x1b" not in out
    assert "T001 model.id: elsewhere\\x1b[31m is not on this machine" in out
    assert "-> run `fetch it`" in out
    assert "P204" in out
    assert "without the model's chat template" in out
    assert out.endswith("cannot run here: 2 problems\n")


def grpokit(*arguments, **environ):

    return subprocess.run(
        [sys.executable, "-c", "from grpokit.cli.main import run; run()", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "80", **environ},
        timeout=60,
        check=False,
    )


def test_the_quickstart_plan_runs_without_torch_and_ends_with_the_command(tmp_path):
    found = grpokit("plan", "quickstart", "--set", "train.out=x", GRPOKIT_CACHE=str(tmp_path))
    assert found.returncode == 0, found.stderr
    assert "Traceback" not in found.stderr
    assert max(map(len, found.stdout.splitlines())) <= 80
    assert found.stdout.endswith("ready: grpokit train quickstart --set train.out=x\n")
    assert "grpokit models pull smollm2-135m-instruct" in found.stdout


def test_json_is_the_whole_plan_and_nothing_else(tmp_path):
    found = grpokit("plan", "quickstart", "--json", GRPOKIT_CACHE=str(tmp_path))
    assert found.returncode == 0, found.stderr
    data = json.loads(found.stdout)
    assert data["name"] == "quickstart"
    assert data["arithmetic"]["completions_per_step"] > 0
    golds = [row["gold"] for row in data["trials"]["rows"]]
    assert golds
    assert all(gold == 1.0 for gold in golds)


@pytest.mark.parametrize("command", ["plan", "train"])
def test_gsm8k_without_a_hub_says_what_is_missing_and_which_command_works(command, tmp_path):
    start = time.perf_counter()
    found = grpokit(
        command,
        "gsm8k-qwen",
        HF_HUB_OFFLINE="1",
        HF_HOME=str(tmp_path),
        GRPOKIT_CACHE=str(tmp_path),
    )
    took = time.perf_counter() - start
    assert found.returncode == 3
    said = " ".join((found.stdout + found.stderr).split())
    assert "Traceback" not in said
    assert "Qwen/Qwen3-0.6B is not on this machine" in said
    assert "hf download Qwen/Qwen3-0.6B" in said
    assert "--set model.id=smollm2-135m-instruct" in said
    assert "hf download --repo-type dataset openai/gsm8k" in said
    assert took < 5  # under a second on a quiet machine; CI is not quiet
    assert not list(tmp_path.glob("runs/*"))


def test_the_plan_imports_no_torch(tmp_path):
    code = (
        "import sys; from grpokit.cli.main import main; code = main(['plan', 'quickstart']);"
        "sys.exit(code or any(m in sys.modules for m in ('torch', 'transformers', 'datasets', 'numpy')))"
    )

    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "GRPOKIT_CACHE": str(tmp_path)},
        timeout=60,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-2000:]
    assert "quickstart" in found.stdout


def test_a_wrong_recipe_is_a_usage_error():
    found = grpokit("plan", "quickstart", "--set", "rollout.group=many")
    assert found.returncode == 2
    assert "rollout.group" in found.stderr
