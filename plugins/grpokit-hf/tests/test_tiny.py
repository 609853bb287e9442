"""The tiny model itself: transformers reads it back."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.mark.parametrize("kind", ["qwen2", "llama"])
def test_transformers_reads_the_tiny_model(make_tiny_model, kind: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    folder: Path = make_tiny_model(kind=kind)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    text = "What is 2 + 3?\nx"
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert tokenizer.eos_token == "<|im_end|>"
    with torch.no_grad():
        assert model(torch.tensor([ids])).logits.isfinite().all()
