"""Trained weights on their way to vLLM: a new folder for each version, written whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from peft.tuners.lora import Linear as LoraLinear
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper

from grpokit.api import CheckpointError, GrpokitError, OutOfMemoryError, PreflightError
from grpokit_hf import state
from grpokit_hf.parallel import Several
from grpokit_hf.policy import Policy
from grpokit_hf.vllm.sampler import Weights
from grpokit_hf.vllm.scratch import Scratch

__all__ = ["Sync", "check_mergeable"]


@dataclass
class Sync:
    """Writes versions of a policy.

    Attributes:
        scratch: this process' own; with several processes all take what the first one writes.
        dtype: the type in which whole weights are written, that of the engine.
        adapter: an adapter is handed over; else all weights, with the adapter in them.
    """

    scratch: Scratch
    dtype: torch.dtype
    adapter: bool
    version: int = 0
    last: Path | None = field(default=None)

    def write(self, policy: Policy) -> Weights:
        """The present weights on disk. The version before is taken away with the next one.

        All processes take part, and a failure of the one that writes is one on all of them.
        """
        self.version += 1
        target = self.shared(policy) / f"version-{self.version:06d}"
        failure: BaseException | None = None
        try:
            self.fill(policy, target)
        except OSError as error:
            failure = no_room(target.parent, error)
        except Exception as error:  # noqa: BLE001  the other processes must hear of it
            failure = error
        if policy.team.agree(failure):
            raise OutOfMemoryError(
                "the weights for vLLM do not fit in memory beside the trained ones",
                remedy="set backend.with.vllm.sync: adapter, or lower backend.with.vllm.memory",
            ) from failure
        if self.last is not None and policy.team.index == 0:
            shutil.rmtree(self.last, ignore_errors=True)
        self.last = target
        if self.adapter:
            return Weights(version=self.version, adapter=target)
        return Weights(version=self.version, model=target)

    def fill(self, policy: Policy, target: Path) -> None:
        """Writes beside ``target`` and renames, so that vLLM never sees a part."""
        part = target.with_name(target.name + ".part")
        try:
            if self.adapter or not policy.adapter:
                with as_type(policy, self.dtype):
                    state.write_policy(policy, part)
            else:
                check_mergeable(policy)
                state.check_finite(policy)
                policy.team.write(lambda: write_merged(policy, self.dtype, part))
            if policy.team.index == 0:
                part.rename(target)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise

    def shared(self, policy: Policy) -> Path:
        """The first process' folder, on all of them."""
        if isinstance(policy.team, Several):
            return Path(policy.team.exchange(str(self.scratch.path))[0])
        return self.scratch.path

    def close(self) -> None:
        self.scratch.close()


def no_room(folder: Path, error: OSError) -> GrpokitError:
    return CheckpointError(
        f"the weights for vLLM cannot be written: {error.strerror or error}",
        place=str(folder),
        remedy="make room there, or set backend.with.vllm.folder to a folder that has some",
    )


def check_mergeable(policy: Policy) -> None:
    """Refuses an adapter of which a part would be lost, or land in two places, if it were added."""
    if policy.team.sharded:
        raise PreflightError(
            "processes that hold parts of each weight cannot write an adapter into the model",
            place="backend.with.vllm.sync",
            remedy="set sync: adapter, or backend.with.parallel: ddp",
        )
    for name, layer in policy.base.named_modules():
        if isinstance(layer, LoraLinear):
            wrong = any(
                active in layer.lora_variant or layer.lora_B[active].bias is not None
                for active in layer.active_adapters
            )
        else:
            wrong = isinstance(layer, (BaseTunerLayer, AuxiliaryTrainingWrapper))
        if wrong:
            raise PreflightError(
                f"the adapter changes {name} in a way that is not a plain product on a linear layer",
                place="backend.with.vllm.sync",
                remedy="leave that module out of lora.targets, or sample without vLLM: "
                "`--set backend.with.rollouts=transformers`",
            )


def write_merged(policy: Policy, dtype: torch.dtype, folder: Path) -> None:
    """The whole model with the adapter's products added in float32; the policy stays as it is."""
    tensors = {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in policy.base.state_dict().items()
        if ".lora_" not in name
    }
    for name, layer in policy.base.named_modules():
        if isinstance(layer, LoraLinear):
            weight = layer.base_layer.weight.detach().float()
            for adapter in layer.active_adapters:
                weight = weight + layer.get_delta_weight(adapter).detach().float()
            tensors[f"{name}.weight"] = weight.to(dtype)
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
