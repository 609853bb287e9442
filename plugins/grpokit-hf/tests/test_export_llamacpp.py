"""An exported GGUF file under llama.cpp itself. Needs the package xllamacpp (a wheel without dependencies)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from grpokit.api import ExportRequest, Recipe, Sampling
from grpokit_hf.backend import HfBackend
from grpokit_hf.config import HfConfig
from grpokit_hf.export.weights import export_weights

pytestmark = pytest.mark.skipif(
    find_spec("xllamacpp") is None, reason="the package xllamacpp is not installed"
)

ASK = """
import json, sys
from xllamacpp import CommonParams, Server
params = CommonParams()
params.model.path, params.n_ctx, params.n_parallel, params.use_jinja = sys.argv[1], 512, 1, True
params.cpuparams.n_threads = 1
server = Server(params)
said = []
for question in json.loads(sys.argv[2]):
    answer = server.handle_chat_completions(
        {"messages": [{"role": "user", "content": question}], "temperature": 0, "max_tokens": 24}
    )
    answer = json.loads(answer) if isinstance(answer, str) else answer
    text = answer["choices"][0]["message"]["content"]
    said.append([text, answer["usage"]["prompt_tokens"]])
json.dump(said, open(sys.argv[3], "w"))
"""
QUESTIONS = ("2+2?", "What is 13 + 29?", "Say: yes!", "x" * 40)


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_llama_cpp_answers_alike(
    make_recipe: Callable[..., Recipe],
    open_backend: Callable[..., HfBackend],
    make_prompts: Any,
    tiny_model_folder: Path,
    tiny_qwen_folder: Path,
    tmp_path: Path,
    family: str,
) -> None:
    recipe = make_recipe(tiny_model_folder if family == "llama" else tiny_qwen_folder)
    trained = open_backend(recipe)
    torch.manual_seed(5)
    with torch.no_grad():
        for name, weight in trained.policy.weights.items():
            if "lora_B" in name:
                weight.add_(0.2 * torch.randn_like(weight))
    trained.save_policy(tmp_path / "policy")
    (tmp_path / "out").mkdir()
    export_weights(
        ExportRequest(
            recipe=recipe,
            policy=tmp_path / "policy",
            out=tmp_path / "out",
            form="gguf",
            type="f32",
            prompts=(({"role": "user", "content": QUESTIONS[0]},),),
        )
    )
    file, told = str(tmp_path / "out" / "model.gguf"), tmp_path / "said.json"
    done = subprocess.run(
        [sys.executable, "-c", ASK, file, json.dumps(QUESTIONS), str(told)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    backend = HfBackend(HfConfig(threads=1, device="cpu"))
    backend.open_checkpoint(recipe, tmp_path / "policy")
    sampling = Sampling(group=1, max_tokens=24, seed=1, step=0, temperature=0.0)
    rollout = backend.generate(make_prompts(*QUESTIONS), sampling)
    ours = [
        [until_padding(group[0].token_ids, backend), len(ids)]
        for group, ids in zip(rollout.completions, rollout.prompt_ids, strict=True)
    ]
    backend.close()
    assert json.loads(told.read_text()) == ours


def until_padding(ids: tuple[int, ...], backend: HfBackend) -> str:
    """llama.cpp stops at every token that is called ``<|endoftext|>``, whatever the file says."""
    end = ids.index(0) if 0 in ids else len(ids)
    return backend.policy.tokenizer.decode(ids[:end])
