"""Whether a loaded adapter is heard: an evaluation that ignores it measures the base model, and looks sound.

That every weight arrived is checked where they are loaded (``load.load_adapter``). This asks whether they
are computed with: the same question is answered with the adapter and with its matrices B set to 0. Where the
adapter is too small for bfloat16 to show it for sure, nothing is decided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from grpokit.api import CheckpointError, Prompt, Sampling
from grpokit_hf.nn import lora

__all__ = ["QUESTION", "TOKENS", "check_applied"]

QUESTION = Prompt(
    id="canary",
    index=0,
    row={},
    messages=({"role": "user", "content": "What is 17 + 25?"},),
)
TOKENS = Sampling(group=1, max_tokens=4, temperature=0.0)
LEAST = 2.0**-10
"""|s B A| over |W| of the most changed layer from which rounding to bfloat16 cannot hide it."""


def check_applied(model: torch.nn.Module, answer: Callable[[], Any], folder: Path) -> None:
    """``answer`` gives what the model says, as something that can be compared.

    Raises:
        CheckpointError: the adapter is not 0, and what the model says is the same without it.
    """
    layers = lora.lora_layers(model)
    if max(map(_change, layers), default=0.0) < LEAST:
        return
    heard = answer()
    with _silent(layers):
        plain = answer()
    if heard == plain:
        raise CheckpointError(
            "the adapter is loaded, but not computed with: the model says the same without it",
            place=str(folder),
            remedy="report it; `grpokit export` merges the adapter into weights that can be evaluated",
        )


def _parts(layer: Any) -> list[tuple[torch.Tensor, torch.Tensor, float]]:
    """A, B and the scale of each active adapter of a layer."""
    names = [name for name in layer.active_adapters if name in layer.lora_A]
    return [
        (layer.lora_A[name].weight, layer.lora_B[name].weight, float(layer.scaling[name]))
        for name in names
    ]


@torch.no_grad()
def _change(layer: Any) -> float:
    """|s B A| / |W| in the Frobenius norm, without the product: |B A|^2 is the trace of (B'B)(A A')."""
    weight = layer.base_layer.weight
    if not weight.is_floating_point():
        return 0.0  # packed: its numbers are no weights
    size = float(torch.linalg.vector_norm(weight, dtype=torch.float32))
    found = 0.0
    for down, up, scale in _parts(layer):
        squared = float(((up.T @ up).double() * (down @ down.T).double()).sum())
        found = max(found, abs(scale) * max(0.0, squared) ** 0.5)
    return found / size if size else 0.0


@contextmanager
def _silent(layers: Sequence[Any]) -> Iterator[None]:
    """The adapters do nothing while it lasts."""
    matrices = [up for layer in layers for _, up, _ in _parts(layer)]
    kept = [up.detach().clone() for up in matrices]
    try:
        with torch.no_grad():
            for up in matrices:
                up.zero_()
        yield
    finally:
        with torch.no_grad():
            for up, own in zip(matrices, kept, strict=True):
                up.copy_(own)
