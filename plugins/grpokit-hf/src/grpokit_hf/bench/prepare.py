"""Brings a model for the bench, or makes one of a known shape with random weights. Nothing is trained."""

from __future__ import annotations

import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from grpokit.api import PreflightError
from grpokit_hf.locate import complete, ensure, locate
from grpokit_hf.text.tokenizer import ChatTokenizer, read_json

__all__ = ["SHAPES", "TEXT", "prepare"]

TEXT = """\
A farmer sells eggs at the market on every day of the week but Sunday. On Monday she brought 144 eggs and
sold two thirds of them before noon. In the afternoon it rained, and half of what was left stayed in the
baskets. A dozen costs 3 dollars and 60 cents, single eggs cost 35 cents each, and whoever returns a box
gets 10 cents back. On Tuesday she met her brother, who grows potatoes, carrots and beans behind the old
mill. He owed her for 18 eggs since March; she owed him for seven bags of potatoes, 2.5 kilograms each. They
agreed to settle everything at once, and wrote the sums on the back of an envelope: first the eggs, then
the potatoes, then the difference. Explain how much money changes hands, who pays it, and how many eggs are
left on Tuesday evening if the neighbours buy as many as all of the customers of Monday afternoon together.
Show each step of the reasoning on a line of its own, check the result, and put the answer at the end.
"""

QWEN = {"num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True}
SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 128,
        "tie_word_embeddings": True,
        "initializer_range": 0.2,
    },
    "smollm2-135m": {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "vocab_size": 49152,
        "tie_word_embeddings": True,
    },
    "qwen2.5-0.5b": {
        **QWEN,
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
    },
    "qwen2.5-1.5b": {
        **QWEN,
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
    },
}
"""Sizes of models whose weights are drawn by lot."""
WINDOW = 32768
SEED = 7


def prepare(model: str, shape: str, folder: Path) -> dict[str, Any]:
    """The model's folder, its vocabulary, and the tokens of :data:`TEXT`.

    Raises:
        PreflightError: the shape is unknown, or the model cannot be had.
    """
    if shape:
        place = of_shape(shape, folder / "models" / shape)
    else:
        place = ensure(locate(model), say=lambda line: print(line, file=sys.stderr))  # noqa: T201
    tokenizer = ChatTokenizer(place)
    own = [token for token in tokenizer.encode_text(TEXT) if token not in tokenizer.special]
    config = read_json(place / "config.json")
    return {
        "name": f"random weights of the shape {shape}" if shape else model,
        "folder": str(place.absolute()),
        "vocabulary": config.get("vocab_size", 0),
        "tokens": own,
    }


def of_shape(shape: str, folder: Path) -> Path:
    """A Llama (or Qwen2) of that shape with random weights, in bfloat16, made once."""
    if shape not in SHAPES:
        near = get_close_matches(shape, SHAPES, n=1)
        raise PreflightError(
            f"there is no shape {shape!r}",
            place="--shape",
            remedy=(f"did you mean {near[0]}? " if near else "") + f"there are {', '.join(SHAPES)}",
        )
    if not complete(folder):
        make(shape, folder)
    return folder


def make(shape: str, folder: Path) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM
    from transformers.utils import logging as transformers_logging

    from grpokit_hf.catalogue.tiny import END, PAD, START, letter_tokenizer, write_tokenizer

    transformers_logging.disable_progress_bar()
    ends = {"bos_token_id": START, "eos_token_id": END, "pad_token_id": PAD}
    sizes = {"max_position_embeddings": WINDOW, **SHAPES[shape], **ends}
    torch.manual_seed(SEED)
    model: Any
    if shape.startswith("qwen2"):
        model = Qwen2ForCausalLM(Qwen2Config(**sizes))
    else:
        model = LlamaForCausalLM(LlamaConfig(**sizes))
    folder.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(folder)
    write_tokenizer(folder, letter_tokenizer(), longest=WINDOW)
