"""Trained weights on their way to vLLM: a new folder for each version, written whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import distributed

from grpokit.api import GrpokitError
from grpokit_hf import state
from grpokit_hf.load import Policy
from grpokit_hf.vllm.sampler import Weights

__all__ = ["Sync", "scratch_folder"]

MEMORY = Path("/dev/shm")  # noqa: S108 - a folder with an unguessable name is made in it
ROOM = 4
"""The folder lies in memory if that has room for the weights this many times."""


def scratch_folder(asked: Path | None, size: int) -> Path:
    """A new folder of this run, for ``size`` bytes of weights twice over."""
    if asked is not None:
        asked.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="grpokit-vllm-", dir=asked))
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM * size
    return Path(tempfile.mkdtemp(prefix="grpokit-vllm-", dir=MEMORY if roomy else None))


@dataclass
class Sync:
    """Writes versions of a policy.

    Attributes:
        folder: this process' own; with several processes all take what the first one writes.
        dtype: the type in which whole weights are written, that of the engine.
        adapter: an adapter is handed over; else all weights, with the adapter in them.
    """

    folder: Path
    dtype: torch.dtype
    adapter: bool
    version: int = 0
    last: Path | None = field(default=None)

    def write(self, policy: Policy) -> Weights:
        """The present weights on disk. The version before is taken away with the next one."""
        self.version += 1
        target = self.shared(self.folder / f"version-{self.version:06d}")
        part = target.with_name(target.name + ".part")
        if self.adapter or not policy.adapter:
            with as_type(policy, self.dtype):
                state.write_policy(policy, part)
        elif policy.team.sharded:
            raise GrpokitError(
                "processes that hold parts of each weight cannot write an adapter into the model",
                place="backend.with.vllm.sync",
                remedy="set sync: adapter, or backend.with.parallel: ddp",
            )
        else:
            policy.team.write(lambda: write_merged(policy, self.dtype, part))
        if first_rank():
            part.rename(target)
        barrier()
        if self.last is not None and first_rank():
            shutil.rmtree(self.last, ignore_errors=True)
        self.last = target
        if self.adapter:
            return Weights(version=self.version, adapter=target)
        return Weights(version=self.version, model=target)

    def shared(self, target: Path) -> Path:
        """The first process' folder, on all of them."""
        if not several():
            return target
        box = [str(target)]
        distributed.broadcast_object_list(box, src=0)
        return Path(box[0])

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def write_merged(policy: Policy, dtype: torch.dtype, folder: Path) -> None:
    """The whole model with the adapter's products added in float32; the policy stays as it is."""
    tensors = {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in policy.base.state_dict().items()
        if ".lora_" not in name
    }
    for name, layer in policy.base.named_modules():
        if isinstance(layer, LoraLinear):
            (adapter,) = layer.active_adapters
            weight = layer.base_layer.weight.detach()
            added = layer.get_delta_weight(adapter).detach()
            tensors[f"{name}.weight"] = (weight.float() + added.float()).to(dtype)
    folder.mkdir(parents=True, exist_ok=True)
    policy.base.config.save_pretrained(folder)
    tied = set(getattr(policy.base, "_tied_weights_keys", None) or ())
    if not policy.base.config.get_text_config().tie_word_embeddings:
        tied = set()
    kept = {name: tensor for name, tensor in tensors.items() if name not in tied}
    state.save_tensors(kept, folder / "model.safetensors")


@contextmanager
def as_type(policy: Policy, dtype: torch.dtype) -> Iterator[None]:
    """The file says which type its weights are for; vLLM converts what it reads."""
    config = policy.base.config
    before = getattr(config, "dtype", None)
    config.dtype = dtype
    try:
        yield
    finally:
        config.dtype = before


def several() -> bool:
    return (
        distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )


def first_rank() -> bool:
    return not several() or distributed.get_rank() == 0


def barrier() -> None:
    if several():
        distributed.barrier()
