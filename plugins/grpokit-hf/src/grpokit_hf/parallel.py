"""The processes that share a run, as the backend sees them. One alone is the usual case.

:class:`Team` is that one, and does nothing. :class:`Several` gives each process its part of the rows
and lets them agree: on a failure, on smaller micro-batches, on sums. :class:`Copies` has the whole
model in every process (DDP, by accelerate); :class:`grpokit_hf.shards.Shards` has a part of each
weight in every process (FSDP2).

Whoever fails tells the others before the next collective, so that all of them raise the same error
and nobody waits. Messages are JSON in tensors over gloo.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, distributed, nn

from grpokit.api import (
    CheckpointError,
    GrpokitError,
    OutOfMemoryError,
    error_as_data,
    error_from_data,
)
from grpokit_hf.job import Share
from grpokit_hf.nn.batch import Row

__all__ = ["Copies", "Several", "Team", "Whole", "several", "shares"]

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE = timedelta(hours=2)
"""How long processes wait for the slowest one; a process that ended is noticed at once."""


def several() -> bool:
    """Whether this process is one of several that have met already."""
    return (
        distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )


def shares(rows: Sequence[Row], count: int, *, shared: bool) -> list[list[Row]]:
    """Each process's rows: consecutive, with nearly equal work; there may be processes without any.

    Work is the tokens of a completion and those of its prompt, which the rows of a group bear
    together where prompts are ``shared``. Every process computes the same answer.
    """
    sizes = Counter(row.prompt for row in rows)
    work = [len(r.tokens) + len(r.prompt_ids) / (sizes[r.prompt] if shared else 1) for r in rows]
    total, before = sum(work), 0.0
    parts: list[list[Row]] = [[] for _ in range(count)]
    for row, cost in zip(rows, work, strict=True):
        middle = (before + cost / 2) / total
        parts[min(count - 1, int(count * middle))].append(row)
        before += cost
    return parts


class Whole(nn.Module):
    """A model whose forward is any work on its parts.

    DDP and FSDP2 act where a module is called; the backend calls body and head of a model by
    itself, inside this one.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, work: Callable[[], Any]) -> Any:
        return work()


class Team:
    """One process alone.

    Attributes:
        mark: what tells the random numbers of this process from those of the others.
        columns: completion tokens that a batch has at least, padding included.
    """

    index = 0
    count = 1
    sharded = False
    mark: tuple[int, ...] = ()
    columns = 1

    def adopt(self, policy: Any, reference: Any) -> None:
        """Takes the models of a run; before the optimiser is made."""

    def outer(self, base: Any) -> Callable[..., Any] | None:
        """The module through which forwards of this model must go, if any."""
        del base
        return None

    def shares(self, rows: Sequence[Row], *, shared: bool) -> list[list[Row]]:
        return shares(rows, self.count, shared=shared) if self.count > 1 else [list(rows)]

    def rounds(self, parts: int) -> int:
        """How many micro-batches this process computes when it has so many of its own."""
        return parts

    def agree(self, failure: BaseException | None) -> bool:
        """Raises a failure; True if memory ran out, which is not yet one."""
        if failure is not None and not isinstance(failure, torch.OutOfMemoryError):
            raise failure
        return failure is not None

    def most(self, value: int) -> int:
        """The largest of the processes' values."""
        return value

    def lone(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Work without collectives, between others that have them."""
        return work(*args, **kwargs)

    def jointly(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Work that each process does by itself before a collective: one's failure is everyone's."""
        return work(*args, **kwargs)

    @contextmanager
    def collective(self, what: str = "a micro-batch") -> Iterator[None]:
        """Collectives. Who fails inside, for want of memory for ``what`` say, cannot tell the others."""
        del what
        yield

    @contextmanager
    def together(self) -> Iterator[None]:
        """A forward or backward, which has collectives inside where weights are shared out."""
        yield

    def tables(
        self, found: Mapping[int, Tensor], parts: Sequence[Sequence[Row]], device: torch.device
    ) -> dict[int, Tensor]:
        """The values of all processes' rows."""
        del parts, device
        return dict(found)

    def summed(self, share: Share) -> Share:
        return share

    def sync(self, weights: Sequence[Tensor]) -> None:
        """Averages the gradients over all processes, where the backward did not."""

    def clip(self, weights: Sequence[Tensor], largest: float) -> float:
        """Norm of all gradients together; scales them down where it exceeds ``largest``."""
        return float(torch.nn.utils.clip_grad_norm_(weights, largest))

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Every process holds all weights inside the block. No collectives inside and at its end."""
        yield

    def part(self, weight: Tensor) -> Tensor:
        """What this process holds of a weight."""
        return weight

    def full(self, weight: Tensor) -> Tensor:
        """All of a weight, on every process; all take part."""
        return weight

    def gather(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Whole weights on the process that writes; all processes take part."""
        return weights

    def like(self, weight: Tensor, value: Tensor) -> Tensor:
        """``value``, which is whole, laid out as ``weight`` is."""
        del weight
        return value

    def laid_out(
        self, weights: Mapping[str, Tensor], values: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """``values``, each laid out as the weight of its name, if there is one."""
        del weights
        return values

    def write(self, work: Callable[[], None]) -> None:
        """Writes files: one process does."""
        work()

    def check(self) -> None:
        """Raises if the processes have lost each other."""


class Several(Team):
    """One of several processes that do the same update."""

    def __init__(self) -> None:
        self.index = distributed.get_rank()
        self.count = distributed.get_world_size()
        self.mark = (self.index,)
        self.broken = False
        self.talk = distributed.new_group(backend="gloo", timeout=PATIENCE)

    def agree(self, failure: BaseException | None) -> bool:
        """The same on all processes: an error of one is raised by each."""
        if self.broken:
            raise failure or lost(self.index)
        memory = isinstance(failure, torch.OutOfMemoryError)
        state = 0 if failure is None else 1 if memory else 2
        worst = self.most(state)
        if worst == 2:
            mine = failure if state == worst else None
            answers = self.exchange(None if mine is None else error_as_data(mine))
            if mine is not None:
                raise mine
            rank, answer = next((i, answer) for i, answer in enumerate(answers) if answer)
            raise error_from_data(answer, rank)
        return worst == 1

    def jointly(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        failure: BaseException | None = None
        result: list[T] = []
        try:
            result.append(work(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001  told to the others, then raised
            failure = error
        if self.agree(failure):
            raise torch.OutOfMemoryError("memory ran out on a process") from failure
        return result[0]

    @contextmanager
    def collective(self, what: str = "a micro-batch") -> Iterator[None]:
        """Ends this process's part in the run if it fails inside, where the others wait for it.

        They cannot be told; they notice when the process has ended. So its error is marked as one
        that is its own ``alone``.
        """
        try:
            yield
        except BaseException as failure:
            if self.broken:
                raise
            self.broken = True
            error = self.cause(failure, what)
            error.alone = True  # type: ignore[attr-defined]
            if error is failure:
                raise
            raise error from failure

    def cause(self, failure: BaseException, what: str) -> BaseException:
        if isinstance(failure, torch.OutOfMemoryError):
            return OutOfMemoryError(
                f"{what} does not fit in memory",
                place=f"process {self.index}",
                remedy="lower optim.micro_tokens (or optim.micro_batch), set "
                "model.gradient_checkpointing: true, or take more processes",
            )
        gone = isinstance(failure, RuntimeError) and "onnection" in str(failure)
        if gone or isinstance(failure, distributed.DistError):
            return lost(self.index)
        return failure

    def most(self, value: int) -> int:
        box = torch.tensor([value])
        with self.heard():
            distributed.all_reduce(box, distributed.ReduceOp.MAX, group=self.talk)
        return int(box)

    def exchange(self, message: Any) -> list[Any]:
        """Everybody's message, on every process."""
        data = torch.frombuffer(bytearray(json.dumps(message).encode()), dtype=torch.uint8)
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.count)]
        with self.heard():
            distributed.all_gather(sizes, torch.tensor([len(data)]), group=self.talk)
            mine = torch.zeros(max(int(size) for size in sizes), dtype=torch.uint8)
            mine[: len(data)] = data
            boxes = [torch.empty_like(mine) for _ in range(self.count)]
            distributed.all_gather(boxes, mine, group=self.talk)
        return [
            json.loads(box[: int(size)].numpy().tobytes())
            for box, size in zip(boxes, sizes, strict=True)
        ]

    @contextmanager
    def heard(self) -> Iterator[None]:
        """A process that is gone is an error with a sentence."""
        try:
            yield
        except RuntimeError as error:
            self.broken = True
            gone = lost(self.index)
            gone.alone = True
            raise gone from error

    def tables(
        self, found: Mapping[int, Tensor], parts: Sequence[Sequence[Row]], device: torch.device
    ) -> dict[int, Tensor]:
        lengths = [sum(len(row.tokens) for row in part) for part in parts]
        values = [found[row.index] for row in parts[self.index]]
        with self.collective():
            mine = torch.zeros(max(lengths), dtype=torch.float32, device=device)
            mine[: lengths[self.index]] = torch.cat([mine[:0], *values])
            boxes = [torch.empty_like(mine) for _ in range(self.count)]
            distributed.all_gather(boxes, mine)
        table: dict[int, Tensor] = {}
        for part, box, length in zip(parts, boxes, lengths, strict=True):
            pieces = torch.split(box[:length], [len(row.tokens) for row in part])
            table.update(zip((row.index for row in part), pieces, strict=True))
        return table

    def summed(self, share: Share) -> Share:
        """Loss and metric sums, added in the order of the processes."""
        loss = 0.0
        sums: dict[str, tuple[float, float]] = {}
        for part, more in self.exchange([share.loss, dict(share.sums)]):
            loss += part
            for name, (over, under) in more.items():
                before = sums.get(name, (0.0, 0.0))
                sums[name] = (before[0] + over, before[1] + under)
        return Share(loss, sums)

    def write(self, work: Callable[[], None]) -> None:
        if self.index == 0:
            work()

    def check(self) -> None:
        if self.broken:
            raise CheckpointError(
                "the processes of the run have lost each other, so nothing was saved",
                remedy="resume from the last checkpoint",
            )


class Copies(Several):
    """Every process has the whole model; DDP adds up the gradients.

    Micro-batches add up in each process alone. When all of them went well everywhere, a last
    backward that touches each weight and adds nothing goes through DDP, whose hooks then reduce what
    has gathered.
    """

    def adopt(self, policy: Any, reference: Any) -> None:
        del reference
        self.replica = prepared(Whole(policy.model), policy.device)

    def sync(self, weights: Sequence[Tensor]) -> None:
        with self.collective():
            total: Tensor = self.replica(lambda: torch.stack([w.sum() for w in weights]).sum())
            (total * 0.0).backward()  # type: ignore[no-untyped-call]


def prepared(model: nn.Module, device: torch.device) -> nn.Module:
    """The model in DDP, as accelerate sets it up for this machine; threads stay as they are."""
    from accelerate import Accelerator, DistributedDataParallelKwargs

    threads = torch.get_num_threads()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that accelerate chose the number of threads
        accelerator = Accelerator(
            cpu=device.type == "cpu",
            mixed_precision="no",
            device_placement=False,
            kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
        )
        replica: nn.Module = accelerator.prepare_model(model)
    torch.set_num_threads(threads)
    if not isinstance(replica, nn.parallel.DistributedDataParallel):
        raise GrpokitError(
            "accelerate did not prepare the model for several processes",
            remedy="unset ACCELERATE_* variables that choose another kind, and start again",
        )
    return replica


def lost(index: int) -> GrpokitError:
    return GrpokitError(
        "another process of the run has ended",
        place=f"process {index}",
        remedy="its own message says why",
    )
