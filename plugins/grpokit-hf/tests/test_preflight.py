"""What is said before torch is imported: every problem at once, with a command, fast."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from grpokit_hf.preflight import preflight


@pytest.fixture(autouse=True)
def away_from_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf-home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("GRPOKIT_CACHE", str(tmp_path / "cache"))


def facts(found) -> dict[str, str]:
    return {problem.code: f"{problem.fact}; {problem.remedy}" for problem in found.problems}


def test_a_local_model_is_ready(make_recipe):
    found = preflight(make_recipe())
    assert found.problems == ()
    assert found.notes == ()
    assert found.device.startswith("cpu")
    assert found.dimensions["num_hidden_layers"] == 2
    assert found.dimensions["parameters"] == 2 * 101 * 32 + 2 * 9280 + 32
    assert {"torch", "transformers", "peft"} <= set(found.versions)
    text = found.render([{"role": "user", "content": "hi"}])
    assert text == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert found.count("hi") == 2


def test_training_renders_what_plan_showed(make_recipe, open_backend, make_prompts):
    recipe = make_recipe()
    found, backend = preflight(recipe), open_backend(recipe)
    for prompt in make_prompts():
        text = found.render(prompt.messages)
        assert backend.encode(prompt.messages) == backend.policy.tokenizer.encode_text(text)
        assert found.count(text) == len(backend.encode(prompt.messages))


def test_processes_and_gpus(make_recipe, monkeypatch):
    """More processes than GPUs are refused; a way of sharing without anybody to share with is said."""
    from grpokit_hf import preflight as module

    alone = make_recipe(backend={"use": "hf", "with": {"parallel": "fsdp", "device": "cpu"}})
    problem = preflight(alone).problems[0]
    assert (problem.level, problem.code) == ("warning", "HF016")
    assert "--processes 2" in problem.remedy
    assert preflight(make_recipe(train={"processes": 3})).problems == ()  # on a CPU

    monkeypatch.setattr(module, "gpu_names", lambda: ["NVIDIA A"])
    monkeypatch.setattr(module, "cuda_build", lambda _: True)
    recipe = make_recipe(backend={"use": "hf", "with": {"device": "cuda"}}, train={"processes": 3})
    problem = preflight(recipe).problems[0]
    assert (problem.level, problem.key) == ("error", "train.processes")
    assert problem.fact == "3 processes need a GPU each, and there is 1"


def test_a_hub_model_out_of_reach_names_the_commands(make_recipe):
    found = preflight(make_recipe(model={"id": "Qwen/Qwen3-0.6B"}))
    text = facts(found)["HF004"]
    assert found.problems[0].level == "error"
    assert "HF_HUB_OFFLINE is set" in text
    assert "hf download Qwen/Qwen3-0.6B" in text
    assert "model.id=smollm2-135m-instruct" in text


def test_an_unreachable_hub_is_found_out_quickly(make_recipe, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.invalid")
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    start = time.perf_counter()
    text = facts(preflight(make_recipe(model={"id": "Qwen/Qwen3-0.6B"})))["HF004"]
    assert time.perf_counter() - start < 1.0
    assert "cannot be reached" in text


def test_a_catalogued_model_says_that_it_will_be_brought(make_recipe):
    found = preflight(make_recipe(model={"id": "smollm2-135m-instruct"}))
    assert found.problems[0].level == "info"
    assert "grpokit models pull smollm2-135m-instruct" in facts(found)["HF004"]


def test_a_wrong_end_token_is_told(make_recipe, make_tiny_model):
    folder = make_tiny_model(eos="<|im_start|>")
    found = preflight(make_recipe(folder))
    assert "opens turns" in found.notes[0]


def test_all_problems_at_once(make_recipe, make_tiny_model):
    folder = make_tiny_model(template=None)
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), "model_type": "newest-thing", "auto_map": {}}
    path.write_text(json.dumps(config))
    recipe = make_recipe(
        folder,
        model={"id": str(folder), "lora": {"targets": ["q_proj", "qq_proj"]}},
        rollout={"max_tokens": 4096},
        backend={"use": "hf", "with": {"device": "cuda"}},
    )
    told = facts(preflight(recipe))
    assert set(told) >= {"HF005", "HF006", "HF007", "HF009"}
    assert "never run" in told["HF006"]
    assert "qq_proj" in told["HF009"]
    assert "o_proj" in told["HF009"]


def test_it_imports_no_torch_and_is_fast(tiny_model_folder: Path):
    code = (
        "import sys, time\n"
        "from grpokit.api import Recipe\n"
        f"recipe = Recipe.model_validate({{'grpokit': 1, 'model': {{'id': {str(tiny_model_folder)!r}}},"
        " 'dataset': {'use': 'inline'}, 'rewards': [{'use': 'exact'}]})\n"
        "from grpokit_hf import hooks, hub\n"
        "from grpokit_hf.preflight import preflight\n"
        "start = time.perf_counter()\n"
        "found = preflight(recipe)\n"
        "print(time.perf_counter() - start, found.render is not None)\n"
        "print([m for m in ('torch', 'transformers', 'numpy', 'datasets') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert float(first.split()[0]) < 1.0  # a third of that on an idle machine
    assert first.endswith("True")
    assert second == "[]"


def test_a_cpu_without_a_compiler_is_told(make_recipe, monkeypatch, tmp_path: Path):
    """And only there: not where the C code is not wanted, and not for a compiler that is there."""
    from grpokit_hf import preflight as module

    monkeypatch.setattr(module, "gpu_names", list)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    off = make_recipe(backend={"use": "hf", "with": {"native": False}})
    (problem,) = preflight(make_recipe()).problems
    assert (problem.level, problem.code) == ("warning", "HF019")
    assert "no C compiler: cc, gcc, clang not found" in problem.fact
    assert preflight(off).problems == ()
    clang = tmp_path / "clang"
    clang.write_text("#!/bin/sh\n", encoding="utf-8")
    clang.chmod(0o755)
    assert preflight(make_recipe()).problems == ()
