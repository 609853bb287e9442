"""A GGUF file becomes an ordinary model folder: config, bfloat16 safetensors, tokenizer, template.

Only the Llama architecture with a byte-level BPE tokenizer is read. The weights are dequantised
exactly as the format defines and rounded to bfloat16 once. The tokenizer is written from the
file's own tables: converters that go by the architecture give SmolLM2 a wrong end-of-sequence
token and forget that it reads digits one by one.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gguf import GGUFReader
    from torch import Tensor

__all__ = ["convert"]

log = logging.getLogger("grpokit.models")

LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
TOP_NAMES = {"token_embd": "embed_tokens", "output_norm": "norm"}
CONTROL = 3
"""Token type of tokens that are never produced from text."""


def convert(source: Path, folder: Path) -> None:
    """Writes the model folder. Takes a few seconds for 135 million weights."""
    from gguf import GGUFReader

    log.info("reading %s", source.name)
    reader = GGUFReader(str(source))
    meta = {name: field.contents() for name, field in reader.fields.items()}
    if meta["general.architecture"] != "llama" or meta["tokenizer.ggml.model"] != "gpt2":
        raise ValueError(f"{source.name} is no Llama model with a byte-level BPE tokenizer")
    folder.mkdir(parents=True, exist_ok=True)
    ids = special_ids(meta)
    write_json(folder / "config.json", model_config(meta, ids))
    generation = {
        "bos_token_id": ids["bos"],
        "eos_token_id": ids["eos"],
        "pad_token_id": ids["pad"],
    }
    write_json(folder / "generation_config.json", generation)
    write_tokenizer(meta, ids, folder)
    log.info("converting the weights to bfloat16 safetensors")
    write_weights(reader, meta, folder / "model.safetensors")


def special_ids(meta: dict[str, Any]) -> dict[str, int]:
    """Ids of bos, eos and pad.

    A pad token equal to eos makes code that masks by id drop real ends; then the unknown token
    (``<|endoftext|>`` in SmolLM2, which a chat never holds) pads.
    """
    eos = int(meta["tokenizer.ggml.eos_token_id"])
    unknown = int(meta["tokenizer.ggml.unknown_token_id"])
    pad = int(meta.get("tokenizer.ggml.padding_token_id", eos))
    return {
        "bos": int(meta["tokenizer.ggml.bos_token_id"]),
        "eos": eos,
        "unk": unknown,
        "pad": unknown if pad == eos else pad,
    }


def model_config(meta: dict[str, Any], ids: dict[str, int]) -> dict[str, Any]:
    heads = int(meta["llama.attention.head_count"])
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": ids["bos"],
        "dtype": "bfloat16",
        "eos_token_id": ids["eos"],
        "head_dim": int(meta["llama.rope.dimension_count"]),
        "hidden_act": "silu",
        "hidden_size": int(meta["llama.embedding_length"]),
        "initializer_range": 0.02,
        "intermediate_size": int(meta["llama.feed_forward_length"]),
        "max_position_embeddings": int(meta["llama.context_length"]),
        "mlp_bias": False,
        "num_attention_heads": heads,
        "num_hidden_layers": int(meta["llama.block_count"]),
        "num_key_value_heads": int(meta["llama.attention.head_count_kv"]),
        "pad_token_id": ids["pad"],
        # the file holds a float32; 9.999999747378752e-06 means 1e-5
        "rms_norm_eps": float(f"{meta['llama.attention.layer_norm_rms_epsilon']:.6g}"),
        "rope_parameters": {
            "rope_theta": float(meta["llama.rope.freq_base"]),
            "rope_type": "default",
        },
        "tie_word_embeddings": True,
        "use_cache": True,
        "vocab_size": int(meta["llama.vocab_size"]),
    }


def write_tokenizer(meta: dict[str, Any], ids: dict[str, int], folder: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens: list[str] = meta["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in meta["tokenizer.ggml.merges"]]
    vocab = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, fuse_unk=False))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    digits = [pre_tokenizers.Digits(individual_digits=True)]
    first = digits if meta["tokenizer.ggml.pre"] == "smollm" else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*first, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    types = meta["tokenizer.ggml.token_type"]
    control = [token for token, kind in zip(tokens, types, strict=True) if kind == CONTROL]
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in control]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_prefix_space": False,
        "bos_token": tokens[ids["bos"]],
        "eos_token": tokens[ids["eos"]],
        "pad_token": tokens[ids["pad"]],
        "unk_token": tokens[ids["unk"]],
        "clean_up_tokenization_spaces": False,
        "model_max_length": int(meta["llama.context_length"]),
    }
    write_json(folder / "tokenizer_config.json", settings)
    (folder / "chat_template.jinja").write_text(meta["tokenizer.chat_template"], encoding="utf-8")


def write_weights(reader: GGUFReader, meta: dict[str, Any], path: Path) -> None:
    """Dequantises every tensor and writes it under the name that transformers gives it."""
    import torch
    from gguf import dequantize
    from safetensors.torch import save_file

    heads = int(meta["llama.attention.head_count"])
    shared = int(meta["llama.attention.head_count_kv"])
    weights: dict[str, Tensor] = {}
    for tensor in reader.tensors:
        name, _, kind = tensor.name.removesuffix(".weight").rpartition(".")
        values = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy())
        if kind in ("attn_q", "attn_k"):
            values = split_rotary(values, heads if kind == "attn_q" else shared)
        layer = name.removeprefix("blk.")
        place = f"layers.{layer}.{LAYER_NAMES[kind]}" if layer else TOP_NAMES[kind]
        weights[f"model.{place}.weight"] = values.to(torch.bfloat16).contiguous()
    save_file(weights, path, metadata={"format": "pt"})


def split_rotary(weight_OI: Tensor, heads: int) -> Tensor:
    """Undoes the interleaving of rotary pairs.

    In each head the file has (x0, y0, x1, y1, ...), transformers wants (x0, x1, ..., y0, y1, ...).
    """
    rows, columns = weight_OI.shape
    pairs = weight_OI.reshape(heads, rows // heads // 2, 2, columns)
    return pairs.transpose(1, 2).reshape(rows, columns)


def write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
