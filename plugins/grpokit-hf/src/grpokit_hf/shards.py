"""FSDP2: every process keeps a part of each weight, and gathers a layer for the time of its forward.

Weights stay in the types that one process has them in (float32 where they train, the model's type
where they are frozen), so that the sum over processes is what one process computes. Sampling takes
as many steps as the longest answer of a process needs, which differs; so all weights are gathered
for the time of sampling and let go after it.

FSDP2 gathers inside each forward and backward. Between those the processes agree on failures like
any :class:`Several`; a failure inside one (memory) cannot be taken back, and ends the run for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn

from grpokit.api import CheckpointError, GrpokitError
from grpokit_hf.parallel import PATIENCE, P, Several, T, Whole

__all__ = ["Shards"]

NCCL_PATIENCE = timedelta(minutes=10)
"""A process that fails inside a forward leaves the others in NCCL; this is when they give up."""


class Shards(Several):
    """One of several processes that each hold a part of every weight."""

    sharded = True
    columns = 2  # so that every micro-batch calls the body equally often

    def __init__(self) -> None:
        super().__init__()
        self.roots: dict[int, nn.Module] = {}
        self.parts: list[Any] = []  # of the policy, which samples; the reference never does

    def adopt(self, policy: Any, reference: Any) -> None:
        from torch.distributed.device_mesh import DeviceMesh

        kind = policy.device.type
        self.group = distributed.new_group(
            backend="nccl" if kind == "cuda" else "gloo",
            timeout=NCCL_PATIENCE if kind == "cuda" else PATIENCE,
        )
        mesh = DeviceMesh.from_group(self.group, kind)
        self.parts = self.shard(policy.base, policy.model, mesh)
        if reference is not None:
            self.shard(reference, reference, mesh)

    def shard(self, base: Any, model: nn.Module, mesh: Any) -> list[nn.Module]:
        """A layer is one unit; embeddings, norm and head are another, that of the root, which is last."""
        from torch.distributed.fsdp import fully_shard

        names = set(getattr(base, "_no_split_modules", None) or ())
        layers = [module for module in base.modules() if type(module).__name__ in names]
        root = Whole(model)
        for module in (*layers, root):
            fully_shard(module, mesh=mesh, reshard_after_forward=True)
        self.roots[id(base)] = root
        return [*layers, root]

    def outer(self, base: Any) -> Callable[..., Any] | None:
        return self.roots.get(id(base))

    def rounds(self, parts: int) -> int:
        return self.most(parts)

    def lone(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return self.jointly(work, *args, **kwargs)

    @contextmanager
    def together(self) -> Iterator[None]:
        with self.collective():
            yield

    def clip(self, weights: Sequence[Tensor], largest: float) -> float:
        grads = [weight.grad for weight in weights if weight.grad is not None]
        with self.collective():
            norm = self.full(torch.nn.utils.get_total_norm(grads))
        torch.nn.utils.clip_grads_with_norm_(weights, largest, norm)
        return float(norm)

    @contextmanager
    def whole(self) -> Iterator[None]:
        with self.collective():
            for part in self.parts:
                part.set_reshard_after_forward(False, recurse=False)
                part.unshard()
        try:
            yield
        finally:
            for part in self.parts:
                part.set_reshard_after_forward(True, recurse=False)
                part.reshard()

    def part(self, weight: Tensor) -> Tensor:
        local: Callable[[], Tensor] | None = getattr(weight, "to_local", None)
        return weight if local is None else local()

    def full(self, weight: Tensor) -> Tensor:
        """All of a weight, on every process."""
        gather: Callable[[], Tensor] | None = getattr(weight, "full_tensor", None)
        return weight if gather is None else gather()

    def gather(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        self.check()
        found: dict[str, Tensor] = {}
        with self.collective():
            for name, weight in weights.items():
                value = self.full(weight.detach())
                if self.index == 0:
                    found[name] = value.cpu()
        return found

    def like(self, weight: Tensor, value: Tensor) -> Tensor:
        mesh: Any = getattr(weight, "device_mesh", None)
        if mesh is None or hasattr(value, "device_mesh"):
            return value
        from torch.distributed.tensor import distribute_tensor

        kind: Any = weight
        with self.collective():
            return distribute_tensor(value.to(weight.device), mesh, kind.placements)

    def laid_out(
        self, weights: Mapping[str, Tensor], values: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        return {
            name: self.like(weights[name], value) if name in weights else value
            for name, value in sorted(values.items())
        }

    def write(self, work: Callable[[], None]) -> None:
        """The others hear of a failure before they go on to the next collective."""

        def guarded() -> None:
            if self.index == 0:
                work()

        try:
            self.jointly(guarded)
        except GrpokitError as error:
            if self.index == 0:
                raise
            raise CheckpointError(error.fact, place=error.place, remedy=error.remedy) from error
