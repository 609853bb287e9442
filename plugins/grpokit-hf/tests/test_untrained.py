"""``tiny-random``: any text is a completion, and the same model comes out every time."""

from __future__ import annotations

from pathlib import Path

import pytest

from grpokit_hf.catalogue import untrained
from grpokit_hf.hooks import grpokit_models
from grpokit_hf.text.tokenizer import ChatTokenizer
from grpokit_hf.weights import weights_hash

TEXTS = (
    "",
    "2 + 2",
    "Grüße, 日本\n\n  \\boxed{7}\t",
    "\x00\x7f\u200b\U0001f600",
    "<think>a</think>",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained.bring(tmp_path_factory.mktemp("tiny-random"))


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_round_trips(folder: Path, text: str) -> None:
    tokenizer = ChatTokenizer(folder)
    answer, *ids, opening = tokenizer.encode([{"role": "assistant", "content": text}])
    assert answer == opening
    assert ids[-1] == tokenizer.ends.main
    assert len(ids) == len(text.encode()) + 1
    assert tokenizer.decode(ids) == text


def test_nothing_has_to_be_repaired(folder: Path) -> None:
    assert ChatTokenizer(folder).notes == ()


def test_it_is_what_the_catalogue_says(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    (spec,) = (spec for spec in grpokit_models() if spec.name == "tiny-random")
    weights = load_file(folder / "model.safetensors")
    assert sum(weight.numel() for weight in weights.values()) == spec.parameters
    assert sum(path.stat().st_size for path in folder.iterdir()) < spec.size
    assert weights_hash(untrained.bring(tmp_path)) == weights_hash(folder)
