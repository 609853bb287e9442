"""GGUF files: read back by transformers they are the trained model; their tokenizer is that of training."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGMLQuantizationType, GGUFReader
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from grpokit.api import CheckpointError, ExportRequest, PreflightError, Recipe
from grpokit_hf.catalogue.gguf import split_rotary
from grpokit_hf.export import gguf_file
from grpokit_hf.export.gguf_file import join_rotary
from grpokit_hf.export.gguf_words import CUT, DIGITS, byte_letters, words_of
from grpokit_hf.export.weights import export_weights
from grpokit_hf.text.tokenizer import ChatTokenizer

TALKS = tuple(({"role": "user", "content": text},) for text in ("2+2?", "Say yes."))
NAME = "some-run"


@pytest.fixture
def export(tmp_path: Path, open_backend: Callable[..., Any]) -> Callable[..., Any]:
    """Exports a randomly moved policy of a recipe; returns (proof, reader)."""

    def make(recipe: Recipe, kind: str) -> tuple[dict[str, Any], GGUFReader]:
        backend = open_backend(recipe)
        torch.manual_seed(5)
        with torch.no_grad():
            for name, weight in backend.policy.weights.items():
                if "lora_B" in name:
                    weight.add_(0.2 * torch.randn_like(weight))
        backend.save_policy(tmp_path / "policy")
        (tmp_path / "out").mkdir()
        request = ExportRequest(
            recipe=recipe,
            policy=tmp_path / "policy",
            out=tmp_path / "out",
            form="gguf",
            type=kind,
            name=NAME,
            prompts=TALKS,
        )
        proof = dict(export_weights(request).proof)
        return proof, GGUFReader(str(tmp_path / "out" / f"{NAME}.gguf"))

    return make


@pytest.mark.parametrize("kind", ["f32", "q8_0"])
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_read_back_by_transformers(
    make_recipe: Callable[..., Recipe],
    export: Any,
    tiny_model_folder: Path,
    tiny_qwen_folder: Path,
    family: str,
    kind: str,
) -> None:
    folder = tiny_model_folder if family == "llama" else tiny_qwen_folder
    proof, reader = export(make_recipe(folder), kind)
    assert proof["answers"]["other"] == 0
    if kind == "f32":
        assert proof["answers"]["equal"] == 2
        assert proof["difference"]["max"] < 1e-4
    assert proof["moved"]["max"] > 0.1
    assert reader.fields["general.architecture"].contents() == family
    matrices = {t.tensor_type for t in reader.tensors if len(t.shape) == 2}
    vectors = {t.tensor_type for t in reader.tensors if len(t.shape) == 1}
    assert matrices == {GGMLQuantizationType[kind.upper()]}
    assert vectors == {GGMLQuantizationType.F32}


def test_the_file_says_how_a_turn_ends(
    make_recipe: Callable[..., Recipe], export: Any, make_tiny_model: Any
) -> None:
    """Also where the base's own tokenizer names another token."""
    _, reader = export(make_recipe(make_tiny_model("odd", eos="<|im_start|>", pad=None)), "f16")
    said = {name: field.contents() for name, field in reader.fields.items()}
    tokens = said["tokenizer.ggml.tokens"]
    assert tokens[said["tokenizer.ggml.eos_token_id"]] == "<|im_end|>"
    assert tokens[said["tokenizer.ggml.padding_token_id"]] == "<unk>"
    assert said["tokenizer.ggml.add_bos_token"] is False
    assert "<|im_start|>" in said["tokenizer.chat_template"]
    assert said["tokenizer.ggml.token_type"][:4] == [3, 3, 3, 3]
    assert tokens[5:].count("\u0120") == 1  # the space, as byte-level BPE writes it


def test_rotary_pairs_must_be_interleaved(
    make_recipe: Callable[..., Recipe], export: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_file, "rotary_heads", lambda *_: 0)
    with pytest.raises(CheckpointError, match="not proved: log-probabilities"):
        export(make_recipe(), "f32")


@pytest.mark.parametrize("wrong", ["tokens", "kinds", "merges", "pre"])
def test_a_wrong_table_of_tokens_is_refused(
    make_recipe: Callable[..., Recipe], export: Any, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    """transformers does not read these tables, so log-probabilities do not show it."""

    def other(*given: Any) -> Any:
        words = words_of(*given)
        twisted = {
            "tokens": [words.tokens[0], *words.tokens[2:], words.tokens[1]],
            "kinds": [*words.kinds[:-1], 5],
            "merges": ["a b"],
            "pre": "qwen2",
        }
        return replace(words, **{wrong: twisted[wrong]})

    monkeypatch.setattr(gguf_file, "words_of", other)
    with pytest.raises(CheckpointError, match=r"not proved: .*other tokens"):
        export(make_recipe(), "f32")


def test_interleaving_is_undone_by_the_reader_of_the_catalogue() -> None:
    weight_OI = torch.arange(4 * 8 * 3, dtype=torch.float32).reshape(32, 3)
    assert torch.equal(split_rotary(join_rotary(weight_OI, 4), 4), weight_OI)
    assert join_rotary(weight_OI, 4)[:4, 0].tolist() == [0.0, 12.0, 3.0, 15.0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "gemma3"}, "'gemma3' is not written"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}}, "'llama3'"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "sliding"),
        ({"attention_bias": True}, "biases"),
    ],
)
def test_other_models_are_refused(
    changes: dict[str, Any], reason: str, tiny_model_folder: Path
) -> None:
    from types import SimpleNamespace

    config = json.loads((tiny_model_folder / "config.json").read_text())
    with pytest.raises(PreflightError, match=reason):
        gguf_file.check_gguf(SimpleNamespace(**{**config, **changes}), "here")


def bpe(folder: Path, cut: Any) -> Path:
    """Replaces the tokenizer of a model folder by a trained byte-level BPE."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = cut
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<unk>"]
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=byte_letters(), show_progress=False
    )
    tokenizer.train_from_iterator(["the cat is on the mat 1234 ünder the", "then 77"] * 9, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
WHOLE = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


@pytest.mark.parametrize(
    ("cut", "name"),
    [
        (WHOLE, "gpt-2"),
        (pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), WHOLE]), "smollm"),
        (
            pre_tokenizers.Sequence(
                [pre_tokenizers.Split(Regex(CUT % DIGITS["n"]), behavior="isolated"), BYTES]
            ),
            "qwen2",
        ),
        (
            pre_tokenizers.Sequence(
                [pre_tokenizers.Split(Regex(CUT % DIGITS["n3"]), behavior="isolated"), BYTES]
            ),
            "llama-bpe",
        ),
    ],
)
def test_known_cuts_have_names(make_tiny_model: Any, cut: Any, name: str) -> None:
    tokenizer = ChatTokenizer(bpe(make_tiny_model(), cut))
    words = words_of(tokenizer, 310)
    assert words.pre == name
    assert words.tokens[:4] == ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<unk>"]
    assert len(words.tokens) == 310
    assert words.tokens[-1] == "[PAD309]"
    assert words.kinds[-1] == 5
    assert "h e" in words.merges


@pytest.mark.parametrize(
    "cut",
    [
        pre_tokenizers.Metaspace(),
        pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=False), WHOLE]),
        pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(r"\d{1,3}|\D+"), behavior="isolated"), BYTES]
        ),
        pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True),
    ],
)
def test_unknown_cuts_are_refused(make_tiny_model: Any, cut: Any) -> None:
    tokenizer = ChatTokenizer(bpe(make_tiny_model(), cut))
    with pytest.raises(PreflightError, match="cannot be written into a GGUF file"):
        words_of(tokenizer, 300)


def test_more_tokens_than_embeddings_are_refused(tiny_model_folder: Path) -> None:
    with pytest.raises(PreflightError, match="embeddings"):
        words_of(ChatTokenizer(tiny_model_folder), 50)


def test_bytes_have_the_letters_of_byte_level_bpe() -> None:
    assert set(byte_letters()) == set(pre_tokenizers.ByteLevel.alphabet())
    encoded = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(" \n")
    assert "".join(text for text, _ in encoded) == byte_letters()[32] + byte_letters()[10]
