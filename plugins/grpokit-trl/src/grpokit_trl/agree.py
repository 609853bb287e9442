"""Processes that hold the whole model work apart and meet once an optimiser step.

Before they put their gradients together they tell each other how it went. An error on one of them is an error
on all, at once; with DDP's own hooks the others would wait for gradients that never come. Where weights
are cut into shards every forward is common work already, and there is nothing to agree on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import distributed

from grpokit.api import GrpokitError, error_as_data, error_from_data

__all__ = ["agreed", "apart", "gathered", "sum_gradients"]

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
        return alone(trainer, work)
    own: BaseException | None = None
    found: list[Result] = []
    told: dict[str, Any] | None = None
    try:
        found.append(work())
    except Exception as error:  # noqa: BLE001  the others must hear of it before it goes on
        own, told = error, error_as_data(error)
    answers = gathered([told])
    if own is not None:
        raise own
    for rank, answer in enumerate(answers):
        if answer is not None:
            raise error_from_data(answer, rank)
    return found[0]


def alone(trainer: Any, work: Callable[[], Result]) -> Result:
    """Where the others wait in the middle of ``work``, they cannot be told that it failed here."""
    try:
        return work()
    except Exception as error:
        if trainer.accelerator.num_processes > 1:
            error.alone = True  # type: ignore[attr-defined]
        raise


def gathered(own: list[Any]) -> list[Any]:
    """The lists of all processes, one after another."""
    from accelerate.utils import gather_object

    with heard():
        found: list[Any] = gather_object(own)
    return found


@contextmanager
def heard() -> Iterator[None]:
    """A process that is gone is an error with a sentence."""
    try:
        yield
    except RuntimeError as error:
        gone = GrpokitError(
            "another process of the run has ended",
            remedy="its own message says why; see the logs of the run",
        )
        gone.alone = True
        raise gone from error


def sum_gradients(trainer: Any) -> None:
    """Each process gets the gradients of all; one without rows adds zeros."""
    if not apart(trainer):
        return
    for weight in trainer.loaded.weights.values():
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
        with heard():
            distributed.all_reduce(weight.grad)
