"""Processes that hold the whole model work apart and meet once an optimiser step.

Before they put their gradients together they tell each other how it went. An error on one of them is an error
on all, at once; with DDP's own hooks the others would wait for gradients that never come. Where weights
are cut into shards every forward is common work already, and there is nothing to agree on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import distributed

from grpokit.api import GrpokitError, OutOfMemoryError

__all__ = ["agreed", "apart", "sum_gradients"]

Result = TypeVar("Result")


def apart(trainer: Any) -> bool:
    """Several processes, each with the whole model."""
    return trainer.accelerator.num_processes > 1 and not trainer.sharded()


def agreed(trainer: Any, work: Callable[[], Result]) -> Result:
    """What ``work`` gave here, if it ended well on all processes.

    Raises:
        GrpokitError: what it raised on the first process that it failed on; on all of them.
    """
    if not apart(trainer):
        return work()
    from accelerate.utils import gather_object

    own: BaseException | None = None
    found: list[Result] = []
    told: tuple[str, str, str, str] | None = None
    try:
        found.append(work())
    except Exception as error:  # noqa: BLE001  the others must hear of it before it goes on
        own = error
        fact = error.fact if isinstance(error, GrpokitError) else f"{type(error).__name__}: {error}"
        remedy = error.remedy if isinstance(error, GrpokitError) else ""
        place = error.place if isinstance(error, GrpokitError) else ""
        told = (type(error).__name__, fact, place, remedy)
    answers = gather_object([told])
    if own is not None:
        raise own
    for rank, answer in enumerate(answers):
        if answer is not None:
            kind, fact, place, remedy = answer
            error_class = OutOfMemoryError if kind == "OutOfMemoryError" else GrpokitError
            raise error_class(f"process {rank}: {fact}", place=place, remedy=remedy)
    return found[0]


def sum_gradients(trainer: Any) -> None:
    """Each process gets the gradients of all; one without rows adds zeros."""
    if not apart(trainer):
        return
    for weight in trainer.loaded.weights.values():
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
        distributed.all_reduce(weight.grad)
