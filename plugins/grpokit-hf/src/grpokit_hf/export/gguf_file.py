"""One GGUF file of a merged model, for programs of the llama.cpp family.

Names of tensors and keys are those of the package gguf. Written are models of the kinds Llama,
Qwen2 and Qwen3 with ordinary rotary positions; others are refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpokit.api import PreflightError
from grpokit_hf.export.gguf_words import words_of
from grpokit_hf.export.source import Source
from grpokit_hf.export.words import special_ids

if TYPE_CHECKING:
    import gguf
    from torch import Tensor

__all__ = ["GGUF_TYPES", "check_gguf", "join_rotary", "write_gguf"]

GGUF_TYPES = ("f32", "f16", "bf16", "q8_0")
FAMILIES = ("llama", "qwen2", "qwen3")
BLOCK = 32


def check_gguf(config: Any, place: str) -> None:
    """Refuses what would be written wrongly."""
    rope = getattr(config, "rope_parameters", None) or {}
    layers = set(getattr(config, "layer_types", None) or ["full_attention"])
    wrong = ""
    if config.model_type not in FAMILIES:
        wrong = f"the architecture {config.model_type!r} is not written (but {', '.join(FAMILIES)})"
    elif rope.get("rope_type", "default") != "default":
        wrong = f"rotary positions of the type {rope['rope_type']!r} are not written"
    elif layers != {"full_attention"}:
        wrong = "attention in sliding windows is not written"
    elif config.model_type == "llama" and (config.attention_bias or config.mlp_bias):
        wrong = "biases in a Llama model are not written"
    if wrong:
        raise PreflightError(
            wrong,
            place=place,
            remedy="use --merged, and convert that folder with llama.cpp's own program",
        )


def write_gguf(model: Any, source: Source, kind: str, path: Path) -> tuple[str, ...]:
    """Writes weights, settings, tokenizer and chat template; returns notes for people."""
    from gguf import GGML_QUANT_VERSION, GGUFWriter, LlamaFileType

    config = model.config
    check_gguf(config, str(source.base))
    words = words_of(source.tokenizer, config.vocab_size)
    writer = GGUFWriter(path, config.model_type)
    writer.add_type("model")
    writer.add_name(path.stem)
    types = {
        "f32": LlamaFileType.ALL_F32,
        "f16": LlamaFileType.MOSTLY_F16,
        "bf16": LlamaFileType.MOSTLY_BF16,
        "q8_0": LlamaFileType.MOSTLY_Q8_0,
    }
    writer.add_file_type(types[kind])
    writer.add_quantization_version(GGML_QUANT_VERSION)
    add_shape(writer, config)
    add_words(writer, source, words)
    add_weights(writer, model, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return words.notes


def add_shape(writer: gguf.GGUFWriter, config: Any) -> None:
    heads = config.num_attention_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // heads
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_key_length(head)
    writer.add_value_length(head)
    if config.model_type == "llama":
        writer.add_rope_dimension_count(head)
        writer.add_vocab_size(config.vocab_size)


def add_words(writer: gguf.GGUFWriter, source: Source, words: Any) -> None:
    tokenizer = source.tokenizer
    ids = special_ids(tokenizer)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(words.pre)
    writer.add_token_list(words.tokens)
    writer.add_token_types(words.kinds)
    writer.add_token_merges(words.merges)
    writer.add_eos_token_id(ids["eos"])
    writer.add_pad_token_id(ids["pad"])
    if "bos" in ids:
        writer.add_bos_token_id(ids["bos"])
    if "unk" in ids:
        writer.add_unk_token_id(ids["unk"])
    # Templates write their own beginning; another one would be a token that training never saw.
    writer.add_add_bos_token(value=False)
    writer.add_add_eos_token(value=False)
    writer.add_add_space_prefix(value=False)
    writer.add_chat_template(tokenizer.template.source)


def add_weights(writer: gguf.GGUFWriter, model: Any, kind: str) -> None:
    """Every tensor once, under the file's name for it; vectors stay float32."""
    from gguf import MODEL_ARCH, get_tensor_name_map, quants

    config = model.config
    families = {
        "llama": MODEL_ARCH.LLAMA,
        "qwen2": MODEL_ARCH.QWEN2,
        "qwen3": MODEL_ARCH.QWEN3,
    }
    names = get_tensor_name_map(families[config.model_type], config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        stored = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if stored is None:
            raise PreflightError(
                f"the weight {name} has no place in a GGUF file",
                place=config.model_type,
                remedy="use --merged",
            )
        values = tensor.detach().float().cpu()
        heads = rotary_heads(name, config)
        if heads:
            values = join_rotary(values, heads)
        numbers = values.contiguous().numpy()
        type_ = number_type(values, kind)
        writer.add_tensor(stored, quants.quantize(numbers, type_), raw_dtype=type_)


def rotary_heads(name: str, config: Any) -> int:
    """Heads whose rows are reordered; Qwen's are not, because its runtime pairs halves."""
    if config.model_type != "llama":
        return 0
    found = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    return int(found.get(name.split(".")[-2], 0))


def join_rotary(weight_OI: Tensor, heads: int) -> Tensor:
    """Interleaves rotary pairs.

    In each head transformers has (x0, x1, ..., y0, y1, ...), the file wants (x0, y0, x1, y1, ...).
    """
    rows, columns = weight_OI.shape
    halves = weight_OI.reshape(heads, 2, rows // heads // 2, columns)
    return halves.transpose(1, 2).reshape(rows, columns)


def number_type(values: Tensor, kind: str) -> gguf.GGMLQuantizationType:
    """The type that is asked for; float32 for vectors, float16 where blocks do not fit."""
    from gguf import GGMLQuantizationType as Type

    if values.dim() < 2:
        return Type.F32
    if kind == "q8_0" and values.shape[-1] % BLOCK:
        return Type.F16
    return {"f32": Type.F32, "f16": Type.F16, "bf16": Type.BF16, "q8_0": Type.Q8_0}[kind]
