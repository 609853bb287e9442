"""What an export starts from: the base model, what the run trained, and its tokenizer."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from grpokit.api import CheckpointError, ExportRequest, PreflightError
from grpokit_hf.locate import Located, ensure, locate
from grpokit_hf.state import policy_folder
from grpokit_hf.text.tokenizer import ChatTokenizer

__all__ = ["TYPES", "Source", "count_weights", "moved_weights", "open_source"]

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
STORED = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


@dataclass(frozen=True, kw_only=True)
class Source:
    """A run's models on the disk.

    Attributes:
        base: folder of the model that training began with.
        policy: an adapter's folder, or that of a whole model where all weights were trained.
        base_type: the type of most of the base's numbers.
        parameters: numbers in the base.
    """

    located: Located
    base: Path
    policy: Path
    adapter: bool
    tokenizer: ChatTokenizer
    base_type: str
    parameters: int

    @property
    def name(self) -> str:
        """What others may call the base model: never a folder of this machine's caches."""
        if self.located.kind == "folder":
            return str(self.base.resolve())
        return self.located.id


def open_source(request: ExportRequest) -> Source:
    """Looks at the files; loads nothing yet.

    Raises:
        CheckpointError: there is no policy, or its adapter does nothing.
        PreflightError: the base model is not there, or its tokenizer cannot be used.
    """
    section = request.recipe.model
    located = locate(section.id, section.revision)
    base = ensure(located, say=request.say)
    policy = policy_folder(request.policy)
    adapter = (policy / "adapter_config.json").is_file()
    if adapter:
        check_adapter(policy)
    elif not any(policy.glob("*.safetensors")):
        raise CheckpointError(
            "there are neither an adapter nor whole weights",
            place=str(policy),
            remedy="choose another checkpoint with --step",
        )
    base_type, parameters = count_weights(base)
    return Source(
        located=located,
        base=base,
        policy=policy,
        adapter=adapter,
        tokenizer=ChatTokenizer(base, eos=section.eos, chat_template=section.chat_template),
        base_type=base_type,
        parameters=parameters,
    )


def count_weights(folder: Path) -> tuple[str, int]:
    """The most frequent type of a folder's numbers, and how many there are."""
    counts: Counter[str] = Counter()
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - the file object is no mapping
                part = file.get_slice(name)
                counts[part.get_dtype()] += math.prod(part.get_shape())
    kind = counts.most_common(1)[0][0] if counts else ""
    if kind not in STORED:
        raise PreflightError(
            f"the base model's weights are of type {kind or 'unknown'}, which cannot be merged",
            place=str(folder),
            remedy="train from a base model in bfloat16, float16 or float32",
        )
    return STORED[kind], counts.total()


def moved_weights(tensors: Mapping[str, Tensor]) -> frozenset[str]:
    """Weights that an adapter moves: its factor that began as zero (B; of embeddings A) is not now."""
    return frozenset(
        name.removeprefix("base_model.model.").partition(".lora_")[0] + ".weight"
        for name, tensor in tensors.items()
        if (".lora_B" in name or ".lora_embedding_A" in name) and bool(tensor.any())
    )


def check_adapter(folder: Path) -> None:
    """An adapter that adds zero would make an export that is the base model."""
    try:
        config: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text("utf-8"))
        tensors = load_file(folder / "adapter_model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"the adapter cannot be read: {error}",
            place=str(folder),
            remedy="choose another checkpoint with --step",
        ) from error
    if config.get("peft_type") != "LORA":
        raise CheckpointError(
            f"the adapter is of type {config.get('peft_type')!r}; only LORA is exported",
            place=str(folder),
            remedy="merge it with the package that made it",
        )
    if not moved_weights(tensors):
        raise CheckpointError(
            "the adapter changes nothing (all its B matrices are zero), so the export would be the "
            "base model",
            place=str(folder),
            remedy="export a checkpoint that was trained; optim.lr may be 0 or far too small",
        )
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise CheckpointError(
            "the adapter holds values that are not finite",
            place=str(folder),
            remedy="choose another checkpoint with --step",
        )
