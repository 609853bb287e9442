"""Writes a tiny random model folder (2 layers, character tokenizer, chat template), offline.

Fixtures ``tiny_model_folder`` (session, read-only) and ``make_tiny_model`` (a factory for variants)
stand in ``tests/conftest.py`` and in the conftest of the hf plugin's tests.
"""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Literal

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<unk>")
LETTERS = tuple(sorted(set(string.printable) - set("\r\x0b\x0c")))

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA = (
    "{{ bos_token }}{% for message in messages %}[{{ message['role'] }}]\n"
    "{{ message['content'] | trim }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}[assistant]\n{% endif %}"
)


def write_tiny_model(
    folder: Path,
    *,
    kind: Literal["qwen2", "llama"] = "llama",
    seed: int = 0,
    eos: str | None = "<|im_end|>",
    pad: str | None = "<|endoftext|>",
    template: str | None = CHATML,
    dtype: str = "float32",
    layers: int = 2,
    hidden: int = 32,
    spread: float = 0.3,
    adds_bos: bool = False,
) -> Path:
    """Writes config, weights, tokenizer and template of a random model; returns the folder.

    ``eos``, ``pad`` and ``template`` may be wrong or missing on purpose. ``spread`` is the standard
    deviation of the weights: large enough for greedy decoding to be far from a tie. ``AutoTokenizer``
    replaces the tokenizer of ``kind="qwen2"`` by its own class: load ``PreTrainedTokenizerFast`` there.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    vocab = len(SPECIAL) + len(LETTERS)
    shape = {
        "vocab_size": vocab,
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "initializer_range": spread,
        "tie_word_embeddings": kind == "qwen2",
        "bos_token_id": 1,
        "eos_token_id": None if eos is None else SPECIAL.index(eos),
        "pad_token_id": None if pad is None else SPECIAL.index(pad),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = (
            Qwen2ForCausalLM(Qwen2Config(**shape))
            if kind == "qwen2"
            else LlamaForCausalLM(LlamaConfig(**shape))
        )
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    write_tokenizer(folder, eos=eos, pad=pad, template=template, adds_bos=adds_bos)
    return folder


def write_tokenizer(
    folder: Path, *, eos: str | None, pad: str | None, template: str | None, adds_bos: bool
) -> None:
    """One token a character, plus four special tokens."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
    from tokenizers.processors import TemplateProcessing

    vocab = {token: index for index, token in enumerate((*SPECIAL, *LETTERS))}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    if adds_bos:
        tokenizer.post_processor = TemplateProcessing(
            single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]
        )
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|im_start|>",
        "eos_token": eos,
        "pad_token": pad,
        "unk_token": "<unk>",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 2048,
    }
    (folder / "tokenizer_config.json").write_text(
        json.dumps({key: value for key, value in settings.items() if value is not None}, indent=2)
    )
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
